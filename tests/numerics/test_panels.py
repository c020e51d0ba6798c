"""Products with lower-triangular matrices by panels."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgmm.numerics import panels

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("d", [5, 8, 11])  # panels of unequal and of equal size, and five of them
def test_panels_have_the_products_of_whole_matrices(d, monkeypatch):
    monkeypatch.setattr(panels, "LEAST_ROWS", 2)
    factor, x = jnp.tril(RNG.normal(size=(3, d, d))), jnp.asarray(RNG.normal(size=(d, 6)))
    np.testing.assert_allclose(panels.times_columns(factor, x), factor @ x, atol=1e-5)
    y, z = jnp.asarray(RNG.normal(size=(2, 3, d, 6)))
    found = jnp.tril(panels.join(panels.lower_products(y, z)))
    np.testing.assert_allclose(found, jnp.tril(y @ z.transpose(0, 2, 1)), atol=1e-5)
