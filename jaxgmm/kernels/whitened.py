"""The whitened kernel: residuals in each component's own units, accurate for every mixture."""

from __future__ import annotations

import jax.numpy as jnp

from ..mixture.mixture import Mixture


class Whitened:
    """Residuals in each component's own units.

    `lanes` is how many mixtures take the pass side by side (under vmap)."""

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        self.constants = mixture.log_constants

    @property
    def held(self) -> int:
        """How many numbers all lanes hold for each row: residuals, plain and weighted."""
        return 2 * self.lanes * self.mixture.means.size

    @property
    def summed(self) -> int:
        """How many numbers the sums of all lanes are, about."""
        k, d = self.mixture.means.shape
        return self.lanes * (k + k * d + self.mixture.covariance.n_parameters(k, d))

    def log_joint(self, x):
        """(k, b), and what `sums` needs of the block."""
        y = self.mixture.frame.residuals(self.mixture.means, x)
        return self.constants[:, None] - jnp.sum(y**2, axis=1) / 2, y

    def sums(self, x, y, share):
        """What to add up over blocks, for shares w r (k, b)."""
        shift = jnp.sum(share[:, None] * y, axis=-1)
        return jnp.sum(share, axis=-1), shift, self.mixture.frame.cross(share, y, x)

    def statistics(self, sums):
        """Mass, shift and spread from the sums over all blocks."""
        mass, shift, cross = sums
        return mass, shift, self.mixture.frame.spread(cross, shift, self.mixture.means)
