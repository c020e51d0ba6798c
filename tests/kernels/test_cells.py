"""Passes over rows in cells: their sums are those of the dense pass."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Mixture
from jaxgmm.batches.lane_batches import Batches
from jaxgmm.data import devices, stream_passes
from jaxgmm.data import rows as rows_module
from jaxgmm.data.cells import Cells
from jaxgmm.data.rows import Rows
from jaxgmm.families.registry import family_class
from jaxgmm.kernels import choice, divide_into_cells
from jaxgmm.kernels import local_centers as local_pass
from jaxgmm.kernels import relevant_components as relevant_pass
from jaxgmm.kernels.choice import KERNELS
from jaxgmm.kernels.local_centers import Local
from jaxgmm.kernels.natural_low_rank import natural_kernel
from jaxgmm.kernels.relevant_components import Relevant
from jaxgmm.kernels.rounding_bounds import rounding_of_each
from jaxgmm.kernels.upper_bounds import Screen
from jaxgmm.objective.statistics import statistics

N, D, K = 1500, 4, 16
CASES = [("full", "float32"), ("full", "float64"), ("diagonal", "float32"), ("factors", "float32")]
KIND = {"full": "whitened", "tied": "double", "diagonal": "double", "factors": "double"}
SITUATIONS = (
    "apart", "overlapping", "outliers", "without rows", "absent", "weights", "worst order", "narrow",
    "half", "pairs", "straddling",
)  # fmt: skip
CELLS, SIZE = 16, 128


def problem(situation, family, dtype):
    """A mixture, rows, weights, and the positions of the rows in cells, one for each component."""
    rng = np.random.default_rng(3)
    component = rng.integers(K, size=N)
    spread = {"overlapping": 0.5, "apart": 100.0, "narrow": 200.0, "half": 4.0}.get(situation, 30.0)
    centers = spread * rng.normal(size=(K, D))
    if situation == "pairs":  # with small responsibilities for each other
        centers[K // 2 :] = centers[: K // 2] + 9 * np.eye(D)[0]
    loadings = rng.normal(size=(K, D, 1))
    roots = np.linalg.cholesky(np.eye(D) + loadings @ loadings.transpose(0, 2, 1))
    if family == "tied":
        roots[:] = roots[0]
    x = centers[component] + np.einsum("nij,nj->ni", roots[component], rng.normal(size=(N, D)))
    weights, weight = np.full(K, 1 / K), rng.uniform(0.5, 2, size=N)
    if situation == "outliers":
        x[::50] *= 40
    if situation == "without rows":
        centers[3] += 1e3
    if situation == "absent":
        weights[[2, 9]] = 0
        weights /= weights.sum()
    if situation == "weights":
        weight[rng.random(N) < 0.6] = 0
    order = rng.permutation(N) if situation == "worst order" else np.argsort(component, stable=True)
    positions = np.full(CELLS * SIZE, N, np.int32)
    if situation in ("worst order", "straddling"):
        positions[:N] = order
    else:
        counts = np.bincount(component)
        first = np.repeat(SIZE * np.arange(K) - np.cumsum(counts) + counts, counts)
        positions[first + np.arange(N)] = order
    covariances = roots @ roots.transpose(0, 2, 1)
    if family == "diagonal":
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    kind = jaxgmm.factors(1) if family == "factors" else family
    with jax.enable_x64(True):
        mixture = Mixture.from_parameters(weights, centers, covariances, family=kind)
    cast = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)
    return cast(mixture), cast(x), cast(weight), positions.reshape(CELLS, SIZE)


def in_cells(x, weight, positions, axes):
    rows = Rows.of(x, weight)
    cells = Cells.of(x, weight, rows.center, positions, axes, copies=True)
    return dataclasses.replace(rows, cells=cells)


@functools.cache
def passes(kind, kernel):
    """The pass over cells, and the dense one, which is computed in float64."""

    def by_cells(mixture, x, weight, positions, axes):
        return kind(KERNELS[kernel], mixture, in_cells(x, weight, positions, axes)).statistics()

    dense = lambda mixture, x, weight: statistics(mixture, Rows.of(x, weight), "whitened")
    return jax.jit(by_cells), jax.jit(dense)


def numbers_in_sums(family):
    return natural_kernel(problem("apart", family, "float32")[0]).numbers_in_sums


def check_against_dense(kind, situation, family, dtype):
    with jax.enable_x64(dtype == "float64"):
        mixture, x, weight, positions = problem(situation, family, dtype)
        by_cells, dense = passes(kind, KIND[family])
        (mass, shift, spread), value = by_cells(
            mixture, x, weight, positions, np.eye(D, dtype=dtype)[:2]
        )
        mass, shift, spread = map(np.asarray, (mass, shift, spread))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, float), (mixture, x, weight))
        expected = dense(*wide)
    assert value.dtype == mass.dtype == shift.dtype == spread.dtype == dtype
    exact = 1e-12 if kind is Relevant else 1e-10  # as for the natural kernel
    close = 3e-5 if dtype == "float32" else exact
    scale = np.maximum(np.asarray(expected.mass), 1)
    np.testing.assert_allclose(value, expected.log_likelihood, rtol=close)
    for found, true in ((mass, expected.mass), (shift, expected.shift), (spread, expected.spread)):
        true = np.asarray(true)
        size = scale.reshape(-1, *[1] * (true.ndim - 1)) if len(true) == K else scale.sum()
        size = size * max(1, np.abs(true / 1e4).max())
        np.testing.assert_allclose(found / size, true / size, atol=close, rtol=0)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_leaving_out_changes_no_sum(family, dtype, situation, monkeypatch):
    monkeypatch.setattr(relevant_pass, "FEWEST", 2)
    check_against_dense(Relevant, situation, family, dtype)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(("family", "dtype"), [*CASES, ("tied", "float32")])
def test_local_centers_change_no_sum(family, dtype, situation, monkeypatch):
    """In groups of 5 cells, the last of which overlaps the one before."""
    monkeypatch.setattr(local_pass, "NUMBERS_IN_GROUP", 5 * numbers_in_sums(family))
    check_against_dense(Local, situation, family, dtype)


@pytest.mark.parametrize("weighted", [True, False])
def test_cells_hold_the_same_rows_with_a_copy_and_without(weighted):
    _, x, weight, positions = problem("apart", "full", "float32")
    origin, places = np.float32([1, -2, 3, 0]), positions.ravel()
    held = places < N
    of = functools.partial(
        Cells.of, jnp.asarray(x), jnp.asarray(weight) if weighted else None, origin
    )
    kinds = [of(jnp.asarray(positions), jnp.eye(D), copies=copies) for copies in (True, False)]
    assert [cells.x.shape for cells in kinds] == [(*positions.shape, D), x.shape]
    expected = np.where(held, (weight if weighted else np.ones(N))[np.minimum(places, N - 1)], 0)
    for cells in kinds:
        rows, weights = jax.vmap(cells.cell)(jnp.arange(CELLS))
        rows = np.moveaxis(rows, 1, 2).reshape(-1, D)
        np.testing.assert_allclose(rows[held], (x - origin)[places[held]], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(weights.ravel(), expected.astype(np.float32))
        sums = lambda cells, i: cells.total(lambda x, w: (x @ w, jnp.sum(w)), i, SIZE // 4)
        moved, mass = jax.vmap(functools.partial(sums, cells))(jnp.arange(CELLS))
        total = np.sum(moved + mass[:, None] * cells.centers, axis=0)
        np.testing.assert_allclose(total, expected[held] @ rows[held], rtol=1e-4)
    np.testing.assert_array_equal(kinds[0].counts, np.sum(positions < N, axis=1))
    np.testing.assert_array_equal(kinds[0].centers, kinds[1].centers)


@pytest.mark.parametrize("family", ["full", "diagonal"])
def test_bounds_are_never_below_the_log_joint(family):
    mixture, x, _, _ = problem("half", family, "float32")
    rng = np.random.default_rng(0)
    axes = np.eye(D)[[2, 0]] if family == "diagonal" else rng.normal(size=(2, D))
    bounds, errors = Screen(mixture, jnp.asarray(axes, "float32")).bounds(x[:256].T)
    joint = np.asarray(jaxgmm.log_joint(mixture, x[:256])).T
    slack = 1e-5 * np.abs(joint) + np.asarray(errors)[:, None]
    assert np.all(bounds >= joint - slack)
    assert np.max(errors) < 2
    # On all axes the bounds are the log-joint itself.
    exact, errors = Screen(mixture, jnp.eye(D)).bounds(x[:256].T)
    assert np.all(np.abs(exact - joint) <= 1e-5 * np.abs(joint) + np.asarray(errors)[:, None])


@pytest.mark.parametrize(
    ("situation", "expected", "count"), [("apart", 0, 1), ("pairs", 0, 2), ("overlapping", 2, 16)]
)
def test_which_components_are_left_out(situation, expected, count):
    mixture, x, weight, positions = jax.tree.map(jnp.asarray, problem(situation, "full", "float32"))
    rows = in_cells(x, weight, positions, jnp.eye(D)[:2])
    relevant = Relevant(KERNELS["whitened"], mixture, rows)
    assert relevant.sizes == (4, 8, 16)
    (level, scores), first = relevant.needs(rows.cells.cell(jnp.int32(3))[0])
    assert level == expected
    assert jnp.sum(scores >= 0) >= count
    assert 3 in first


def test_what_is_left_out_is_below_rounding(monkeypatch):
    """Each component has a neighbor, at distances at which some matter and others do not."""
    monkeypatch.setattr(relevant_pass, "FEWEST", 1)
    rng = np.random.default_rng(0)
    centers = 100 * rng.normal(size=(K, D))
    centers[K // 2 :] = centers[: K // 2] + np.linspace(6, 12, K // 2)[:, None] * np.eye(D)[0]
    x = (centers[:, None] + rng.normal(size=(K, SIZE, D))).reshape(-1, D)
    with jax.enable_x64(True):
        mixture = Mixture.from_parameters(
            np.full(K, 1 / K), centers, np.ones((K, D, 1)) * np.eye(D)
        )
        shares = np.asarray(jaxgmm.responsibilities(mixture, x)).reshape(K, SIZE, K)
    mixture, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (mixture, x))
    positions = jnp.arange(K * SIZE).reshape(K, SIZE)
    rows = in_cells(x, None, positions, jnp.eye(D))
    relevant = Relevant(KERNELS["whitened"], mixture.translate(-rows.center), rows)
    largest = []
    for i in range(K):
        (level, scores), first = relevant.needs(rows.cells.cell(jnp.int32(i))[0])
        some = jax.lax.top_k(scores, relevant.sizes[1])[1]
        evaluated = (first, some, jnp.arange(K))[int(level)]
        left_out = np.setdiff1d(np.arange(K), evaluated)
        largest += np.max(shares[i][:, left_out], axis=0).tolist()
    assert len(largest) > K * K / 2
    assert max(largest) < np.finfo(np.float32).eps / K


@pytest.mark.parametrize("kind", [Relevant, Local])
def test_cells_of_little_weight_are_not_lost_beside_a_heavy_one(kind, monkeypatch):
    """In float32, 2²⁴ + 1 is 2²⁴: without compensated sums, all cells but the first are lost."""
    monkeypatch.setattr(local_pass, "NUMBERS_IN_GROUP", 1)
    cells, rows = 200, 8
    mixture, _, _, _ = problem("apart", "full", "float32")
    x = np.tile(mixture.means[:1], (cells * rows, 1))
    weight = np.full(cells * rows, 1 / rows, np.float32)
    weight[:rows] = 2**24 / rows
    positions = np.arange(cells * rows, dtype=np.int32).reshape(cells, rows)
    operands = mixture, x, weight, positions, np.eye(D, dtype=np.float32)[:2]
    by_cells = lambda *operands: kind(
        KERNELS["whitened"], operands[0], in_cells(*operands[1:])
    ).statistics()
    (mass, _, _), _ = jax.jit(by_cells)(*operands)
    assert abs(float(mass[0]) - (2**24 + cells - 1)) <= 4


@pytest.mark.parametrize(
    ("situation", "expected"), [("narrow", 1), ("overlapping", 1), ("worst order", 0), ("pairs", 1)]
)
def test_which_cells_the_natural_kernel_evaluates(situation, expected):
    mixture, x, weight, positions = jax.tree.map(jnp.asarray, problem(situation, "full", "float32"))
    local = Local(KERNELS["whitened"], mixture, in_cells(x, weight, positions, jnp.eye(D)[:2]))
    _, accurate = local._natural_sums(jnp.int32(0), local.cells.counts > 0)
    assert jnp.mean(accurate) == expected


@pytest.mark.parametrize(("log_odds", "expected"), [(-120, False), (-400, True)])
def test_a_component_that_may_matter_within_its_rounding_error(log_odds, expected):
    """A nearly singular component, whose log-joint may be 95 nats off by its bound.

    By itself it is 111 or 391 nats below the other component where the rows lie, and has no part.
    """
    flat = np.eye(D)
    flat[0, 1] = flat[1, 0] = 1 - 1e-8
    x = np.random.default_rng(0).normal(size=(SIZE, D)).astype(np.float32)
    x[:, 1] = x[:, 0]
    with jax.enable_x64(True):
        wide = Mixture.from_parameters([0.5, 0.5], np.zeros((2, D)), [np.eye(D), flat])
    mixture = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), wide)
    mixture = dataclasses.replace(mixture, logits=jnp.float32([0, log_odds]))
    np.testing.assert_allclose(D * rounding_of_each(mixture)[1], 95, atol=1)
    rows = in_cells(jnp.asarray(x), None, jnp.arange(SIZE)[None], jnp.eye(D)[:2])
    local = Local(KERNELS["whitened"], mixture, rows)
    _, accurate = local._natural_sums(jnp.int32(0), jnp.array([True]))
    assert accurate == expected


def rows_of_clusters(n=2000, d=4, k=20):
    rng = np.random.default_rng(1)
    component = rng.integers(k, size=n)
    x = 40 * rng.normal(size=(k, d))[component] + rng.normal(size=(n, d))
    return x.astype(np.float32), component


def divisions(monkeypatch, name="jaxgmm.fitting.division.divide"):
    """A list that grows by the number of devices with rows, where a program divides them."""
    seen, divide = [], divide_into_cells.divide
    monkeypatch.setattr(
        name,
        lambda rows, mixture: seen.append(rows.parts) or divide(rows, mixture),
    )
    return seen


def divide_little(monkeypatch, leaves_out):
    """Few rows are divided too."""
    for name, value in {
        "LEAST_RESIDUALS": 0, "LEAST_IF_MANY": 0, "LEAST_IN_ROW": 0 if leaves_out else 1 << 12,
        "LOCAL_ROWS": 0, "LOCAL_CELL": (128, 128), "FEWEST_ROWS": 0,
    }.items():  # fmt: skip
        monkeypatch.setattr(divide_into_cells, name, value)
    monkeypatch.setattr(choice, "WHITENED_UP_TO_NUMBERS", 0)


@pytest.mark.parametrize(
    ("algorithm", "kind", "parts", "leaves_out"),
    [
        ("em", "array", 2, True),
        pytest.param("em", "array", 1, False, marks=pytest.mark.thorough),
        ("em", "stream", 1, False),
        pytest.param("em", "stream", 2, True, marks=pytest.mark.thorough),
        pytest.param("lbfgs", "array", 1, False, marks=pytest.mark.thorough),
        pytest.param("lbfgs", "stream", 1, True, marks=pytest.mark.thorough),
    ],
)
def test_fits_are_those_of_dense_passes(algorithm, kind, parts, leaves_out, monkeypatch):
    """Where rows are on two devices, or in chunks, each part has an order of its own."""
    x, component = rows_of_clusters()
    monkeypatch.setattr(devices, "SPREAD_ROWS", 100 if parts == 2 else 1 << 20)
    monkeypatch.setattr(stream_passes, "LEAST_CHUNK", 512)
    monkeypatch.setattr(stream_passes, "CHUNK_BYTES", x.nbytes // 4)
    mistaken = (component < 5) & (np.arange(len(x)) % 50 == 0)
    start = jaxgmm.from_labels(x, component + mistaken, 20)
    rows = jaxgmm.Stream(x, block_rows=300) if kind == "stream" else x
    fit = lambda kernel: jaxgmm.fit(
        rows, start, algorithm, kernel=kernel, max_steps=5, tolerance=0.0
    )
    seen = divisions(monkeypatch)
    dense = fit("whitened")
    divide_little(monkeypatch, leaves_out)
    monkeypatch.setattr(rows_module, "LARGEST_COPY", 1 << 26 if parts == 1 else 0)
    found = fit("auto")
    assert found.steps == dense.steps
    assert seen == [parts]
    np.testing.assert_allclose(found.history, dense.history, rtol=1e-6)
    np.testing.assert_allclose(found.mixture.means, dense.mixture.means, atol=1e-4)


@pytest.mark.thorough
def test_comparisons_and_checkpoints_divide_rows_as_a_fit_does(monkeypatch, tmp_path):
    """A fit that resumes divides its rows by its start again, so that it adds in the same order."""
    x, _ = rows_of_clusters(1900)  # of which no other test has a program
    seen = divisions(monkeypatch)
    divide_little(monkeypatch, leaves_out=True)
    settings = {"max_steps": 3, "tolerance": 0.0}
    compare = lambda budget: jaxgmm.compare(
        jax.random.key(3), x, 20, ["em"], restarts=1, budget=budget, **settings
    )
    compared, within = compare(None), compare("4 passes")
    assert len(seen) == 2
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), compared.starts)
    whole = jaxgmm.fit(x, start, **settings)
    assert len(seen) == 2  # it shares the program of a comparison
    few, known = {"checkpoint": tmp_path / "fit.npz", "checkpoint_every": 1}, len(seen)
    jaxgmm.fit(x, start, checkpoint=tmp_path / "often.npz", checkpoint_every=1, **settings)
    assert len(seen) == known  # it would divide the rows again for each step
    monkeypatch.setattr("jaxgmm.fitting.fit.LEAST_STEPS", 1)
    jaxgmm.fit(x, start, **few, **settings | {"max_steps": 2})
    assert len(seen) == known + 2  # before the first step, and in the loop
    resumed = jaxgmm.fit(x, start, **few, **settings)
    for found in (compared.fits["em"], within.fits["em"], resumed):
        np.testing.assert_allclose(np.ravel(found.objective), whole.objective, rtol=1e-6)
        np.testing.assert_allclose(
            np.reshape(found.mixture.means, (20, -1)), whole.mixture.means, rtol=1e-5, atol=1e-3
        )


@pytest.mark.thorough
def test_a_sweep_divides_rows_for_lanes_alone(monkeypatch):
    """In every fold."""
    x, _ = rows_of_clusters(1000, k=4)
    seen = divisions(monkeypatch, "jaxgmm.batches.lane_programs.divide")
    divide_little(monkeypatch, leaves_out=False)
    monkeypatch.setattr("jaxgmm.batches.lanes.LOOSE_ROUNDING", 1e-4)
    settings = dict(restarts=3, folds=2, strategy="full", max_steps=20)
    sweep = lambda kernel: jaxgmm.sweep(jax.random.key(2), x, (4, 6), kernel=kernel, **settings)
    whole = sweep("whitened")
    assert not seen
    found = sweep("auto")
    assert len(seen) == 1
    same = dict(rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.fits["full"].objective, whole.fits["full"].objective, **same)
    np.testing.assert_allclose(found.held_out["full"], whole.held_out["full"], **same)
    means = [each.fits["full"].mixture.means for each in (found, whole)]
    np.testing.assert_allclose(*means, rtol=1e-4, atol=1e-2)


def test_which_lanes_are_alone():
    """Those that come next, as many as there are devices; and no others are in a batch with them."""
    settings = lambda lanes: types.SimpleNamespace(size=lanes)
    large, small, alone = map(settings, (8, 3, 2))
    batches, waiting = Batches(large, small, alone), np.arange(10, 20)
    always, never = (lambda lane: True), (lambda lane: False)
    coarse = np.isin(waiting, (13, 14, 15, 17))
    group = lambda start, pays: batches.next_group(waiting[start:], coarse[start:], pays)
    for start, pays, expected, which in [
        (0, always, large, [10, 11, 12]), (0, never, large, range(10, 18)), (3, always, alone, [13, 14]),
        (5, always, alone, [15]), (6, always, large, [16]), (7, always, alone, [17]),
        (7, never, small, [17, 18, 19]), (8, always, small, [18, 19]),
    ]:  # fmt: skip
        found, chosen = group(start, pays)
        assert found is expected and list(chosen) == list(which)
        # Some of them run, or the batch would not take a step.
        assert batches.may_run_at_end(found, len(chosen), len(waiting) - start, 0) < len(chosen)


@pytest.mark.parametrize("leaves_out", [True, False])
def test_rows_are_divided_by_components(leaves_out, monkeypatch):
    """Each component covers two clusters, most of which are on different sides of its mean."""
    monkeypatch.setattr(divide_into_cells, "FEWEST_COMPONENTS", 10 if leaves_out else 100)
    monkeypatch.setattr(divide_into_cells, "LEAST_IN_ROW", 0)
    monkeypatch.setattr(divide_into_cells, "LOCAL_CELL", (128, 128))
    x, component = rows_of_clusters()
    mixture = jaxgmm.from_labels(x, component // 2, 10)
    weight = np.arange(len(x)).astype(np.float32)
    rows = Rows.of(jnp.asarray(x), jnp.asarray(weight)).about_mean()
    rows = divide_into_cells.divide(rows, mixture.translate(-rows.center))
    cells = jax.tree.map(np.asarray, rows.cells)
    held = np.arange(cells.size) < cells.counts[:, None]
    weight_in_cells = np.asarray(cells.weight)[held]
    assert np.array_equal(np.sort(weight_in_cells), weight)
    positions = weight_in_cells.astype(int)
    found = (cells.x + cells.centers[:, None] + np.asarray(rows.center))[held]
    np.testing.assert_allclose(found, x[positions], atol=1e-4)
    np.testing.assert_allclose(np.sum(cells.x * held[..., None], axis=1), 0, atol=0.05)
    in_order = component[positions]
    assert np.sum(in_order[1:] // 2 != in_order[:-1] // 2) == 9
    assert np.sum(in_order[1:] != in_order[:-1]) < 30
    if leaves_out:
        assert np.all(held[:-1])
    else:  # a component begins with a cell of its own
        of_cells = [set(component[int(w)] // 2 for w in row[row > 0]) for row in cells.weight]
        assert max(map(len, of_cells)) == 1


def test_where_rows_are_divided():
    rng = np.random.default_rng(0)
    centers = {d: 100 * rng.normal(size=(64, d)).astype(np.float32) for d in (32, 64)}

    def may_divide(family, n, k=64, d=64, scale=1, offset=0, chunk=10**9):
        covariance = family_class(family, k, d).identity(k, d, "float32")
        means = scale * centers[d][:k] + offset
        return divide_into_cells.may_divide(
            Mixture(jnp.zeros(k), jnp.asarray(means), covariance), n, min(n, chunk)
        )

    assert may_divide("full", 10**5)
    assert may_divide("diagonal", 10**5)
    # The natural kernel is accurate for wide components, wherever their common mean is.
    assert not may_divide("full", 10**5, scale=0.01, offset=1e3)
    assert not may_divide("full", 2000)
    # Fewer components and rows suffice where residuals are products.
    assert may_divide("full", 10**4, k=16)
    assert not may_divide("full", 8000, k=16)
    assert not may_divide("diagonal", 5 * 10**4, k=16)
    # Local centers need more rows for each component, few features where residuals are products,
    # and much work where the double kernel pays. One component is at its own center.
    for family in ("full", "VEV"):
        assert may_divide(family, 10**5, k=8, d=32)
        assert not may_divide(family, 10**4, k=8, d=32)
    assert not may_divide("full", 10**5, k=8)
    assert not may_divide("tied", 10**5)
    assert not may_divide("diagonal", 10**5, k=8, d=32)
    assert not may_divide("tied", 10**5, k=8, d=32)
    for family in ("tied", "diagonal"):
        assert may_divide(family, 10**6, k=8, d=32)
    assert not may_divide("full", 10**6, k=1, d=32)
    # The rows that count are those of a chunk.
    assert may_divide("full", 10**6, chunk=8192) and not may_divide("full", 10**6, chunk=2000)
    # Where features are nearly dependent, the natural kernel is not accurate about any center.
    dependent = np.broadcast_to(1 - 1e-4 * (1 - np.eye(32)), (8, 32, 32)).astype(np.float32)
    mixture = Mixture.from_parameters(np.full(8, 1 / 8), centers[32][:8], dependent)
    assert not divide_into_cells.may_divide(mixture, 10**5, 10**5)
