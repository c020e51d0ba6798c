"""Passes that leave out components: their sums are those of the dense pass."""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Mixture
from jaxgmm.data.ordering import Ordering
from jaxgmm.data.rows import Rows
from jaxgmm.families.registry import family_class
from jaxgmm.kernels import choice, natural, row_order
from jaxgmm.kernels import relevant as relevant_pass
from jaxgmm.kernels.choice import KERNELS
from jaxgmm.kernels.relevant import Relevant
from jaxgmm.kernels.screen import Screen
from jaxgmm.objective.statistics import statistics

N, D, K = 1500, 4, 16
CASES = [("full", "float32"), ("full", "float64"), ("diagonal", "float32"), ("factors", "float32")]
KIND = {"full": "whitened", "diagonal": "double", "factors": "double"}
SITUATIONS = (
    "apart", "overlapping", "outliers", "without rows", "absent", "weights", "worst order", "narrow",
    "half", "pairs",
)  # fmt: skip


def problem(situation, family, dtype):
    """A mixture, rows, weights, and an order of the rows."""
    rng = np.random.default_rng(3)
    component = rng.integers(K, size=N)
    spread = {"overlapping": 0.5, "apart": 100.0, "narrow": 200.0, "half": 4.0}.get(situation, 30.0)
    centers = spread * rng.normal(size=(K, D))
    if situation == "pairs":  # with small responsibilities for each other
        centers[K // 2 :] = centers[: K // 2] + 9 * np.eye(D)[0]
    loadings = rng.normal(size=(K, D, 1))
    roots = np.linalg.cholesky(np.eye(D) + loadings @ loadings.transpose(0, 2, 1))
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
    positions = rng.permutation(N) if situation == "worst order" else np.argsort(component)
    covariances = roots @ roots.transpose(0, 2, 1)
    if family == "diagonal":
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    kind = jaxgmm.factors(1) if family == "factors" else family
    with jax.enable_x64(True):
        mixture = Mixture.from_parameters(weights, centers, covariances, family=kind)
    cast = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)
    return cast(mixture), cast(x), cast(weight), positions.astype(np.int32)


@functools.cache
def passes(kernel):
    """The pass that leaves out, and the dense one."""

    def relevant(mixture, x, weight, positions, axes):
        rows = dataclasses.replace(Rows.of(x, weight), ordering=Ordering(positions, axes))
        return Relevant(KERNELS[kernel], mixture, rows).statistics()

    dense = lambda mixture, x, weight: statistics(mixture, Rows.of(x, weight), "whitened")
    return jax.jit(relevant), jax.jit(dense)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_sums_are_those_of_a_dense_pass(family, dtype, situation, monkeypatch):
    monkeypatch.setattr(relevant_pass, "FEWEST", 2)
    with jax.enable_x64(dtype == "float64"):
        mixture, x, weight, positions = problem(situation, family, dtype)
        relevant, dense = passes(KIND[family])
        (mass, shift, spread), value = relevant(
            mixture, x, weight, positions, np.eye(D, dtype=dtype)[:2]
        )
        expected = dense(mixture, x, weight)
        mass, shift, spread = map(np.asarray, (mass, shift, spread))
    assert value.dtype == mass.dtype == shift.dtype == spread.dtype == dtype
    close = 3e-5 if dtype == "float32" else 1e-12
    scale = np.maximum(np.asarray(expected.mass), 1)
    np.testing.assert_allclose(value, expected.log_likelihood, rtol=close)
    for found, true in ((mass, expected.mass), (shift, expected.shift), (spread, expected.spread)):
        true = np.asarray(true)
        size = scale.reshape(-1, *[1] * (true.ndim - 1)) * max(1, np.abs(true / 1e4).max())
        np.testing.assert_allclose(found / size, true / size, atol=close, rtol=0)


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


