"""The double kernel: the natural kernel of a float32 mixture, with its products in float64.

What float32 loses where components are narrow and far from the center, float64 keeps. A block's
sums are moved to the components' means and whitened in float64, and rounded to float32 after that.
So no float64 array leaves a block, and the program around the blocks is a float32 program.
"""

from __future__ import annotations

import functools

import jax

from ..mixture.mixture import Mixture
from ..numerics.float64 import in_float64
from ..numerics.products import matmul
from .natural_low_rank import natural_kernel
from .protocol import Kernel, Moments
from .responsibilities import Rule, of_lane, of_lane_narrowed
from .whitened import Whitened


class Double:
    """The kernel of natural parameters times features, in float64 within each block.

    `lanes` is the number of mixtures that are evaluated at once under vmap.
    """

    fills_cores = False

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        self._single = natural_kernel(mixture, lanes)

    @property
    def numbers_per_row(self) -> int:
        """The count of float32 numbers that all lanes take for each row of a block."""
        return 2 * self._single.numbers_per_row

    @property
    def numbers_in_sums(self) -> int:
        """The count of float32 numbers that moving a block's sums takes, in all lanes."""
        return 4 * self._single.numbers_in_sums

    def log_joint(self, x: jax.Array) -> tuple[jax.Array, None]:
        """Return the log-joint (k, b) of a block.

        The features are not returned, because they are float64. `sums` states them again, and XLA
        computes them once.
        """
        exact = functools.partial(_natural_log_joint, self.lanes)
        return in_float64(exact, _whitened_log_joint, self.mixture, x), None

    def sums(self, x: jax.Array, _: None, weighted_responsibilities: jax.Array) -> Moments:
        """Return a block's mass, shift and spread, for weighted responsibilities w r (k, b)."""
        exact = functools.partial(_natural_moments, self.lanes)
        return in_float64(exact, _whitened_moments, self.mixture, x, weighted_responsibilities)

    def sums_of_lane(self, x: jax.Array, weight: jax.Array) -> tuple[Moments, jax.Array]:
        """Return a block's sums, and the sum of log p of its rows, for one of many lanes.

        In float64 as a whole, a batch of lanes has fewer conversions. Only the responsibilities are
        computed in float32, as they are outside of this method.
        """
        exact = functools.partial(_natural_sums, self.lanes)
        return in_float64(exact, _whitened_sums, self.mixture, x, weight)

    def statistics(self, sums: Moments) -> Moments:
        """Return mass, shift and spread, which are the sums."""
        return sums


def _natural_log_joint(lanes: int, mixture: Mixture, x: jax.Array) -> jax.Array:
    return natural_kernel(mixture, lanes).log_joint(x)[0]


def _natural_moments(lanes: int, mixture: Mixture, x: jax.Array, weighted: jax.Array) -> Moments:
    kernel = natural_kernel(mixture, lanes)
    return kernel.statistics(kernel.sums(x, kernel.log_joint(x)[1], weighted))


def _whitened_log_joint(mixture: Mixture, x: jax.Array) -> jax.Array:
    return Whitened(mixture).log_joint(x)[0]


def _whitened_moments(mixture: Mixture, x: jax.Array, weighted: jax.Array) -> Moments:
    kernel = Whitened(mixture)
    return kernel.statistics(kernel.sums(x, kernel.log_joint(x)[1], weighted))


def _natural_sums(
    lanes: int, mixture: Mixture, x: jax.Array, weight: jax.Array
) -> tuple[Moments, jax.Array]:
    return _sums_by_rule(natural_kernel(mixture, lanes), x, weight, of_lane_narrowed)


def _whitened_sums(mixture: Mixture, x: jax.Array, weight: jax.Array) -> tuple[Moments, jax.Array]:
    return _sums_by_rule(Whitened(mixture), x, weight, of_lane)


def _sums_by_rule(
    kernel: Kernel, x: jax.Array, weight: jax.Array, rule: Rule
) -> tuple[Moments, jax.Array]:
    joint, intermediate = kernel.log_joint(x)
    weighted, value = rule(joint, weight)
    return kernel.statistics(kernel.sums(x, intermediate, weighted)), matmul(weight, value)
