"""The whitened kernel of uncorrelated features on CPUs, which keeps no residuals.

An array of all residuals (k, d, b) leaves the caches. So the log-joint adds up their squares one
feature at a time, and the sums compute them anew for one component at a time, or for a few where
features are few.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .protocol import Kernel, Moments
from .whitened import Whitened

# So many bytes of residuals are computed at once, or those of one component if they are more. With
# four times as many, passes take up to twice as long.
TILE_BYTES = 1 << 15
# The fewest entries k d of the means. With fewer, a pass takes up to 1.7 times as long without
# tiles, and its program 0.2 s less to compile.
LEAST_ENTRIES = 128


class WhitenedTiles:
    """The kernel of residuals y = W (x − μ) of uncorrelated features, in tiles.

    `lanes` is the number of mixtures that are evaluated at once under vmap.
    """

    fills_cores = False

    def __init__(self, mixture: Mixture, lanes: int = 1) -> None:
        log_scales = mixture.frame.log_scales
        assert log_scales is not None  # the covariances are diagonal
        self.mixture = mixture
        self.lanes = lanes
        self.scales = jnp.broadcast_to(jnp.exp(-log_scales), mixture.means.shape)

    @property
    def numbers_per_row(self) -> int:
        """The approximate count of numbers that all lanes store for each row of a block."""
        k, d = self.mixture.means.shape
        return 4 * self.lanes * (k + d)

    @property
    def numbers_in_sums(self) -> int:
        """The approximate count of numbers in the sums of all lanes."""
        return Whitened(self.mixture, self.lanes).numbers_in_sums

    def log_joint(self, x: jax.Array) -> tuple[jax.Array, None]:
        """Return the log-joint (k, b) of a block, and nothing for `sums`."""
        shape = self.mixture.n_components, x.shape[1]

        def add(squares: jax.Array, feature: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            x, mean, scale = feature
            return squares + (scale[:, None] * (x[None] - mean[:, None])) ** 2, None

        features = x, self.mixture.means.T, self.scales.T
        squares = jnp.zeros(shape, x.dtype)
        squares, _ = jax.lax.scan(add, squares, features)
        return self.mixture.log_constants[:, None] - squares / 2, None

    def sums(self, x: jax.Array, _: None, weighted_responsibilities: jax.Array) -> Moments:
        """Return a block's mass, shift and spread, for weighted responsibilities w r (k, b)."""

        def of_component(component: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            mean, scale, weighted = component
            y = scale[:, None] * (x - mean[:, None])
            # XLA's CPU code makes reductions over the rows several times as slow as products.
            return matmul(y, weighted), matmul(y**2, weighted)

        components = self.mixture.means, self.scales, weighted_responsibilities
        at_once = max(TILE_BYTES // (self.lanes * x.nbytes), 1)
        shift, squares = jax.lax.map(of_component, components, batch_size=at_once)
        mass = jnp.sum(weighted_responsibilities, axis=-1)
        return mass, shift, self.mixture.frame.outer(squares, jnp.ones_like(squares))

    def statistics(self, sums: Moments) -> Moments:
        """Return mass, shift and spread, which are the sums."""
        return sums


def whitened_kernel(mixture: Mixture, lanes: int = 1) -> Kernel:
    """Return the whitened kernel of a mixture, of which `lanes` are evaluated at once."""
    many = mixture.means.size >= LEAST_ENTRIES
    tiles = many and mixture.frame.uncorrelated and jax.default_backend() == "cpu"
    return (WhitenedTiles if tiles else Whitened)(mixture, lanes)