@pytest.mark.parametrize(("situation", "expected"), [("apart", 0), ("overlapping", 1)])
def test_which_components_are_left_out(situation, expected):
    mixture, x, weight, positions = jax.tree.map(jnp.asarray, problem(situation, "full", "float32"))
    rows = dataclasses.replace(Rows.of(x, weight), ordering=Ordering(positions, jnp.eye(D)[:2]))
    relevant = Relevant(KERNELS["whitened"], mixture, rows)
    assert relevant.sizes == (4, 16)
    level, ranked = relevant.rank(rows.ordered_block(jnp.int32(3), 128)[0])
    assert level == expected
    assert len(ranked) == 4


def rows_of_clusters(n=2000, d=4, k=20):
    rng = np.random.default_rng(1)
    component = rng.integers(k, size=n)
    x = 40 * rng.normal(size=(k, d))[component] + rng.normal(size=(n, d))
    return x.astype(np.float32), component


@pytest.mark.parametrize(
    ("algorithm", "parts"),
    [("em", 1), ("em", 2), pytest.param("lbfgs", 1, marks=pytest.mark.thorough)],
)
def test_fits_are_those_of_dense_passes(algorithm, parts, monkeypatch):
    """Where rows are on two devices, each has an order of its own."""
    x, component = rows_of_clusters()
    start = jaxgmm.from_labels(x, (component + (np.arange(len(x)) % 50 == 0)) % 20, 20)
    rows = jaxgmm.Shards(x) if parts == 2 else x
    fit = lambda kernel: jaxgmm.fit(
        rows, start, algorithm, kernel=kernel, max_steps=5, tolerance=0.0
    )
    seen = []
    order = row_order.in_order_of
    monkeypatch.setattr(
        sys.modules["jaxgmm.fitting.fit"],
        "in_order_of",
        lambda rows, mixture: seen.append(rows.axis) or order(rows, mixture),
    )
    dense = fit("whitened")
    monkeypatch.setattr(row_order, "LEAST_RESIDUALS", 0)
    monkeypatch.setattr(row_order, "LEAST_IN_ROW", 0)
    monkeypatch.setattr(choice, "WHITENED_UP_TO_NUMBERS", 0)
    monkeypatch.setitem(natural.SAFE_ROUNDING, "float32", 0.0)
    found = fit("auto")
    assert found.steps == dense.steps
    assert len(seen) == 1 and (seen[0] is not None) == (parts == 2)
    np.testing.assert_allclose(found.history, dense.history, rtol=1e-6)
    np.testing.assert_allclose(found.mixture.means, dense.mixture.means, atol=1e-4)


def test_rows_are_put_in_an_order():
    x, component = rows_of_clusters()
    mixture = jaxgmm.from_labels(x, component, 20)
    rows = row_order.in_order_of(Rows.about_own_mean(jnp.asarray(x), None), mixture)
    positions = np.asarray(rows.ordering.positions)
    assert np.array_equal(np.sort(positions), np.arange(len(x)))
    in_order = component[positions]
    assert np.sum(in_order[1:] != in_order[:-1]) == 19


def test_where_nothing_is_left_out():
    apart = 100 * np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    of_family = lambda family, k=64, means=apart: Mixture(
        jnp.zeros(k), jnp.asarray(means[:k]), family_class(family, k, 64).identity(k, 64, "float32")
    )
    assert row_order.may_leave_out(of_family("full"), 10**5)
    assert row_order.may_leave_out(of_family("diagonal"), 10**5)
    # The natural kernel is accurate for wide components, wherever their common mean is.
    assert not row_order.may_leave_out(of_family("full", means=0.01 * apart + 1e3), 10**5)
    assert not row_order.may_leave_out(of_family("full"), 2000)
    assert not row_order.may_leave_out(of_family("full", 8), 10**5)
    assert not row_order.may_leave_out(of_family("tied"), 10**5)
    assert not row_order.may_leave_out(of_family("VEV"), 10**5)
