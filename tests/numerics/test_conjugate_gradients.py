"""Conjugate gradients against a direct solution."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgmm.numerics.conjugate_gradients import conjugate_gradients

P = 30
RANDOM = np.random.default_rng(0)
ROOT = RANDOM.normal(size=(P, P))
MATRIX, VECTOR = ROOT @ ROOT.T + np.eye(P), RANDOM.normal(size=P)


@jax.jit
def solve(matrix, vector):
    return conjugate_gradients(lambda v: matrix @ v, vector)


def test_solution_and_derivatives(x64):
    np.testing.assert_allclose(solve(MATRIX, VECTOR), np.linalg.solve(MATRIX, VECTOR), rtol=1e-8)
    inverse = np.linalg.inv(MATRIX)
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jacobian(solve, 1)(MATRIX, VECTOR), inverse, atol=1e-9)
    by_scale = jax.jacfwd(lambda c: solve(c * MATRIX, VECTOR))(1.0)
    np.testing.assert_allclose(by_scale, -inverse @ VECTOR, rtol=1e-8)


def test_maps_that_are_not_positive_definite(x64):
    """An indefinite map has no solution here; a singular one has, for vectors in its range."""
    sign = np.where(np.arange(P) == 3, -1.0, 1)
    assert np.isnan(solve(np.diag(sign), VECTOR)).all()
    flat = np.diag(np.maximum(sign, 0))
    expected = np.where(sign > 0, VECTOR, 0)
    np.testing.assert_allclose(solve(flat, flat @ VECTOR), expected, rtol=1e-9)
    assert np.all(np.asarray(solve(MATRIX, np.zeros(P))) == 0)
    assert np.isnan(solve(MATRIX, np.full(P, np.nan))).all()
    assert solve(MATRIX.astype("f"), VECTOR.astype("f")).dtype == jnp.float32
