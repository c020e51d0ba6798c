"""Products with lower-triangular matrices by panels."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgmm.numerics import panels

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("d", [5, 8, 11])  # panels of unequal and of equal size, and five of them
def test_panels_have_the_products_of_whole_matrices(d, monkeypatch):
    monkeypatch.setattr(panels, "LEAST_ROWS", 2)
    factor, y, x = RNG.normal(size=(3, d, d)), RNG.normal(size=(3, d, 6)), RNG.normal(size=(d, 6))
    factor, y, x = jnp.tril(factor), jnp.asarray(y), jnp.asarray(x)
    np.testing.assert_allclose(panels.times_columns(factor, x), factor @ x, atol=1e-5)
    found = jnp.tril(panels.join(panels.lower_products(y, x)))
    np.testing.assert_allclose(found, jnp.tril(y @ x.T), atol=1e-5)
