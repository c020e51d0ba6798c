"""The natural kernel: one product with features that all components share, and the bound on its
rounding error."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..numerics.products import matmul

# What `rounding` may be where the natural kernel is taken.
SAFE_ROUNDING = {"float32": 3e-5, "float64": 3e-11}


class Natural:
    """Natural parameters times features; the features are the same for every mixture.

    `lanes` is how many mixtures take the pass side by side (under vmap)."""

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        # Of absent components exp leaves 0; −∞ itself would turn products into NaN.
        lowest = jnp.finfo(mixture.dtype).min / 4
        self.parameters = mixture.frame.natural(
            mixture.means, jnp.where(mixture.present, mixture.log_constants, lowest)
        )

    @property
    def held(self) -> int:
        """How many numbers all lanes hold for each row."""
        k, features = self.parameters.shape
        return self.lanes * k + features

    @property
    def summed(self) -> int:
        """How many numbers the sums of all lanes are."""
        return self.lanes * self.parameters.size

    @property
    def tall(self) -> bool:
        """Whether the sums are (f, k): a matrix product repacks its second factor, which had better
        be the smaller one."""
        k, features = self.parameters.shape
        return self.lanes * k < features

    def log_joint(self, x):
        """(k, b), and what `sums` needs of the block."""
        features = self.mixture.frame.features(x)
        return matmul(self.parameters, features), features

    def sums(self, x, features, share):
        """What to add up over blocks, for shares w r (k, b)."""
        return matmul(features, share.T) if self.tall else matmul(share, features.T)

    def statistics(self, sums):
        """Mass, shift and spread: raw moments, moved to each component's mean and whitened."""
        sums = sums.T if self.tall else sums
        return self.mixture.frame.statistics(sums, self.mixture.means)


def rounding(mixture: Mixture) -> jax.Array:
    """What rounding by the natural kernel may change a log-density by, in nats, or an entry of a
    component's second moments, in units of its present covariance. Trials over dimensions, widths
    and shapes found a fifth of it, and seldom more than all of it, with rows in random order. Where
    a block begins with a component's few rows and goes on with many that hardly belong to it, what
    these add is lost in its sums: up to 20 times as much."""
    growth = jnp.where(mixture.present, mixture.frame.amplification(mixture.means), 0)
    return 2 * jnp.finfo(mixture.dtype).eps * jnp.max(growth)


def natural_is_safe(mixture: Mixture) -> jax.Array:
    """Whether the natural kernel keeps its rounding under SAFE_ROUNDING at this mixture."""
    return rounding(mixture) <= SAFE_ROUNDING[str(mixture.dtype)]
