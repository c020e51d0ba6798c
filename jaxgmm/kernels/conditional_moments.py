"""Complete rows given what was seen of them, for each component: their means and covariances.

These are values for each row, which are computed once and not in every pass. They are therefore
computed plainly, by LAPACK, for covariances of every family.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.products import matmul
from ..numerics.triangular import symmetric, transpose


def noise_matrix(noise: jax.Array, d: int) -> jax.Array:
    """Return the covariance (d, d) of one row's noise, from its columns in `Block`."""
    if len(noise) == d:
        return jnp.diag(noise)
    place = np.zeros((d, d), np.int32)
    rows, columns = np.tril_indices(d)
    place[rows, columns] = place[columns, rows] = np.arange(len(rows))
    return noise[place]


def complete_row(
    mixture: Mixture, x: jax.Array, noise: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return means (k, d) and covariances (k, d, d) of a complete row, given what was seen of it.

    With the gain K = Σ T⁻¹ and T the covariance of what was seen, the mean is μ + K (x − μ) and the
    covariance Σ − K Σ. Exact values have themselves as mean, and variance 0.

    Args:
      mixture: the mixture.
      x: (d,) the row, with NaN for missing values.
      noise: the row's noise as columns of `Block`, or None.
    """
    k, d = mixture.means.shape
    covariance = jnp.broadcast_to(mixture.frame.dense, (k, d, d))
    seen = ~jnp.isnan(x)
    known = seen.astype(covariance.dtype)
    spread = None if noise is None else noise_matrix(noise, d)
    whole = covariance if spread is None else covariance + spread[None]
    both = known[:, None] * known[None, :]
    observed = whole * both[None] + jnp.diag(1 - known)[None]
    root = lapack.inverse(lapack.cholesky(observed))
    precision = matmul(transpose(root), root) * both[None]
    gain = matmul(covariance, precision)
    residual = jnp.where(seen[None], jnp.where(seen, x, 0)[None] - mixture.means, 0)
    mean = mixture.means + matmul(gain, residual[..., None])[..., 0]
    rest = symmetric(covariance - matmul(gain, covariance))
    exact = seen if spread is None else seen & (jnp.diagonal(spread) == 0)
    hidden = exact[:, None] | exact[None, :]
    return jnp.where(exact[None], x[None], mean), jnp.where(hidden[None], 0, rest)


def fill_block(mixture: Mixture, x: jax.Array) -> jax.Array:
    """Return rows x (d, b) with missing values replaced by their means under one Gaussian."""
    fill = lambda row: complete_row(mixture, row, None)[0][0]
    return jnp.where(jnp.isnan(x), jax.vmap(fill)(x.T).T, x)
