"""The double kernel: float64 inside the blocks of a float32 program, and the rule that takes it."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from jax.extend import core

import jaxgmm
from jaxgmm import Blocks, Mixture, Shards, Stream
from jaxgmm.batches import lane_batches, lanes
from jaxgmm.data import devices, stream_passes
from jaxgmm.data.rows import Rows
from jaxgmm.fitting.status import Status
from jaxgmm.kernels import choice
from jaxgmm.kernels.double import Double
from jaxgmm.kernels.rounding_bounds import double_rounding, rounding, safe_rounding
from jaxgmm.numerics.float64 import in_float64
from jaxgmm.objective.statistics import statistics

N, D, K = 5000, 4, 5  # more rows than those for which "auto" means "whitened"


def clusters(width, offset=0.0, n=N, d=D, k=K, seed=0):
    """Rows of clusters of this width, whose centers are a unit apart; and their components."""
    rng = np.random.default_rng(seed)
    component = rng.integers(k, size=n)
    x = 3 * rng.normal(size=(k, d))[component] + width * rng.normal(size=(n, d)) + offset
    return x.astype(np.float32), component


def narrow_mixture(x, component, family):
    """The maximum-likelihood mixture of these components, rounded to float32."""
    with jax.enable_x64(True):
        wide = jaxgmm.from_labels(x.astype(float), component, family=family)
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), wide)


def exact(function, mixture, x):
    """function(mixture, x) in float64, as NumPy arrays."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, float), mixture)
        return jax.tree.map(np.asarray, function(jax.tree.map(jnp.asarray, wide), x.astype(float)))


@functools.cache
def sums_by(kernel):
    return jax.jit(lambda mixture, x: statistics(mixture, Rows.of(x, None), kernel))


