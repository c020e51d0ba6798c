"""The mixture of measured rows: with noise that all rows share, a pass is one of another mixture.

Let all rows have noise of one covariance S. Measured rows are then exact rows of the mixture with
covariances T = Σ + S, by which every kernel can compute a pass. Its residuals are t = V (x − μ)
with T⁻¹ = VᵀV. Given x, the complete row v = μ + L y has E y = A t and Cov y = I − A Aᵀ, where
A = LᵀVᵀ. The statistics, which are expectations where values are missing, thus become

    Σ w r m = A Σ w r t,    Σ w r (m mᵀ + C) = I Σ w r + A [Σ w r t tᵀ − I Σ w r] Aᵀ.

With S = 0, this turns the statistics of full covariances into those of a layout that has no
conditional kernel of its own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..algebra.covariance_factors import log_whitening, of_covariances, triangular_whitening
from ..data.columns import Columns
from ..families.dense_layout import Dense
from ..families.diagonal import Diagonal
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from .conditional_moments import noise_matrix
from .protocol import Moments


def measured(mixture: Mixture, columns: Columns | None, noise: jax.Array | None) -> Mixture:
    """Return the mixture by which a pass over rows is computed.

    Args:
      mixture: the mixture of complete rows.
      columns: what is known of the rows, or None.
      noise: the columns of the noise that all rows share, or None.
    """
    partial = columns is not None and columns.partial
    if noise is None and not partial:
        return mixture
    frame, d = mixture.frame, mixture.n_features
    if noise is not None and frame.uncorrelated and len(noise) == d:
        log_diagonal = log_whitening(mixture)
        ratio = noise[None] * jnp.exp(2 * log_diagonal)
        wider = jnp.broadcast_to(log_diagonal - jnp.log1p(ratio) / 2, mixture.means.shape)
        return Mixture(mixture.logits, mixture.means, Diagonal(wider))
    if noise is None and (frame.uncorrelated or isinstance(frame, Dense)):
        return mixture
    covariance = frame.dense
    if noise is not None:
        covariance = covariance + noise_matrix(noise, d)[None]
    return Mixture(mixture.logits, mixture.means, of_covariances(covariance, frame.shared))


def complete_moments(mixture: Mixture, near: Mixture, moments: Moments) -> Moments:
    """Return mass, shift and spread of complete rows, from those at `near`, their `measured`."""
    if near is mixture:
        return moments
    mass, shift, spread = moments
    factor = triangular_whitening(near)
    unit = jnp.eye(mixture.n_features, dtype=shift.dtype)[None]
    excess = spread[..., None] * unit if spread.ndim == 2 else spread
    excess = excess - near.frame.pool(mass)[:, None, None] * unit
    back = transpose(factor)
    pulled = mixture.frame.pull(mass, matmul(matmul(back, excess), factor))
    shift = mixture.frame.unwhiten_transposed(matmul(back, shift[..., None])[..., 0])
    return mass, shift, pulled
