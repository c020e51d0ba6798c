"""The natural kernel, and the bound on its rounding error.

Its log-joint is one matrix product of parameters with features of the rows that all components
share.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .protocol import Moments

# The largest `rounding` at which the natural kernel is used.
SAFE_ROUNDING = {"float32": 3e-5, "float64": 3e-11}


class Natural:
    """The kernel of natural parameters times features, which are the same for every mixture.

    `lanes` is the number of mixtures that are evaluated at once under vmap.
    """

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        # A finite constant for absent components, whose exponential is 0. Products with −∞ itself
        # would be NaN.
        lowest = jnp.finfo(mixture.dtype).min / 4
        self.parameters = mixture.frame.natural(
            mixture.means, jnp.where(mixture.present, mixture.log_constants, lowest)
        )

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that all lanes store for each row of a block."""
        k, features = self.parameters.shape
        return self.lanes * k + features

    @property
    def numbers_in_sums(self) -> int:
        """The count of numbers in the sums of all lanes."""
        return self.lanes * self.parameters.size

    @property
    def sums_are_transposed(self) -> bool:
        """Whether the sums have shape (f, k) instead of (k, f).

        A matrix product repacks its second factor, which should therefore be the smaller one.
        """
        k, features = self.parameters.shape
        return self.lanes * k < features

    def log_joint(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the log-joint (k, b) of a block, and its features (f, b), which `sums` needs."""
        features = self.mixture.frame.features(x)
        return matmul(self.parameters, features), features

    def sums(
        self, x: jax.Array, features: jax.Array, weighted_responsibilities: jax.Array
    ) -> jax.Array:
        """Return a block's terms of the sums, for weighted responsibilities w r (k, b)."""
        if self.sums_are_transposed:
            return matmul(features, weighted_responsibilities.T)
        return matmul(weighted_responsibilities, features.T)

    def statistics(self, sums: jax.Array) -> Moments:
        """Return mass, shift and spread from the sums over all blocks.

        The raw moments are moved to each component's mean and whitened.
        """
        sums = sums.T if self.sums_are_transposed else sums
        return self.mixture.frame.statistics(sums, self.mixture.means)


def rounding(mixture: Mixture) -> jax.Array:
    """Return a practical bound () on the natural kernel's rounding error.

    It bounds the error of an entry of a component's second moments, in units of its present
    covariance. In trials over dimensions, widths and shapes the actual error was about a fifth of
    it, and seldom more than all of it, with rows in random order. It can be 20 times as large where
    a block begins with the few rows of a component and continues with many rows that hardly belong
    to it: the terms of the latter are lost in the component's sums. The error of a single
    log-density, in nats, was up to 3 times the bound at 16 features, and up to 9 times at 128.
    """
    growth = jnp.where(mixture.present, mixture.frame.amplification(mixture.means), 0)
    return 2 * jnp.finfo(mixture.dtype).eps * jnp.max(growth)


def natural_is_safe(mixture: Mixture) -> jax.Array:
    """Return whether the natural kernel's `rounding` at this mixture is at most SAFE_ROUNDING."""
    return rounding(mixture) <= SAFE_ROUNDING[str(mixture.dtype)]
