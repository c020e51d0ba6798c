"""The smallest and the largest eigenvalue, against all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgmm.numerics.eigenvalues import Held
from jaxgmm.numerics.extreme_eigenvalues import largest_eigenvalue, smallest_eigenvalue

P = 70  # more than the products that are made
RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(P, P)))[0]


@jax.jit
def ends(matrix, held):
    inside = matrix + held.projector
    inverse = jnp.linalg.inv(inside) - held.projector
    positive = jnp.linalg.eigvalsh(inside)[0] > 0
    inverse = jnp.where(positive, inverse, jnp.nan)
    return smallest_eigenvalue(matrix, held, inverse), largest_eigenvalue(matrix, held, inverse)


@pytest.mark.parametrize("least", [0.01, -0.5])
def test_the_ends_of_a_spectrum(least, x64):
    """Of a positive definite matrix and of another, in the directions that are not held."""
    values = np.concatenate([[5.0, least], RNG.uniform(0.5, 1, P - 2)])
    matrix = jnp.asarray((BASIS * values) @ BASIS.T)
    held = Held(jnp.ones(P), jnp.asarray(BASIS[:, :1].T))  # the eigenvalue 5 is not counted
    smallest, largest = ends(matrix, held)
    np.testing.assert_allclose(smallest, least, rtol=1e-9)
    np.testing.assert_allclose(largest, values[2:].max(), rtol=1e-3)
    slope = jax.jvp(lambda t: ends((1 + t) * matrix, held)[0], (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slope, least, rtol=1e-9)
