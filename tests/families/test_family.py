"""The laws of the family contract, each against dense linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from jaxgmm import FAMILIES
from jaxgmm.families.registry import family_name
from jaxgmm.numerics.triangular import inverse, solve

K, D = 3, 4


def make(family, seed, d=D):
    _, means, covariances = reference.random_mixture(seed, K, d, family)
    kind = FAMILIES[family]
    return kind.from_own(kind.own(covariances), np), means, covariances


def whitening(covariance, d=D):
    """W as dense (k, d, d), column by column."""
    columns = [covariance.frame(d).whiten(jnp.tile(e, (K, 1))) for e in np.eye(d)]
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


def test_identity_and_shapes(family):
    kind = FAMILIES[family]
    unit = kind.identity(K, D, jnp.float32)
    np.testing.assert_array_equal(np.broadcast_to(unit.frame(D).dense, (K, D, D))[1], np.eye(D))
    covariance, _, dense = make(family, 1)
    assert kind.own(dense).shape == kind.array_shape(K, D)
    np.testing.assert_allclose(kind.expand(kind.own(dense), K, D, np), dense)
    shapes = [leaf.shape for leaf in jax.tree.leaves(covariance)]
    assert shapes == [leaf.shape for leaf in jax.tree.leaves(unit)]


def test_locals(family, x64):
    """`moved` multiplies factors, `between` undoes it, and `combine` is one move after another."""
    base, local, next_local = make(family, 2)[0], make(family, 3)[0], make(family, 5)[0]
    moved = base.moved(local)
    np.testing.assert_allclose(whitening(moved), whitening(local) @ whitening(base), atol=1e-12)
    same = lambda found, expected: jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), found, expected
    )
    same(base.between(moved), local)
    same(base.moved(base.combine(local, next_local)), moved.moved(next_local))
    same(base.moved(base.zero_local()), base)


def test_taken_components(family):
    """A leaf that components share stays as it is."""
    covariance, _, dense = make(family, 7)
    taken = covariance.select(np.array([2, 0, 0])).frame(D).dense
    expected = dense if len(taken) == 1 else dense[np.array([2, 0, 0])]
    np.testing.assert_allclose(taken, expected[: len(taken)], rtol=1e-4)
    assert (
        jax.tree.leaves(covariance.select(np.array([1, 1, 1])))[0].shape
        == jax.tree.leaves(covariance)[0].shape
    )


def test_second_moments(family, x64):
    frame = make(family, 4)[0].frame(D)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, K, D))
    outer = np.asarray(frame.outer(a, b))
    dense = (a[:, :, None] * b[:, None, :] + b[:, :, None] * a[:, None, :]) / 2
    dense = dense if len(outer) == K else dense.sum(axis=0)[None]
    expected = {"diagonal": a * b, "spherical": np.sum(a * b, axis=1)[:, None]}
    np.testing.assert_allclose(outer, expected.get(family, dense), atol=1e-14)
    np.testing.assert_allclose(frame.trace(outer), np.trace(dense, axis1=1, axis2=2))
    matrix = np.cov(rng.normal(size=(D, 9)))
    w = whitening(make(family, 4)[0])
    each = np.einsum("kij,jl,kil->k", w, matrix, w)
    np.testing.assert_allclose(np.broadcast_to(frame.quadratic(matrix), K), each, rtol=1e-10)
    np.testing.assert_allclose(
        frame.trace(frame.whiten_second(matrix)), frame.quadratic(matrix), rtol=1e-10
    )
    moments = frame.whiten_second(matrix)
    if moments.ndim == 3:
        largest = np.linalg.eigvalsh(moments).max(axis=1)
        np.testing.assert_allclose(frame.largest(matrix), largest, rtol=0.05)
    else:
        per_feature = np.asarray(moments) / (D // moments.shape[1])
        np.testing.assert_allclose(frame.largest(matrix), per_feature.max(axis=1))


def test_expected_density_under_other_factors(family, x64):
    """N log|W'| − ½ tr Σ'⁻¹ M for moments M in the residual units of a layout."""
    at, new = make(family, 8)[0].frame(D), make(family, 9)[0].frame(D)
    v = np.random.default_rng(3).normal(size=(6, K, D))
    moments, mass = sum(at.outer(y, y) for y in v), np.asarray(at.pool(np.full(K, 6.0)))
    rows = [np.asarray(new.whiten(at.unwhiten(y))) for y in v]  # each component's own rows
    square = np.asarray(at.pool(sum(np.sum(y**2, axis=1) for y in rows)))
    expected = mass * np.asarray(new.log_determinant) - square / 2
    np.testing.assert_allclose(at.expected(new, moments, mass), expected, rtol=1e-10)


def test_maximize_of_a_singular_moment_is_not_finite(family):
    identity = FAMILIES[family].identity(1, 2, jnp.float32)
    local, _ = identity.maximize(0 * identity.frame(2).whiten_second(jnp.eye(2)), jnp.ones(1), 2)
    assert not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(local))


def test_metric_is_the_fisher_information_at_the_identity(family, x64):
    """The Hessian of the expected log-density of standard normal rows, in the locals."""
    identity = FAMILIES[family].identity(K, D, float)
    frame, share = identity.frame(D), np.array([0.2, 0.3, 0.5])
    moments = sum(frame.outer(share[:, None] * e, e) for e in np.eye(D)[:, None] * np.ones((K, 1)))

    def loss(flat):
        new = identity.moved(unravel(flat)).frame(D)
        return -jnp.sum(frame.expected(new, moments, frame.pool(share)))

    flat, unravel = jax.flatten_util.ravel_pytree(identity.zero_local())
    hessian = jax.jit(jax.hessian(loss))(flat)
    metric, _ = jax.flatten_util.ravel_pytree(identity.metric(frame.pool(share), D))
    np.testing.assert_allclose(hessian, np.diag(metric**2), atol=1e-12)


@pytest.mark.parametrize("often", [True, False])
@pytest.mark.parametrize("d", [1, 8, 9, 16, 17, 33, 70])
def test_inverse_of_factors(d, often, x64):
    """By whichever way the size takes."""
    factors = np.tril(np.random.default_rng(d).normal(size=(3, d, d)), -1) / d + 2 * np.eye(d)
    found = np.asarray(inverse(jnp.asarray(factors), often))
    np.testing.assert_allclose(found, np.linalg.inv(factors), atol=1e-14)
    np.testing.assert_array_equal(found, np.tril(found))


def test_a_family_without_a_name():
    """A class that is not in the table says what to do."""

    class Unnamed(FAMILIES["full"]):
        pass

    with pytest.raises(ValueError, match=r"Unnamed is not in jaxgmm\.FAMILIES: add it"):
        family_name(Unnamed)
