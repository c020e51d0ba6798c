"""The whitened kernel: residuals in each component's own units, accurate for every mixture."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from .protocol import Moments


class Whitened:
    """The kernel of residuals y = W (x − μ) in each component's own units.

    `lanes` is the number of mixtures that are evaluated at once under vmap.
    """

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        self.frame = mixture.frame
        self.constants = mixture.log_constants

    @property
    def fills_cores(self) -> bool:
        """Whether a large block is mostly matrix products, those with the whitening factors."""
        return self.lanes == 1 and self.frame.whitens_by_products

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that all lanes store for each row of a block.

        These are the residuals and the weighted residuals.
        """
        return 2 * self.lanes * self.mixture.means.size

    @property
    def numbers_in_sums(self) -> int:
        """The approximate count of numbers in the sums of all lanes."""
        k, d = self.mixture.means.shape
        return self.lanes * (k + k * d + self.mixture.covariance.n_parameters(k, d))

    def log_joint(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the log-joint (k, b) of a block, and the residuals (k, d, b) for `sums`."""
        y = self.frame.residuals(self.mixture.means, x)
        return self.constants[:, None] - jnp.sum(y**2, axis=1) / 2, y

    def sums(self, x: jax.Array, y: jax.Array, weighted_responsibilities: jax.Array) -> Moments:
        """Return a block's terms of the sums, for weighted responsibilities w r (k, b)."""
        shift = jnp.sum(weighted_responsibilities[:, None] * y, axis=-1)
        mass = jnp.sum(weighted_responsibilities, axis=-1)
        return mass, shift, self.frame.cross(weighted_responsibilities, y)

    def statistics(self, sums: Moments) -> Moments:
        """Return mass, shift and spread from the sums over all blocks."""
        mass, shift, cross = sums
        return mass, shift, self.frame.spread(cross)
