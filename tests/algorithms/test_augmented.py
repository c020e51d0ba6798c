"""Riemannian optimization: a mean and a covariance as one matrix S of SPD(d + 1)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from scipy.special import logsumexp

import jaxgmm
from jaxgmm.algorithms.gradient import _transported
from jaxgmm.mixture.relative_coordinates import Augmented

RIEMANNIAN = jaxgmm.ALGORITHMS["riemannian"]


def augmented(mixture, corner=1.0):
    """The matrices S (k, d + 1, d + 1), with the corner first."""
    mu, sigma = np.asarray(mixture.means)[:, :, None], np.asarray(mixture.covariances)
    second = sigma + corner * mu @ mu.swapaxes(1, 2)
    return np.block([[np.full_like(mu[:, :1], corner), corner * mu.swapaxes(1, 2)],
                     [corner * mu, second]])  # fmt: skip


def log_likelihood(log_weights, s, x):
    """That of zero-mean Gaussians in d + 1 dimensions, as Hosseini & Sra define it (eq. 2.3)."""
    y = np.column_stack([np.ones(len(x)), x])
    distance = np.einsum("ni,kij,nj->nk", y, np.linalg.inv(s), y)
    constant = (x.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(s)[1]) / 2
    return logsumexp(log_weights + 0.5 - constant - distance / 2, axis=1).sum()


@pytest.fixture
def mixture(x64):
    return jaxgmm.Mixture.from_parameters(*reference.random_mixture(5, 3, 2, "full"))


def test_the_likelihood_is_greatest_where_the_corner_is_one(mixture):
    """At any means and covariances, with slope 0; and there it is the mixture's own."""
    x = np.random.default_rng(0).normal(size=(30, 2))
    at = lambda s: log_likelihood(np.asarray(mixture.log_weights), augmented(mixture, s), x)
    np.testing.assert_allclose(at(1.0), jaxgmm.log_likelihood(mixture, x), rtol=1e-12)
    assert at(1.0) > max(at(0.7), at(0.99), at(1.01), at(1.4))
    assert abs(at(1 + 1e-5) - at(1 - 1e-5)) / 2e-5 < 1e-6


def test_steps_are_a_retraction_in_the_invariant_metric(mixture):
    """S' = L T (L T)ᵀ with T triangular, whose corner stays 1; and |offset|² is the metric."""
    coordinates, (flat, unravel) = Augmented(), jax.flatten_util.ravel_pytree(mixture)
    offset = unravel(np.random.default_rng(1).normal(size=flat.size))
    offset = jaxgmm.Mixture(0 * offset.logits, offset.means, offset.covariance)
    place = lambda size: coordinates.place(
        mixture, coordinates.local(mixture, jax.tree.map(lambda leaf: size * leaf, offset))
    )
    start, moved = augmented(mixture), place(0.3)
    left, factor = (np.linalg.cholesky(s) for s in (start, augmented(moved)))
    factor = np.linalg.solve(left, factor)
    np.testing.assert_allclose(factor[:, 0, 0], 1, rtol=1e-12)
    np.testing.assert_allclose(factor[:, 1:, 0], 0.3 * offset.means, rtol=1e-10)
    size = 1e-5
    tangent = (augmented(place(size)) - augmented(place(-size))) / (2 * size)
    whitened = np.linalg.solve(start, tangent)
    length = np.einsum("kij,kji->", whitened, whitened) / 2
    np.testing.assert_allclose(sum((leaf**2).sum() for leaf in jax.tree.leaves(offset)), length)


def test_a_moving_origin_changes_nothing_in_flat_space(x64):
    """L-BFGS keeps its memory: the steps are those with the origin left where it was."""
    rng = np.random.default_rng(0)
    root, to = rng.normal(size=(5, 5)), jnp.asarray(rng.normal(size=5))
    slope = lambda x: jnp.asarray(root @ root.T + np.eye(5)) @ (x - to)
    tx = optax.chain(optax.scale_by_lbfgs(3), optax.scale(-0.5))
    fixed = origin = jnp.zeros(5)
    still, moving = tx.init(fixed), tx.init(fixed)
    for _ in range(5):
        step, still = tx.update(slope(fixed), still, fixed)
        fixed = fixed + step
        step, moving = tx.update(slope(origin), moving, jnp.zeros(5))
        origin, moving = origin + step, _transported(moving, step)
        np.testing.assert_allclose(origin, fixed, rtol=1e-10)


def test_ends_where_em_ends_whatever_the_units(iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    em = jaxgmm.fit(iris, start, tolerance=1e-10)
    found = jaxgmm.fit(iris, start, RIEMANNIAN, tolerance=1e-10)
    assert em.converged and found.converged
    assert abs(float(found.objective - em.objective)) < 1e-6 * len(iris)
    recomputed = jaxgmm.log_likelihood(found.mixture, iris)
    np.testing.assert_allclose(found.log_likelihood, recomputed, rtol=1e-11)

    matrix = np.tril(np.random.default_rng(0).normal(size=(4, 4))) + 3 * np.eye(4)
    mapped = jaxgmm.Mixture.from_parameters(
        start.weights, start.means @ matrix.T, matrix @ start.covariances @ matrix.T
    )
    other = jaxgmm.fit(iris @ matrix.T, mapped, RIEMANNIAN, tolerance=1e-10)
    rise, expected = (np.asarray(fit.history[:12] - fit.history[0]) for fit in (other, found))
    np.testing.assert_allclose(rise, expected, atol=1e-5)
    assert found.steps > 12


@pytest.mark.parametrize("family", ["tied", "diagonal"])
def test_other_families_are_refused(family, iris):
    x = iris.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 2, family=family)
    with pytest.raises(ValueError, match=f"family '{family}' does not have one per component"):
        jaxgmm.fit(x, start, RIEMANNIAN)