def error(found, true):
    """The largest error of mass, shift and spread, per row of a component (and per feature)."""
    per_row = [np.abs(np.asarray(found.mass, float) - true.mass) / true.mass]
    for name in ("shift", "spread"):
        a, b = np.asarray(getattr(found, name), float), getattr(true, name)
        mass = true.mass if len(b) == len(true.mass) else true.mass.sum(keepdims=True)
        count = mass.reshape(-1, *[1] * (b.ndim - 1)) * (D // b.shape[-1])
        per_row.append(np.abs(a - b) / count)
    return max(np.max(part) for part in per_row)


@pytest.mark.parametrize("family", ["diagonal", "spherical", "full"])
@pytest.mark.parametrize("width", [1.0, 0.1, 1e-2, 1e-3])
def test_sums_in_a_float32_program(family, width):
    x, component = clusters(width)
    mixture = narrow_mixture(x, component, family)
    found = sums_by("double")(mixture, x)
    true = exact(sums_by("whitened"), mixture, x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
    assert error(found, true) < 1e-6
    assert abs(float(found.log_likelihood) - true.log_likelihood) < 1e-6 * abs(true.log_likelihood)
    if width < 0.1:
        assert error(sums_by("natural")(mixture, x), true) > 1e-5


def test_rows_in_the_worst_order():
    """A block begins with the few rows of a component, and goes on with rows far from it."""
    rng = np.random.default_rng(0)
    component = np.repeat([0, 1], [8, N - 8])
    x = np.where(component[:, None] == 0, 0.0, 60.0) + rng.normal(size=(N, D))
    x = (x - x.mean(axis=0)).astype(np.float32)
    parameters = np.array([0.5, 0.5]), np.array([x[:8].mean(0), x[8:].mean(0)]), np.ones((2, D))
    mixture = Mixture.from_parameters(
        *[np.asarray(part, np.float32) for part in parameters], family="diagonal"
    )
    true = exact(sums_by("whitened"), mixture, x)
    assert error(sums_by("double")(mixture, x), true) < 1e-6
    assert error(sums_by("natural")(mixture, x), true) > 1e-5


@pytest.mark.parametrize("width", [1e-2, 2.0])  # components are apart, or overlap
@pytest.mark.parametrize("n", [500, N])  # with responsibilities in one kernel, or by the library
def test_a_batch_has_the_sums_of_its_lanes(n, width):
    rows, component = clusters(width, n=n)
    weight = np.random.default_rng(1).uniform(0.5, 2, n).astype(np.float32)
    mixture = narrow_mixture(rows, component, "full")
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), mixture)
    batch = choice.Choice("double", lanes=2)
    sums = lambda kernel: (
        lambda one, x: statistics(one, Rows.of(x, jnp.asarray(weight, x.dtype)), kernel)
    )
    in_batch = jax.jit(jax.vmap(sums(batch), in_axes=(0, None)))(both, rows)
    true = exact(sums("whitened"), mixture, rows)
    found, turned = (jax.tree.map(lambda leaf, i=i: leaf[i], in_batch) for i in range(2))
    assert found.mass.dtype == found.log_likelihood.dtype == jnp.float32
    assert error(found, true) < 1e-6
    np.testing.assert_allclose(found.log_likelihood, true.log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(turned.mass, found.mass[::-1], rtol=1e-5)


@pytest.mark.parametrize("family", ["diagonal", "spherical"])
@pytest.mark.parametrize("steps", [1, 10, 200])
@pytest.mark.parametrize(("width", "offset"), [(1.0, 1e3), (0.03, 0.0), (0.1, 10.0)])
def test_fits_stay_near_float64(family, steps, width, offset):
    x, component = clusters(width, offset)
    start = narrow_mixture(x, np.where(np.arange(N) % 50, component, 0), family)
    run = functools.partial(jaxgmm.fit, prior=None, tolerance=0.0, max_steps=steps, kernel="double")
    narrow = run(x, start).mixture
    with jax.enable_x64(True):
        wide = run(x.astype(float), start).mixture
        truth = [np.asarray(part) for part in (wide.weights, wide.means, wide.covariances)]
    assert narrow.dtype == np.float32
    assert reference.distance(narrow, *truth) < 1e-4


# ---- the rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["diagonal", "spherical"])
def test_the_three_regimes(family):
    """Each kernel is chosen for some widths, and is as accurate as its bound says."""
    chosen = []
    for width in 3.0 ** -np.arange(-1, 13):
        x, component = clusters(width)
        x -= x.mean(axis=0)
        mixture = narrow_mixture(x, component, family)
        bound = float(rounding(jax.tree.map(jnp.asarray, mixture)))
        position = int(choice.kernel_position(bound, D, safe_rounding(mixture)))
        chosen.append(("natural", "double", "whitened")[position])
        found = sums_by(chosen[-1])(mixture, x)
        same = sums_by("auto")(mixture, x)
        np.testing.assert_allclose(found.spread, same.spread, rtol=1e-6)
        bounds = bound, double_rounding(bound, D), 1e-6
        assert error(found, exact(sums_by("whitened"), mixture, x)) < bounds[position]
    assert list(dict.fromkeys(chosen)) == ["natural", "double", "whitened"]


def kernels_in(program):
    """The number of branches of a traced program's largest choice: the double kernel is a third."""
    branches, programs = 1, [program]
    while programs:
        for eqn in programs.pop().eqns:
            branches = max(branches, len(eqn.params.get("branches", ())))
            programs += core.jaxprs_in_params(eqn.params)
    return branches


def traced(family, dtype=np.float32, n=N, k=K, d=D):
    mixture = jax.eval_shape(
        lambda: Mixture(
            jnp.zeros(k, dtype), jnp.zeros((k, d), dtype),
            jaxgmm.FAMILIES[family].identity(k, d, dtype),
        )
    )  # fmt: skip
    rows = jax.ShapeDtypeStruct((n, d), dtype)
    return jax.make_jaxpr(lambda mixture, x: statistics(mixture, Rows.of(x, None)))(mixture, rows)


def test_only_useful_kernels_are_compiled(family, x64):
    kernels = 2 if family == "full" else 3
    assert kernels_in(traced(family).jaxpr) == kernels
    assert kernels_in(traced(family, np.float64).jaxpr) == 2
    assert kernels_in(traced(family, n=4096).jaxpr) == 1
    assert kernels_in(traced(family, n=4096, k=256, d=16).jaxpr) == kernels


@pytest.mark.parametrize(
    ("kind", "fast"),
    [
        ("NVIDIA H100 80GB HBM3", True),
        ("NVIDIA A100-SXM4-80GB", True),
        ("Tesla V100-SXM2-16GB", True),
        ("NVIDIA GeForce RTX 4090", False),
        ("NVIDIA RTX A3000 Laptop GPU", False),
        ("TPU v5 lite", False),
    ],
)
def test_only_devices_fast_in_float64_have_the_double_kernel(monkeypatch, kind, fast):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [types.SimpleNamespace(device_kind=kind)])
    assert kernels_in(traced("diagonal").jaxpr) == (3 if fast else 2)


def test_no_float64_array_outside_of_blocks():
    programs = [traced("diagonal").jaxpr]
    while programs:
        for eqn in programs.pop().eqns:
            assert all(v.aval.dtype != np.float64 for v in eqn.outvars)
            programs += core.jaxprs_in_params(eqn.params)


def test_the_choice_by_numbers():
    position = functools.partial(choice.kernel_position, n_features=4, most=3e-5)
    assert [int(position(bound)) for bound in (0.0, 2e-5, 4e-5, 5e-2, 1.0, 1e5, np.inf, np.nan)] == [
        0, 0, 1, 1, 1, 2, 2, 2
    ]  # fmt: skip
    assert int(choice.kernel_position(np.float32(4e-2), 4, 5e-2)) == 0


# ---- rows of every kind, derivatives, batches --------------------------------------------------

