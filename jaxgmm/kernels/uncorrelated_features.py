"""Uncorrelated features: the conditional kernel in closed form, feature by feature."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ..data.columns import Block
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .protocol import Moments


class ClosedForm:
    """Diagonal covariances, with missing values and variances of noise.

    With the gain g = 1/(1 + s/σ²), which is 0 where a value is missing, m = g y and C = 1 − g.
    """

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self.numbers_per_row = 4 * mixture.means.size

    def log_joint_of(self, block: Block) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Return the log-joint (k, b), and m and C (k, d, b)."""
        mixture, frame = self.mixture, self.mixture.frame
        seen = ~jnp.isnan(block.x)
        exact = jnp.where(seen, block.x, 0)
        y = jnp.where(seen[None], frame.residuals(mixture.means, exact), 0)
        assert frame.log_scales is not None  # the covariances are diagonal
        scales = jnp.broadcast_to(frame.log_scales, mixture.means.shape)
        unseen = (~seen).astype(y.dtype)
        # A missing feature leaves out its factor of the density.
        joint = mixture.log_constants[:, None] + matmul(scales + math.log(2 * math.pi) / 2, unseen)
        if block.noise is None:
            rest = jnp.broadcast_to(unseen[None], y.shape)
            return joint - jnp.sum(y**2, axis=1) / 2, (y, rest)
        ratio = block.noise[None] * jnp.exp(-2 * scales)[..., None]
        gain = jnp.where(seen[None], 1 / (1 + ratio), 0)
        rest = jnp.where(seen[None], ratio / (1 + ratio), 1)
        squares = gain * y**2 + jnp.where(seen[None], jnp.log1p(ratio), 0)
        return joint - jnp.sum(squares, axis=1) / 2, (gain * y, rest)

    def sums(
        self,
        block: Block,
        intermediate: tuple[jax.Array, jax.Array],
        weighted_responsibilities: jax.Array,
    ) -> Moments:
        """Return a block's mass, shift and spread, for weighted responsibilities w r (k, b)."""
        mean, rest = intermediate
        weighted = weighted_responsibilities[:, None]
        second = jnp.sum(weighted * (mean**2 + rest), axis=-1)
        spread = self.mixture.frame.outer(second, jnp.ones_like(second))
        mass = jnp.sum(weighted_responsibilities, axis=-1)
        return mass, jnp.sum(weighted * mean, axis=-1), spread
