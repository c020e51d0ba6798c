"""Noise: the conditional kernel by sweeping the covariance of what was seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.columns import Block
from ..mixture.mixture import Mixture
from ..numerics.products import HIGHEST, matmul
from ..numerics.sweep_operator import sweep
from .protocol import Moments


class Intermediate(NamedTuple):
    """The scales D of what was seen, as (k, d, b), and the swept matrices (k, d + 1, d + 1, b)."""

    scale: jax.Array
    swept: jax.Array


class Swept:
    """Covariances T = Σ + S of what was seen, with the noise S, are inverted for each row.

    With u = T⁻¹ (x − μ), m = Lᵀu and C = I − LᵀT⁻¹L, where Σ = L Lᵀ. Hence

        Σ w r m = Lᵀ Σ w r u,    Σ w r (m mᵀ + C) = I Σ w r + Lᵀ [Σ w r (u uᵀ − T⁻¹)] L,

    so that only T is inverted for each row and component, and the rest is done once for all rows.
    The diagonal matrix D with D_jj² = 1/T_jj makes it a matrix of correlations R = D T D. A missing
    value has infinite noise, so that D_jj = 0, and it takes no part.
    """

    def __init__(self, mixture: Mixture, covariances: bool) -> None:
        self.mixture, self.covariances = mixture, covariances
        k, d = mixture.means.shape
        self.numbers_per_row = k * ((d + 1) ** 2 + 4 * d)

    def log_joint_of(self, block: Block) -> tuple[jax.Array, Intermediate]:
        """Return the log-joint (k, b), and what `sums` needs."""
        mixture, (k, d) = self.mixture, self.mixture.means.shape
        covariance = jnp.broadcast_to(mixture.frame.dense, (k, d, d))
        seen, x, noise = _with_rows_last(block)
        variance = jnp.diagonal(covariance, axis1=1, axis2=2)[..., None]
        between = covariance[..., None] * (1 - np.eye(d, dtype=variance.dtype))[None, ..., None]
        if noise is not None and self.covariances:
            own, shared = _split(noise, d)
            variance, between = variance + own[None], between + shared[None]
        elif noise is not None:
            variance = variance + noise[None]
        variance = jnp.where(seen[None], variance, jnp.inf)
        scale = jax.lax.rsqrt(variance)
        residual = scale * (x[None] - mixture.means[..., None])
        unit = np.eye(d, dtype=scale.dtype)[None, ..., None]
        correlation = unit + between * scale[:, :, None] * scale[:, None]
        top = jnp.concatenate([correlation, residual[:, :, None]], axis=2)
        bottom = jnp.pad(residual, ((0, 0), (0, 1), (0, 0)))[:, None]
        swept, logarithm = sweep(jnp.concatenate([top, bottom], axis=1), d)
        # The log-determinant of T, and the constants of what was seen.
        logarithms = jnp.where(seen[None], jnp.log(variance) + math.log(2 * math.pi), 0)
        half = (logarithm + jnp.sum(logarithms, axis=1) - swept[:, d, d]) / 2
        return mixture.log_weights[:, None] - half, Intermediate(scale, swept)

    def sums(
        self, block: Block, intermediate: Intermediate, weighted_responsibilities: jax.Array
    ) -> Moments:
        """Return a block's mass, shift and spread, for weighted responsibilities w r (k, b)."""
        frame, (k, d) = self.mixture.frame, self.mixture.means.shape
        scale, swept = intermediate
        solved = swept[:, :d, d]  # R⁻¹ D (x − μ)
        twice = 2 * np.eye(d, dtype=scale.dtype)[None, ..., None]
        middle = swept[:, :d, :d] - twice + solved[:, :, None] * solved[:, None]
        middle = middle * scale[:, :, None] * scale[:, None]
        total = lambda values: jnp.einsum(
            "kib,kb->ki", values, weighted_responsibilities, precision=HIGHEST
        )
        mass = jnp.sum(weighted_responsibilities, axis=-1)
        shift = frame.unwhiten_transposed(total(scale * solved))
        return mass, shift, frame.pull(mass, total(middle.reshape(k, d * d, -1)).reshape(k, d, d))


def _with_rows_last(block: Block) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Return which values were seen (d, b), the values with 0 for the others, and the noise.

    A block is the transpose of rows in memory, and XLA's CPU code would read it with a stride in
    every operation. A product with the identity matrix is stored with its rows last.
    """
    stored = lambda array: matmul(jnp.eye(len(array), dtype=array.dtype), array)
    seen = ~jnp.isnan(block.x)
    noise = None if block.noise is None else stored(block.noise)
    known = stored(seen.astype(block.x.dtype)) > 0.5
    return known, stored(jnp.where(seen, block.x, 0)), noise


def _split(noise: jax.Array, d: int) -> tuple[jax.Array, jax.Array]:
    """Return variances (d, b), and covariances (d, d, b) with 0 on the diagonal.

    The argument has the columns of `Block`: lower triangles, row by row.
    """
    at = lambda i, j: noise[i * (i + 1) // 2 + j]
    zero = jnp.zeros_like(noise[0])
    lines = [
        jnp.stack([zero if i == j else at(max(i, j), min(i, j)) for j in range(d)])
        for i in range(d)
    ]
    return jnp.stack([at(i, i) for i in range(d)]), jnp.stack(lines)