KINDS = {
    "blocks": lambda x: Blocks(x, 64),
    "shards": Shards,
    "stream": lambda x: Stream(lambda: (x[i : i + 700] for i in range(0, len(x), 700))),
    "stream over devices": lambda x: Stream([x[:3000], x[3000:]]),
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rows(kind, monkeypatch):
    if kind == "stream over devices":
        monkeypatch.setattr(devices, "SPREAD_ROWS", 100)
    monkeypatch.setattr(stream_passes, "LEAST_CHUNK", 1024)
    monkeypatch.setattr(stream_passes, "CHUNK_BYTES", 1024 * D * 4)
    x, component = clusters(1e-2)
    start = narrow_mixture(x, component, "diagonal")
    rows = KINDS[kind](x)
    true = exact(jaxgmm.e_step, start, x)
    assert error(jaxgmm.e_step(start, rows), true) < 1e-4  # the center of the rows is rounded
    for kernel in ("auto", "double"):
        run = functools.partial(
            jaxgmm.fit, mixture=start, max_steps=3, tolerance=0.0, kernel=kernel
        )
        found, expected = run(rows), run(x, devices=jax.devices()[:1])
        np.testing.assert_allclose(found.mixture.means, expected.mixture.means, atol=1e-6)
        np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-6)
    with jax.enable_x64(False):
        slope = jax.grad(lambda m: jaxgmm.log_likelihood(m, rows))(start)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_derivatives_are_those_of_the_whitened_kernel():
    x, component = clusters(0.3)
    mixture = narrow_mixture(x, component, "diagonal")
    mixture = mixture.translate(np.full(D, 0.05, np.float32))
    along = jax.tree.map(lambda leaf: np.ones_like(leaf), mixture)

    def value(kernel, mixture):
        sums = statistics(mixture, Rows.of(jnp.asarray(x), None), kernel)
        return sums.log_likelihood + jnp.sum(sums.shift**2) / N

    def derivatives(kernel):
        of = functools.partial(value, kernel)
        gradient = jax.grad(jax.jit(of))
        return gradient(mixture), *jax.jvp(gradient, (mixture,), (along,))

    for a, b in zip(*map(jax.tree.leaves, map(derivatives, ("double", "whitened"))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * N)
    gradient = jax.grad(jaxgmm.log_likelihood)(mixture, x)
    true = exact(jax.grad(jaxgmm.log_likelihood), mixture, x)
    for a, b in zip(*map(jax.tree.leaves, (gradient, true)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * N)


def test_batches():
    x, component = clusters(1e-2)
    mixture = narrow_mixture(x, component, "spherical")
    moves = jnp.asarray([0.0, 1e-3, -2e-3], jnp.float32)
    of = lambda move: sums_by("double")(mixture.translate(jnp.full(D, move)), x)
    many = jax.jit(jax.vmap(of))(moves)
    for i, move in enumerate(moves):
        one = of(move)
        for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-5)


def test_a_function_in_float64():
    exactly = lambda tree: {
        "sum": tree["x"] + 1e-12,
        "dtype": tree["x"] * 0 + tree["x"].dtype.itemsize,
    }
    shift = lambda x: in_float64(lambda x: (x + 1e8) - 1e8, lambda x: 2 * x, x)
    found = in_float64(exactly, exactly, {"x": jnp.ones(3)})
    assert found["sum"].dtype == jnp.float32
    np.testing.assert_array_equal(found["dtype"], 8.0)
    np.testing.assert_array_equal(shift(jnp.float32(3.0)), 3.0)  # without jit too
    np.testing.assert_array_equal(jax.jit(jax.vmap(shift))(jnp.arange(3.0)), np.arange(3))
    assert float(jax.grad(shift)(3.0)) == 2.0


@pytest.mark.thorough
def test_sweeps_take_it_for_narrow_components(monkeypatch):
    """Lanes climb by the natural kernel, and make their last steps by the double one."""
    seen, made, position_of = [], [], choice.kernel_position

    class Seen(Double):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    jax.clear_caches()
    monkeypatch.setitem(choice.KERNELS, "double", Seen)

    def spy(*arguments):
        seen.append(int(position_of(*arguments)))
        return position_of(*arguments)

    monkeypatch.setattr(lane_batches, "LITTLE_WORK", 0)
    monkeypatch.setattr(lanes, "kernel_position", spy)
    x, _ = clusters(0.03, n=600, k=3)
    run = lambda kernel: jaxgmm.sweep(
        jax.random.key(0), x, (2, 3), restarts=4, families="diagonal", strategy="full",
        kernel=kernel,
    )  # fmt: skip
    auto = run("auto")
    assert set(seen) == {0, 1}
    assert seen[-1] == 1 and made
    careful, double = run("whitened"), run("double")
    for found in (auto, double):
        fits, others = found.fits["diagonal"], careful.fits["diagonal"]
        assert (fits.status == Status.CONVERGED).all()
        best = lambda fits: np.max(fits.objective, axis=1)
        np.testing.assert_allclose(best(fits), best(others), atol=1e-5 * len(x))


@pytest.mark.thorough
def test_other_algorithms_take_it():
    x, component = clusters(0.01)
    start = narrow_mixture(x, component, "spherical")
    for algorithm in (jaxgmm.SQUAREM(), jaxgmm.Gradient(optax.lbfgs)):
        fits = [
            jaxgmm.fit(x, start, algorithm, kernel=kernel, max_steps=5, tolerance=0.0)
            for kernel in ("auto", "whitened")
        ]
        np.testing.assert_allclose(fits[0].objective, fits[1].objective, rtol=1e-5)
