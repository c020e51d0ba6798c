"""The inverse Cholesky factor by halves."""

import jax.numpy as jnp
import numpy as np

from jaxgmm.numerics import inverse_root as module
from jaxgmm.numerics.inverse_root import inverse_root

RNG = np.random.default_rng(0)


def test_the_inverse_factor_is_that_of_the_whole_matrix(x64, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_PART", 2)
    root = RNG.normal(size=(7, 9))
    matrix = root @ root.T
    expected = np.linalg.inv(np.linalg.cholesky(matrix))
    np.testing.assert_allclose(inverse_root(jnp.asarray(matrix)), expected, rtol=1e-10, atol=1e-12)
    matrix[5, 5] = -1
    assert not np.isfinite(np.trace(inverse_root(jnp.asarray(matrix))))
