"""Laws of every algorithm that promises EM's optimum and an objective that never falls.

Another algorithm obeys them by a line in `ALGORITHMS`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import EM, SQUAREM, Anderson, Auto, ConjugateEM, NesterovEM, QuasiNewtonEM

ALGORITHMS = {
    "squarem": SQUAREM(),
    "anderson": Anderson(),
    "quasi-newton em": QuasiNewtonEM(),
    "conjugate em": ConjugateEM(),
    "nesterov em": NesterovEM(),
    "auto": Auto(),
}
SOON = ("auto", "anderson", "conjugate em")  # the others in the thorough suite
RANDOM = np.random.default_rng(0)
CENTERS = np.array([[0, 0], [3.5, 0], [0, 3.5]])
X = RANDOM.normal(size=(200, 2)) + CENTERS[RANDOM.integers(3, size=200)]
WEIGHTS = np.stack([np.ones(200), RANDOM.integers(0, 4, size=200), np.ones(200)])


@pytest.fixture(
    params=[name if name in SOON else pytest.param(name, marks=pytest.mark.thorough)
            for name in ALGORITHMS]
)  # fmt: skip
def algorithm(request):
    return ALGORITHMS[request.param]


def batch_of_starts(x=X, family="full"):
    """Three starts: two of three components, and one of two in which the third is absent."""
    start = lambda seed: jaxgmm.initialize(jax.random.key(seed), x, 3, family=family)
    starts = [start(0), start(2), start(2)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    return dataclasses.replace(batch, logits=batch.logits.at[2, 2].set(-jnp.inf))


def run(algorithm, starts, prior, *, x=X, weights=WEIGHTS, tolerance=1e-12, max_steps=1000):
    """The fits of all lanes, in one program."""
    fit = lambda start, weight: jaxgmm.fit(
        x, start, algorithm, weight=weight, prior=prior, tolerance=tolerance, max_steps=max_steps,
        kernel="whitened",
    )  # fmt: skip
    return jax.jit(jax.vmap(fit))(starts, jnp.asarray(weights, x.dtype))


@pytest.fixture(scope="module")
def plain():
    with jax.enable_x64(True):
        return run(EM(), batch_of_starts(), jaxgmm.Prior.from_data(X))


def check_laws(found, plain, total, slack=1e-10):
    """EM's first step; never falling; where EM ends, or higher; in few passes."""
    converged = np.asarray(plain.status) == jaxgmm.Status.CONVERGED
    assert converged[1:].all()
    np.testing.assert_array_equal(found.status, plain.status)
    # The first move is EM's step.
    np.testing.assert_allclose(found.history[:, :2], plain.history[:, :2], rtol=1e-5 * slack**0.1)
    for lane in np.flatnonzero(converged):
        history = found.history[lane][: int(found.steps[lane]) + 1]
        assert np.diff(history).min() >= -slack * abs(history[-1])
        assert found.objective[lane] > plain.objective[lane] - 1e-6 * total[lane]
        assert found.passes[lane] <= 1.1 * plain.passes[lane] + 5
    assert found.mixture.weights[2, 2] == 0


def test_where_em_ends(algorithm, plain, x64):
    """With row weights, a prior and an absent component."""
    found = run(algorithm, batch_of_starts(), jaxgmm.Prior.from_data(X))
    check_laws(found, plain, WEIGHTS.sum(axis=1))
    np.testing.assert_array_equal(found.passes >= found.steps + 1, True)
    lane = jax.tree.map(lambda leaf: leaf[1], found.mixture)
    value = jaxgmm.log_likelihood(lane, X, weight=WEIGHTS[1])
    np.testing.assert_allclose(found.log_likelihood[1], value, rtol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("anderson", "VEV"),
        ("quasi-newton em", "tied"),
        ("conjugate em", "factors-1"),
        ("nesterov em", "diagonal"),
        ("auto", "VEV"),
    ],
)
def test_other_families(name, family, x64):
    algorithm = ALGORITHMS[name]
    starts, prior = batch_of_starts(family=family), jaxgmm.Prior.from_data(X)
    options = dict(tolerance=1e-11, max_steps=3000)
    expected = run(EM(), starts, prior, **options)
    check_laws(run(algorithm, starts, prior, **options), expected, WEIGHTS.sum(axis=1))


@pytest.mark.thorough
def test_without_a_prior_and_lane_by_lane(algorithm, x64):
    """Fits in one batch take the steps of each alone."""
    starts = batch_of_starts()
    found = run(algorithm, starts, None)
    check_laws(found, run(EM(), starts, None), WEIGHTS.sum(axis=1))
    for lane in (1, 2):  # without a prior, the first one degenerates
        start = jax.tree.map(lambda leaf, lane=lane: leaf[lane], starts)
        alone = jaxgmm.fit(
            X, start, algorithm, weight=WEIGHTS[lane], prior=None, tolerance=1e-12,
            kernel="whitened",
        )  # fmt: skip
        few = min(20, int(alone.steps))
        np.testing.assert_allclose(found.history[lane, :few], alone.history[:few], rtol=1e-9)
        np.testing.assert_array_equal(found.history_passes[lane, :few], alone.history_passes[:few])
        np.testing.assert_allclose(found.objective[lane], alone.objective, rtol=1e-9)


@pytest.mark.thorough
def test_float32(algorithm):
    x = X.astype(np.float32)
    starts, prior = batch_of_starts(x), jaxgmm.Prior.from_data(x)
    options = dict(x=x, tolerance=1e-9)
    found = run(algorithm, starts, prior, **options)
    check_laws(found, run(EM(), starts, prior, **options), WEIGHTS.sum(axis=1), slack=1e-6)
    assert {leaf.dtype for leaf in jax.tree.leaves(found.mixture)} == {np.dtype(np.float32)}


@pytest.mark.thorough
def test_passes_are_counted(algorithm, passes_taken):
    """Against a counter in the pass itself; trials that were not taken count."""
    x = X.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    passes_taken.clear()
    fit = jaxgmm.fit(x, start, algorithm, max_steps=40, tolerance=0.0)
    jax.block_until_ready(fit)
    jax.effects_barrier()
    assert len(passes_taken) == int(fit.passes) == int(fit.history_passes[-1])


@pytest.mark.thorough
def test_units_do_not_matter(algorithm, x64):
    matrix = np.array([[1e3, 0], [2.0, 0.01]])
    start = jaxgmm.initialize(jax.random.key(0), X, 3)
    mapped = jaxgmm.Mixture.from_parameters(
        start.weights, start.means @ matrix.T, matrix @ start.covariances @ matrix.T
    )
    plain = jaxgmm.fit(X, start, algorithm, max_steps=12, tolerance=0.0)
    other = jaxgmm.fit(X @ matrix.T, mapped, algorithm, max_steps=12, tolerance=0.0)
    volume = len(X) * np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(other.log_likelihood + volume, plain.log_likelihood, rtol=1e-7)
    np.testing.assert_array_equal(other.passes, plain.passes)


@pytest.mark.thorough
@pytest.mark.parametrize("name", SOON)
def test_observed_rows(name, x64):
    """Missing values are no matter to an algorithm."""
    x = np.where(np.random.default_rng(1).uniform(size=X.shape) < 0.15, np.nan, X)
    x[np.isnan(x).all(axis=1)] = 0
    start = jaxgmm.initialize(jax.random.key(0), X, 3)
    plain, found = (
        jaxgmm.fit(jaxgmm.Observed(x), start, one, tolerance=1e-11)
        for one in (EM(), ALGORITHMS[name])
    )
    assert found.converged
    assert found.objective > plain.objective - 1e-6 * len(X)
