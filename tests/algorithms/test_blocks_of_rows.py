"""Incremental EM and variance reduction: statistics of parts of the rows, at several mixtures."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgmm
from jaxgmm import (
    EM,
    Gradient,
    Incremental,
    Observed,
    Status,
    StepwiseEM,
    Stochastic,
    VarianceReduced,
)
from jaxgmm.objective.log_likelihood import expected, restate
from jaxgmm.objective.m_step import m_step_from

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(240, 2)) + np.array([[0, 0], [3, 0], [0, 3]])[RANDOM.integers(3, size=240)]
REDUCED = VarianceReduced(StepwiseEM(decay=0, scale=0.5), batch_rows=24)


@pytest.fixture(scope="module")
def start():
    with jax.enable_x64(True):
        return jaxgmm.initialize(jax.random.key(0), X, 3)


@pytest.fixture(scope="module")
def plain(start):
    with jax.enable_x64(True):
        return jaxgmm.fit(X, start, tolerance=1e-13, max_steps=5000)


# ---- statistics in the units of another mixture ------------------------------------------------

FAMILIES = [
    "full", "diagonal",
    *(pytest.param(name, marks=pytest.mark.thorough) for name in ("tied", "spherical", "EII", "VEV")),
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_restated_statistics(family, x64):
    """They give the same M-step, and the same Q up to a constant; the log-likelihood becomes its
    lower bound; at the mixture itself nothing changes."""
    keys = jax.random.split(jax.random.key(3))
    at, other = (jaxgmm.initialize(key, X, 3, family=family) for key in keys)
    sums = jaxgmm.e_step(at, X)

    @jax.jit
    def look(at, other, sums):
        restated = restate(sums, at, other)
        ends = [m_step_from(at, sums, None).after]
        ends.append(m_step_from(other, restated, None).after)
        values = [[expected(m, at, sums), expected(m, other, restated)] for m in (at, other)]
        return restated, restate(sums, at, at), ends, jnp.array(values)

    restated, unchanged, (first, second), values = look(at, other, sums)
    # A start of "VEV" and an M-step from it end at the same scales only at a fixed point.
    if family != "VEV":
        chex.assert_trees_all_close(first, second, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(values[:, 0], values[:, 1], rtol=1e-10)
    chex.assert_trees_all_close(unchanged, sums, rtol=1e-11, atol=1e-9)
    bound, exact = restated.log_likelihood, jaxgmm.log_likelihood(other, X)
    assert bound <= exact
    np.testing.assert_allclose(bound - sums.log_likelihood, values[1, 0] - values[0, 0], rtol=1e-9)


# ---- incremental EM ----------------------------------------------------------------------------


def test_incremental_em(start, plain, passes_taken):
    """The lower bound never falls; EM's fixed point in fewer passes; every block is counted; the
    fit ends with its own objective and EM's gain."""
    with jax.enable_x64(True):
        algorithm = Incremental(blocks=7)  # does not divide the rows
        fit = jaxgmm.fit(X, start, algorithm, max_steps=20000, tolerance=1e-12)
        jax.block_until_ready(fit)
        jax.effects_barrier()
        assert fit.converged
        assert fit.em_gain < 1e-12
        assert np.diff(fit.history).min() > -1e-11 * abs(float(fit.objective))
        assert abs(float(fit.objective - plain.objective)) < 1e-6 * len(X)
        exact = jaxgmm.log_likelihood(fit.mixture, X)
        np.testing.assert_allclose(fit.log_likelihood, exact, rtol=1e-12)
        costs = np.diff(fit.history_passes)
        whole = costs > 0.99
        assert whole[0]
        assert whole[-1]
        assert whole.sum() <= 4
        np.testing.assert_allclose(costs[~whole], 1 / 7, rtol=0.05)
        assert len(passes_taken) == 1 + 7 * whole.sum() + (~whole).sum()
        assert fit.passes < 0.8 * plain.passes
        # EM's first step; then a bound, which is that of the log-likelihood where all is known.
        short = jaxgmm.fit(X, start, algorithm, max_steps=9, tolerance=0.0)
        np.testing.assert_allclose(
            short.history[1], jaxgmm.fit(X, start, max_steps=1, tolerance=0.0).objective, rtol=1e-12
        )
        assert short.log_likelihood < jaxgmm.log_likelihood(short.mixture, X)


