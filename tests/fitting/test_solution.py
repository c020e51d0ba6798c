"""Derivatives through a fit are those of the maximum that it reaches."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgmm
from jaxgmm import Blocks, Mixture, Prior
from jaxgmm.objective import implicit_derivatives, newton_system

N, D, K = 40, 2, 2
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(N, D)) + 3 * (np.arange(N) % K)[:, None]
WEIGHT = RANDOM.uniform(0.5, 2, N)
WEIGHT[5] = 0
KEY = jax.random.key(1)
ELSEWHERE = Mixture.from_parameters(
    [0.3, 0.7], [[0.0, 1.0], [2.0, 2.5]], [np.eye(D), 2 * np.eye(D)]
)
ALONG = RANDOM.normal(size=X.shape), RANDOM.normal(size=N) * (WEIGHT > 0)


def numbers(found):
    """Curved functions of the parameters, whose slopes depend on where they are evaluated."""
    mixture = found.mixture
    length = jnp.log(jnp.linalg.norm(mixture.means[0]))
    odds = jax.scipy.special.logit(mixture.weights[0])
    spread = jnp.sum(jnp.linalg.inv(mixture.covariances))
    divergences = jaxgmm.kl_variational(mixture, ELSEWHERE), jaxgmm.l2(mixture, ELSEWHERE)
    return jnp.stack([length, odds, spread, *divergences, found.log_likelihood, found.objective])


def at_step(step, tolerance=1e-9, max_steps=2000):
    """A fit of rows, weights and a prior that all move with `step`."""
    x, weight = X + step * ALONG[0], WEIGHT + step * ALONG[1]
    prior = Prior.from_data(x, weight=weight, strength=0.5 + step)
    start = jaxgmm.initialize(KEY, X, K)
    return numbers(
        jaxgmm.fit(x, start, weight=weight, prior=prior, tolerance=tolerance, max_steps=max_steps)
    )


@pytest.fixture(scope="module")
def fitted():
    with jax.enable_x64(True):
        start = jaxgmm.initialize(KEY, X, K)
        yield jaxgmm.fit(X, start, tolerance=1e-12, max_steps=5000).mixture


def test_they_equal_central_differences(x64):
    """At the default tolerance of a fit, although it stops an error of √D before the maximum;
    forward and reverse derivatives agree. Other families are in test_gradients.py."""
    tight = jax.jit(lambda step: at_step(step, 1e-20, 20_000))
    expected = (tight(1e-4) - tight(-1e-4)) / 2e-4
    value, forward = jax.jit(lambda t: jax.jvp(at_step, (t,), (1.0,)))(0.0)
    np.testing.assert_allclose(forward, expected, rtol=1e-4, atol=1e-7)  # that of the differences
    # Without the Newton step, the values are off by up to 2e-3.
    np.testing.assert_allclose(value, tight(0.0), rtol=1e-5)
    reverse = jax.jit(jax.jacrev(at_step))(0.0)
    np.testing.assert_allclose(reverse, forward, rtol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["default prior", "no prior", "conjugate prior"])
def test_every_prior_and_an_absent_component(case, fitted, x64):
    """The default prior depends on the rows, and its own derivative counts."""
    parts = fitted.weights, fitted.means, fitted.covariances
    wide = [np.concatenate([part, part[:1] * (i > 0)]) for i, part in enumerate(parts)]
    start = Mixture.from_parameters(*wide)

    def at(step, tolerance):
        x, weight = X + step * ALONG[0], WEIGHT + step * ALONG[1]
        conjugate = Prior(1 + step, np.eye(D), 1.5 + step, jnp.ones(D) * (1 + step), 0.3 + step)
        prior = {"default prior": "default", "no prior": None}.get(case, conjugate)
        settings = dict(weight=weight, prior=prior, tolerance=tolerance, max_steps=20_000)
        return numbers(jaxgmm.fit(x, start, **settings))

    tight = jax.jit(lambda step: at(step, 1e-20))
    expected = (tight(1e-4) - tight(-1e-4)) / 2e-4
    found = jax.jit(jax.jacfwd(lambda step: at(step, 1e-9)))(0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_nothing_is_computed_where_no_derivative_is_taken(fitted, x64, monkeypatch):
    def refuse(*_):
        raise NotImplementedError

    monkeypatch.setattr(implicit_derivatives, "newton_system", refuse)
    jax.clear_caches()
    moved = lambda c: jaxgmm.solution(fitted, X + c)
    chex.assert_trees_all_equal(jax.jit(moved)(0.0), fitted)
    with pytest.raises(NotImplementedError):
        jax.grad(lambda c: moved(c).means[0, 0])(0.0)
    jax.clear_caches()


@pytest.mark.thorough
def test_second_derivatives(x64):
    tight = jax.jit(lambda step: at_step(step, 1e-20, 20_000))
    expected = (tight(1e-3) - 2 * tight(0.0) + tight(-1e-3)) / 1e-6
    found = jax.jit(jax.hessian(lambda step: at_step(step, 1e-14)))(0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.thorough
def test_many_parameters_need_no_matrix(fitted, x64, monkeypatch):
    """Conjugate gradients lead to the same derivatives, first and second."""

    def slopes():
        by_strength = lambda s: Prior.from_data(X, strength=s)
        at = lambda s: jaxgmm.solution(fitted, X, prior=by_strength(s)).means[0, 0] ** 2
        return jax.jit(lambda s: jax.jvp(jax.grad(at), (s,), (1.0,)))(1.0)

    expected = slopes()
    jax.clear_caches()
    monkeypatch.setattr(newton_system, "MOST_PARAMETERS", 0)
    np.testing.assert_allclose(slopes(), expected, rtol=1e-7)
    jax.clear_caches()


@pytest.mark.thorough
def test_laws_of_a_shift_and_of_weights(fitted, x64):
    """A shift of all rows moves the means alone; without a prior only the ratios of weights count;
    rows of weight 0 and the start have no influence."""
    plain = jaxgmm.fit(X, fitted, prior=None, tolerance=1e-14, max_steps=5000).mixture
    given = jnp.asarray(WEIGHT)

    @jax.jit
    def slopes(x, weight):
        by_shift = jax.jacfwd(lambda c: jaxgmm.solution(fitted, x + c))(0.0)
        of_weight = lambda w: jaxgmm.solution(plain, x, weight=w, prior=None)
        scaled = jax.jvp(of_weight, (jnp.ones(N),), (jnp.ones(N),))[1]
        score = lambda x: jnp.sum(jaxgmm.solution(fitted, x, weight=weight).means)
        return by_shift, scaled, jax.grad(score)(x)

    by_shift, scaled, by_rows = slopes(jnp.asarray(X), given)
    chex.assert_trees_all_close(
        by_shift, jax.tree.map(jnp.zeros_like, fitted).translate(jnp.ones(D)), atol=1e-7
    )
    chex.assert_trees_all_close(scaled, jax.tree.map(jnp.zeros_like, fitted), atol=1e-9)
    assert np.abs(by_rows[5]).max() == 0 and np.abs(by_rows[6]).max() > 0


@pytest.mark.thorough
def test_the_start_the_tolerance_and_the_optimizer_have_none(fitted, x64):
    def value(mixture, tolerance, rate):
        algorithm = jaxgmm.Gradient(optax.sgd(rate))
        return jaxgmm.fit(X, mixture, algorithm, tolerance=tolerance, max_steps=2).objective

    slopes = jax.grad(value, argnums=(0, 1, 2))(fitted, 1e-9, 0.1)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slopes))


@pytest.mark.thorough
def test_a_saddle_has_none(x64):
    """Two equal components."""
    mean, covariance = X.mean(axis=0), np.cov(X.T, bias=True)
    twins = Mixture.from_parameters([0.5, 0.5], [mean, mean], [covariance, covariance])
    score = lambda c: jaxgmm.solution(twins, X * c, prior=None).means[0, 0]
    assert np.isnan(jax.jvp(score, (1.0,), (1.0,))[1])


@pytest.mark.thorough
def test_a_mixture_from_a_sweep(x64):
    """It has the derivatives of a fit that begins there, under jit and without."""
    found = jaxgmm.sweep(KEY, X, K, families="diagonal", restarts=2).best().mixture
    along = jnp.asarray(ALONG[0])
    of_solution = lambda c: jaxgmm.solution(found, X + c * along).means
    of_fit = lambda c: jaxgmm.fit(X + c * along, found).mixture.means
    slopes = jax.jacfwd(of_solution)(0.0)
    np.testing.assert_allclose(slopes, jax.jit(jax.jacfwd(of_solution))(0.0), rtol=1e-10)
    np.testing.assert_allclose(slopes, jax.jacfwd(of_fit)(0.0), rtol=1e-5)


@pytest.mark.thorough
def test_vmap_and_kinds_of_rows(fitted, x64):
    shift = lambda c: jaxgmm.fit(X + c, fitted).mixture.means[0, 0]
    np.testing.assert_allclose(jax.vmap(jax.grad(shift))(jnp.zeros(2)), 1, atol=1e-5)
    by_strength = lambda kind: jax.grad(
        lambda s: jnp.sum(jaxgmm.solution(fitted, kind, prior=Prior(s, np.eye(D))).means ** 2)
    )(1.0)
    expected = by_strength(X)
    for kind in (Blocks(X, 16), jaxgmm.Shards(X), jaxgmm.Stream([X[:20], X[20:]])):
        np.testing.assert_allclose(by_strength(kind), expected, rtol=1e-9)
