"""The prior: its formula, its default, and that it is shared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import Mixture, Prior


def test_log_prior_is_its_formula(family, x64):
    weights, means, covariances = reference.random_mixture(20, 3, 2, family)
    mixture = Mixture.from_parameters(weights, means, covariances, family=family)
    scatter, mean = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([0.5, -1.0])
    prior = Prior(strength=1.5, scatter=scatter, concentration=2.5, mean=mean, mean_strength=0.7)
    held = covariances[:1] if family == "tied" else covariances
    expected = -0.5 * sum(
        1.5 * np.linalg.slogdet(c)[1] + np.trace(np.linalg.solve(c, scatter)) for c in held
    )
    expected += 1.5 * np.log(weights).sum()
    expected -= 0.35 * sum(
        (m - mean) @ np.linalg.solve(c, m - mean) for m, c in zip(means, covariances, strict=True)
    )
    np.testing.assert_allclose(jaxgmm.log_prior(mixture, prior), expected, rtol=1e-11)
    assert jaxgmm.log_prior(mixture, None) == 0


def test_default_prior_has_the_covariance_of_the_data(penguins, x64):
    weight = np.random.default_rng(0).uniform(0, 2, len(penguins))
    prior = Prior.from_data(penguins + 1e6, weight=weight, strength=0.2)
    expected = 0.2 * np.cov(penguins, rowvar=False, aweights=weight, ddof=0)
    np.testing.assert_allclose(prior.scatter, expected, rtol=1e-8, atol=1e-8)
    assert prior.strength == 0.2
    many = jax.vmap(lambda w: Prior.from_data(penguins, weight=w))(jnp.stack([weight, weight * 2]))
    np.testing.assert_allclose(many.scatter[0], many.scatter[1], rtol=1e-10)


def test_normal_inverse_wishart_mode(x64):
    """One component: the posterior mode in closed form (Fraley & Raftery 2007, table 2)."""
    rng = np.random.default_rng(1)
    x, d, nu, kappa = rng.normal(size=(40, 2)), 2, 7.0, 3.0
    scale, mean = np.array([[1.0, 0.2], [0.2, 2.0]]), np.array([1.0, 1.0])
    prior = Prior(strength=nu + d + 2, scatter=scale, mean=mean, mean_strength=kappa)
    fit = jaxgmm.fit(x, jaxgmm.from_labels(x, np.zeros(40, int)), prior=prior, tolerance=1e-20)
    bar = x.mean(axis=0)
    apart = (x - bar).T @ (x - bar)
    pulled = scale + apart + kappa * 40 / (kappa + 40) * np.outer(bar - mean, bar - mean)
    np.testing.assert_allclose(fit.mixture.means[0], (40 * bar + kappa * mean) / (40 + kappa))
    np.testing.assert_allclose(fit.mixture.covariances[0], pulled / (nu + 40 + d + 2), rtol=1e-10)


def test_lists_will_do(iris, x64):
    mixture = jaxgmm.from_labels(iris, np.zeros(150, int))
    prior = Prior(strength=1, scatter=np.eye(4).tolist(), mean=[1, 2, 3, 4], mean_strength=2)
    moved = jaxgmm.m_step(mixture, jaxgmm.e_step(mixture, iris), prior)
    expected = (150 * iris.mean(axis=0) + 2 * np.arange(1, 5)) / 152
    np.testing.assert_allclose(moved.means[0], expected, rtol=1e-12)


def test_dirichlet_evens_the_weights(iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 3)
    sums = jaxgmm.e_step(mixture, iris)
    plain = jaxgmm.m_step(mixture, sums).weights
    even = jaxgmm.m_step(mixture, sums, Prior(concentration=11.0)).weights
    np.testing.assert_allclose(even, (150 * plain + 10) / 180, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(strength=-1.0), "prior.strength is -1"),
        (dict(scatter=np.eye(3)), "prior.scatter has shape"),
        (dict(scatter=np.full((4, 4), np.nan)), "prior.scatter contains NaN"),
        (dict(concentration=0.5), "prior.concentration is 0.5"),
        (dict(mean=np.zeros(3)), "prior.mean has shape"),
        (dict(mean_strength=1.0), "pass both the mean"),
        (dict(mean=np.ones(4)), "go together"),
        (dict(strength="a"), "prior.strength is 'a': pass numbers"),
        (dict(scatter=np.triu(np.ones((4, 4)))), "not symmetric"),
        (dict(scatter=-np.eye(4)), "negative variance"),
    ],
)
def test_bad_priors(arguments, words, iris):
    x = iris.astype(np.float32)
    mixture = jaxgmm.from_labels(x, np.zeros(150, int))
    with pytest.raises(ValueError, match=words):
        jaxgmm.fit(x, mixture, prior=Prior(**arguments))
    for prior in ("none", 3.0):
        with pytest.raises(ValueError, match="prior"):
            jaxgmm.fit(x, mixture, prior=prior)