def test_incremental_em_where_em_converged(plain, x64):
    fit = jaxgmm.fit(X, plain.mixture, Incremental(blocks=7), max_steps=20000, tolerance=1e-12)
    assert (int(fit.steps), float(fit.passes)) == (0, 1.0)


# ---- variance reduction ------------------------------------------------------------------------


def test_variance_reduced_em(start, plain, passes_taken):
    """A constant step converges linearly to EM's fixed point, which that of online EM does not;
    two evaluations of each minibatch and one of all rows are counted."""
    with jax.enable_x64(True):
        fit = jaxgmm.fit(X, start, REDUCED, max_steps=100, tolerance=0.0)
        jax.block_until_ready(fit)
        jax.effects_barrier()
        assert len(passes_taken) == 1 + 100 * (2 * 10 + 1)
        np.testing.assert_allclose(fit.history_passes, 1 + 3 * np.arange(101), rtol=1e-6)
        gap = float(plain.objective) - np.asarray(fit.history)
        assert abs(gap[-1]) < 1e-9 * len(X)
        assert gap[20] > 4 * gap[40] > 16 * gap[60] > 0, gap[::10]
        assert fit.em_gain < 1e-12, fit.em_gain


@pytest.mark.thorough
def test_online_em_with_a_constant_step_stays_away(start, plain, x64):
    online = Stochastic(REDUCED.algorithm, batch_rows=24)
    fit = jaxgmm.fit(X, start, online, max_steps=60, tolerance=0.0)
    assert float(plain.objective) - np.asarray(fit.history[-10:]).max() > 1e-3 * len(X)


@pytest.mark.thorough
def test_one_batch_is_em(start, x64):
    """With all rows in one batch the correction is 0."""
    algorithm = VarianceReduced(StepwiseEM(decay=0), batch_rows=240)
    plain = jaxgmm.fit(X, start, max_steps=5, tolerance=0.0)
    fit = jaxgmm.fit(X, start, algorithm, max_steps=5, tolerance=0.0)
    np.testing.assert_allclose(fit.history, plain.history, rtol=1e-11)
    assert fit.passes == 1 + 3 * 5


@pytest.mark.thorough
def test_variance_reduced_gradient(start, plain, x64):
    descent = VarianceReduced(Gradient(optax.sgd, learning_rate=0.5), batch_rows=24)
    fit = jaxgmm.fit(X, start, descent, tolerance=1e-11)
    assert fit.converged
    assert abs(float(fit.objective - plain.objective)) < 1e-6 * len(X)


# ---- both --------------------------------------------------------------------------------------

