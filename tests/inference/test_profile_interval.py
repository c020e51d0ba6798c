"""Profile intervals: closed forms, ends that EM confirms, and ends that do not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Mixture, Prior, Status

HALF = 1.959963984540054**2 / 2
TRUTH = Mixture.from_parameters([0.3, 0.7], [[0.0, 0.0], [2.0, 0.5]], [np.eye(2)] * 2)


def weight(mixture):
    return mixture.weights[0]


def mean(mixture):
    return mixture.means[0, 0]


@pytest.fixture(scope="module")
def samples():
    """Rows of overlapping components on few rows, and their maxima, by the samples' numbers."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(3), 150)
        truth = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), TRUTH)
        fit = lambda x: jaxgmm.fit(x, truth, tolerance=1e-16, max_steps=20000).mixture
        drawn = {
            i: jaxgmm.sample(jax.random.split(keys[i])[0], truth, 60)[0] for i in (6, 13, 29, 107)
        }
        yield {i: (x, fit(x)) for i, x in drawn.items()}


@jax.jit
def falls_by_em(x, mixture, values):
    """How far the objective has fallen at maxima whose first weight is fixed, by EM that does not
    change it; each begins at the one before."""
    prior = Prior.from_data(x)
    objective = lambda m: jaxgmm.log_likelihood(m, x) + jaxgmm.log_prior(m, prior)

    def maximum(start, value):
        logits = jnp.log(jnp.stack([value, 1 - value]))
        fixed = lambda m: Mixture(logits, m.means, m.covariance)
        step = lambda _, m: fixed(jaxgmm.m_step(m, jaxgmm.e_step(m, x), prior))
        end = jax.lax.fori_loop(0, 1500, step, fixed(start))
        return end, objective(mixture) - objective(end)

    return jax.lax.scan(maximum, mixture, values)[1]


@pytest.mark.parametrize(
    ("sample", "hard"), [pytest.param(6, 0, marks=pytest.mark.thorough), (29, 1)]
)
def test_ends_that_newtons_method_alone_does_not_find(sample, hard, samples, x64):
    """At each end the objective has fallen by q/2 for the first time; at one of them, Newton's
    method from Wald's end leads elsewhere."""
    x, mixture = samples[sample]
    found = jaxgmm.profile_interval(weight, mixture, x)
    assert list(found.status) == [Status.CONVERGED] * 2
    assert found.passes[hard] > 15 and found.passes[1 - hard] < 10
    for end in (found.low, found.high):
        parts = np.linspace(0, 1, 17)[1:]
        fall = falls_by_em(x, mixture, weight(mixture) + parts * (end - weight(mixture)))
        np.testing.assert_allclose(fall[-1], HALF, rtol=1e-8)
        assert np.all(fall[:-1] < HALF)
        np.testing.assert_allclose(found.gain, 0, atol=1e-8)


def test_an_end_where_a_component_loses_its_rows(samples, x64):
    """The objective is not far enough below its maximum where the weight is 0."""
    x, mixture = samples[107]
    found = jaxgmm.profile_interval(weight, mixture, x)
    assert found.status[0] == Status.DEGENERATE and np.isnan(found.low)
    values = weight(mixture) * 10.0 ** -jnp.linspace(0.5, 8, 16)
    assert np.all(falls_by_em(x, mixture, values) < HALF)


def test_a_better_maximum_is_reported(samples, x64):
    """The way to larger weights leads over it."""
    x, mixture = samples[13]
    found = jaxgmm.profile_interval(weight, mixture, x)
    values = jnp.linspace(weight(mixture), 0.9924, 16)
    fall = falls_by_em(x, mixture, values)
    np.testing.assert_allclose(found.gain[1], -fall.min(), rtol=0.3)


@pytest.mark.thorough
def test_vmap_over_samples_and_functions(samples, x64):
    """Ends that take different numbers of passes; g closes over a traced number."""
    chosen = [samples[i] for i in (6, 29)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chosen)
    alone = [jaxgmm.profile_interval(weight, mixture, x) for x, mixture in chosen]
    lanes = jax.vmap(lambda x, mixture: jaxgmm.profile_interval(weight, mixture, x))(*batch)
    for i, one in enumerate(alone):
        np.testing.assert_allclose([lanes.low[i], lanes.high[i]], [one.low, one.high], rtol=1e-6)
        np.testing.assert_array_equal(lanes.status[i], one.status)
    x, mixture = chosen[0]
    along = lambda c: jaxgmm.profile_interval(lambda m: m.means[0] @ c, mixture, x)
    found = jax.vmap(along)(jnp.eye(2))
    np.testing.assert_allclose(found.low[0], jaxgmm.profile_interval(mean, mixture, x).low)


@pytest.mark.thorough
def test_the_mean_of_one_component_has_a_closed_form(samples, x64):
    x = np.asarray(samples[6][0])
    one = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 1), prior=None).mixture
    found = jaxgmm.profile_interval(mean, one, x, prior=None)
    half = np.sqrt(x[:, 0].var() * np.expm1(2 * HALF / len(x)))
    np.testing.assert_allclose([found.low, found.high], x[:, 0].mean() + half * np.array([-1, 1]))
    assert list(found.status) == [Status.CONVERGED] * 2


def test_a_mixture_that_is_no_maximum_has_no_interval(samples, x64):
    x, mixture = samples[6]
    twins = Mixture.from_parameters([0.5, 0.5], [x.mean(axis=0)] * 2, [np.cov(x.T, bias=True)] * 2)
    found = jaxgmm.profile_interval(weight, twins, x)
    assert list(found.status) == [Status.NONFINITE] * 2
    assert np.isnan([found.low, found.high]).all() and not found.passes.any()


def test_bad_input(samples, x64):
    x, mixture = samples[6]
    with pytest.raises(ValueError, match="level is 0"):
        jaxgmm.profile_interval(mean, mixture, x, level=0)
    with pytest.raises(ValueError, match="must return one number"):
        jaxgmm.profile_interval(lambda m: m.means, mixture, x)
