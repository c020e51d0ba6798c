"""The laws of the family contract, each against dense linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from jaxgmm import FAMILIES
from jaxgmm.numerics.triangular import inverse, solve

K, D = 3, 4


def make(family, seed, d=D):
    _, means, covariances = reference.random_mixture(seed, K, d, family)
    kind = FAMILIES[family]
    return kind.from_own(kind.own(covariances), np), means, covariances


def whitening(covariance, d=D):
    """W as dense (k, d, d), column by column."""
    columns = [covariance.whiten(jnp.tile(e, (K, 1))) for e in np.eye(d)]
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("d", [3, 8, 9, 40])
def test_solving_with_factors(d, transposed, x64):
    rng = np.random.default_rng(d)
    factor = np.tril(rng.normal(size=(5, d, d))) / d + 2 * np.eye(d)
    vectors = rng.normal(size=(5, d))
    matrix = factor.transpose(0, 2, 1) if transposed else factor
    wanted = np.linalg.solve(matrix, vectors[..., None])[..., 0]
    found = solve(jnp.asarray(factor), jnp.asarray(vectors), transposed)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


def test_whitening_and_its_inverses(family, x64):
    covariance, means, dense = make(family, 0)
    w = whitening(covariance)
    identity = np.broadcast_to(np.eye(D), (K, D, D))
    np.testing.assert_allclose(w @ dense @ np.swapaxes(w, 1, 2), identity, atol=1e-12)
    np.testing.assert_allclose(covariance.unwhiten(covariance.whiten(means)), means, atol=1e-12)
    np.testing.assert_allclose(
        covariance.unwhiten_transposed(means),
        np.linalg.solve(np.swapaxes(w, 1, 2), means[..., None])[..., 0], rtol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(
        np.broadcast_to(covariance.log_determinant(D), K), np.linalg.slogdet(w)[1], rtol=1e-12
    )


def test_identity_and_shapes(family):
    kind = FAMILIES[family]
    unit = kind.identity(K, D, jnp.float32)
    np.testing.assert_array_equal(np.broadcast_to(unit.dense(D), (K, D, D))[1], np.eye(D))
    covariance, _, dense = make(family, 1)
    assert kind.own(dense).shape == kind.shape(K, D)
    np.testing.assert_allclose(kind.expand(kind.own(dense), K, D, np), dense)
    shapes = [leaf.shape for leaf in jax.tree.leaves(covariance)]
    assert shapes == [leaf.shape for leaf in jax.tree.leaves(unit)]


def test_compose_and_relative(family, x64):
    first, second = make(family, 2)[0], make(family, 3)[0]
    np.testing.assert_allclose(
        whitening(first.compose(second)), whitening(first) @ whitening(second), atol=1e-12
    )
    back = first.compose(second).relative_to(second)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(first), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_second_moments(family, x64):
    covariance, _, _ = make(family, 4)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, K, D))
    dense = a[:, :, None] * b[:, None, :]
    kept = covariance.pool(covariance.outer(a, b))
    w = whitening(covariance)
    total = np.einsum("kij,kjl,kil->", w, dense, w)
    np.testing.assert_allclose(np.sum(covariance.quadratic(kept)), total, rtol=1e-10)
    matrix = np.cov(rng.normal(size=(D, 9)))
    reduced = covariance.reduce(matrix)
    each = np.einsum("kij,jl,kil->k", w, matrix, w)
    np.testing.assert_allclose(np.broadcast_to(covariance.quadratic(reduced), K), each, rtol=1e-10)
    np.testing.assert_allclose(
        FAMILIES[family].identity(K, D, float).quadratic(covariance.whiten_second(reduced)),
        covariance.quadratic(reduced), rtol=1e-10,
    )  # fmt: skip


def test_maximize_is_the_likeliest_covariance(family, x64):
    """At the factor found, no nearby factor has a higher expected log-density; the divergence is
    what moving there from the identity gains."""
    kind = FAMILIES[family]
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(K, 12, D)) @ (np.eye(D) + 0.3 * rng.normal(size=(D, D)))
    identity = kind.identity(K, D, float)
    moment = sum(identity.outer(v, v) for v in np.swapaxes(vectors, 0, 1))
    moment, mass = identity.pool(moment), identity.pool(np.full(K, 12.0))
    found, divergence = kind.maximize(moment, mass, D)

    def gain(covariance):
        shown = 2 * mass * covariance.log_determinant(D) - covariance.quadratic(moment)
        return jnp.sum(shown) / 2

    slope = jax.jit(jax.grad(gain))(found)
    for leaf in jax.tree.leaves(slope):
        np.testing.assert_allclose(leaf, 0, atol=1e-9)
    np.testing.assert_allclose(
        jnp.sum(mass * divergence) / 2, gain(found) - gain(identity), rtol=1e-10
    )


def test_maximize_of_a_singular_moment_is_not_finite(family):
    kind = FAMILIES[family]
    identity = kind.identity(1, 2, jnp.float32)
    factor, _ = kind.maximize(jnp.zeros_like(identity.reduce(jnp.eye(2))), jnp.ones(1), 2)
    assert not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(factor))


def test_metric_is_the_fisher_information_at_the_identity(family, x64):
    """The Hessian of the expected log-density of standard normal rows, in the leaves."""
    kind = FAMILIES[family]
    identity = kind.identity(K, D, float)
    share = np.array([0.2, 0.3, 0.5])
    moment = identity.pool(share[:, None, None] * np.eye(D)) if family in ("full", "tied") else None
    if moment is None:
        moment = identity.pool(share[:, None] * identity.reduce(np.eye(D)))

    def loss(flat):
        covariance = unravel(flat)
        volume = identity.pool(share) * covariance.log_determinant(D)
        return jnp.sum(covariance.quadratic(moment) / 2 - volume)

    flat, unravel = jax.flatten_util.ravel_pytree(identity)
    hessian = jax.jit(jax.hessian(loss))(flat)
    metric, _ = jax.flatten_util.ravel_pytree(identity.metric(identity.pool(share), D))
    np.testing.assert_allclose(hessian, np.diag(metric**2), atol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_parameters_are_the_leaves(family, d):
    """A family has as many free parameters as its leaves have numbers."""
    unit = FAMILIES[family].identity(K, d, float)
    assert FAMILIES[family].n_parameters(K, d) == sum(leaf.size for leaf in jax.tree.leaves(unit))


@pytest.mark.parametrize("often", [True, False])
@pytest.mark.parametrize("d", [1, 8, 9, 16, 17, 33, 70])
def test_inverse_of_factors(d, often, x64):
    """By whichever way the size takes."""
    factors = np.tril(np.random.default_rng(d).normal(size=(3, d, d)), -1) / d + 2 * np.eye(d)
    found = np.asarray(inverse(jnp.asarray(factors), often))
    np.testing.assert_allclose(found, np.linalg.inv(factors), atol=1e-14)
    np.testing.assert_array_equal(found, np.tril(found))