BOTH = {"incremental": Incremental(blocks=6), "variance-reduced": REDUCED}


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("kind", ["spherical", "observed", "shards", "float32", "weights"])
def test_every_kind_ends_where_em_ends(algorithm, kind, x64):
    x, algorithm, weight = X, BOTH[algorithm], None
    family = "spherical" if kind == "spherical" else "full"
    prior = "default"
    start = jaxgmm.initialize(jax.random.key(0), X, 3, family=family)
    if kind == "observed":
        gaps = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
        gaps[:, 1] = X[:, 1]
        x = Observed(gaps, noise=np.full(X.shape, 0.1))
    elif kind == "shards":
        x = jaxgmm.Shards(X)
    elif kind == "float32":
        x, start = X.astype(np.float32), jax.tree.map(lambda a: a.astype(np.float32), start)
    elif kind == "weights":
        x, weight = np.concatenate([X, X[:9] + 9]), np.append(RANDOM.uniform(0.5, 2, 240), [0] * 9)
        prior = jaxgmm.Prior(2.0, np.cov(X.T), 1.5, np.mean(X, axis=0) + 0.1, 1.0)
        gone = jaxgmm.Mixture(
            jnp.append(start.logits, -jnp.inf), jnp.append(start.means, start.means[:1], axis=0),
            jax.tree.map(lambda leaf: jnp.append(leaf, leaf[:1], axis=0), start.covariance),
        )  # fmt: skip
        start = gone
    tolerance = 1e-9 if kind == "float32" else 1e-12
    run = lambda algorithm: jaxgmm.fit(
        x, start, algorithm, weight=weight, prior=prior, max_steps=20000, tolerance=tolerance
    )
    plain, fit = run(EM()), run(algorithm)
    assert fit.converged
    near = 1e-5 if kind == "float32" else 1e-6
    assert abs(float(fit.objective - plain.objective)) < near * len(X)
    np.testing.assert_allclose(
        fit.log_likelihood, jaxgmm.log_likelihood(fit.mixture, x, weight=weight), rtol=1e-5
    )


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", BOTH)
def test_in_a_batch(algorithm, x64):
    """Each lane as alone; rows in other units take the same steps."""
    keys = jax.random.split(jax.random.key(1), 2)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, X, 3))(keys)
    run = lambda mixture, x=X: jaxgmm.fit(
        x, mixture, BOTH[algorithm], max_steps=4000, tolerance=1e-5
    )
    batch = jax.jit(jax.vmap(run))(starts)
    for i in range(2):
        start = jax.tree.map(lambda leaf, i=i: leaf[i], starts)
        one = run(start)
        assert one.status == batch.status[i] == Status.CONVERGED
        np.testing.assert_allclose(one.objective, batch.objective[i], rtol=1e-9)
        assert one.passes == pytest.approx(float(batch.passes[i]))
        scaled = jaxgmm.Mixture.from_parameters(
            start.weights, start.means * 1e3, start.covariances * 1e6
        )
        other = run(scaled, 1e3 * X)
        steps = min(len(other.history), len(one.history))
        rise = lambda fit, steps=steps: fit.history[:steps] - fit.history[0]
        np.testing.assert_allclose(rise(other), rise(one), rtol=1e-6, atol=1e-6)


@pytest.mark.thorough
def test_a_stream_with_variance_reduction(start, x64):
    stream = jaxgmm.Stream(lambda: (X[i : i + 60] for i in range(0, 240, 60)))
    array = jaxgmm.fit(X, start, REDUCED, max_steps=5, tolerance=0.0)
    fit = jaxgmm.fit(stream, start, REDUCED, max_steps=5, tolerance=0.0)
    assert fit.objective > fit.history[0]
    np.testing.assert_allclose(fit.passes, array.passes, rtol=1e-6)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Incremental(blocks=1), "blocks is 1"),
        (lambda: VarianceReduced(EM()), "cannot run over minibatches"),
        (lambda: VarianceReduced(batch_rows=0), "batch_rows is 0"),
        (lambda: VarianceReduced(seed=-1), "seed is -1"),
        (lambda: StepwiseEM(scale=2.0), "scale is 2.0"),
    ],
)
def test_bad_settings(made, words):
    with pytest.raises(ValueError, match=words):
        made()


def test_what_cannot_be_fitted(start, x64):
    stream = jaxgmm.Stream(lambda: iter([X]))
    with pytest.raises(ValueError, match="a Stream can only be read as a whole"):
        jaxgmm.fit(stream, start, Incremental())
    factors = jaxgmm.initialize(jax.random.key(0), X, 2, family="factors-1")
    for algorithm in (Incremental(), VarianceReduced(StepwiseEM(decay=0))):
        with pytest.raises(ValueError, match="do not give those at another"):
            jaxgmm.fit(X, factors, algorithm)
    turned = jaxgmm.initialize(jax.random.key(0), X, 2, family="VEE")
    with pytest.raises(ValueError, match="do not follow from it"):
        jaxgmm.fit(X, turned, REDUCED)
