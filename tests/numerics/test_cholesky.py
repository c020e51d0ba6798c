"""Cholesky factors and their inverses by halves."""

import jax.numpy as jnp
import numpy as np

from jaxgmm.numerics import cholesky as module
from jaxgmm.numerics.cholesky import cholesky_and_inverse

RNG = np.random.default_rng(0)


def test_the_factors_by_halves_are_those_of_whole_matrices(x64, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_PART", 2)
    roots = RNG.normal(size=(3, 7, 9))
    matrices = roots @ np.swapaxes(roots, 1, 2)
    expected = np.linalg.cholesky(matrices)
    # The upper triangles are not read.
    found = cholesky_and_inverse(jnp.tril(matrices))
    for factor, exact in zip(found, (expected, np.linalg.inv(expected)), strict=True):
        np.testing.assert_allclose(factor, exact, rtol=1e-10, atol=1e-12)
    matrices[1, 5, 5] = -1
    finite = [
        np.isfinite(np.trace(factor, axis1=1, axis2=2)) for factor in cholesky_and_inverse(matrices)
    ]
    np.testing.assert_array_equal(finite, 2 * [[True, False, True]])
