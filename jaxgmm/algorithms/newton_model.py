"""The quadratic model of the objective about a mixture, and what it costs in passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..kernels.row_statistics import RowStatistics
from ..mixture.mixture import Mixture
from ..numerics.eigenvalues import project
from ..numerics.products import matmul
from ..objective.curvature import complete_information, free_directions, orthonormal, slope_of
from ..objective.expected_derivatives import offsets_of
from ..objective.information import information
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from ..objective.statistics import statistics as statistics_of_rows
from .protocol import Pass

# Up to this many statistics of a row, the Hessian is computed as a matrix.
MOST_STATISTICS = 200
# The time of the matrix in passes is 1 + s/6 for s statistics of a row, and that of a product is 2.
STATISTICS_PER_PASS = 6
PASSES_PER_PRODUCT = 2


def uses_matrix(mixture: Mixture, take_pass: Pass) -> bool:
    """Return whether Newton's method computes the Hessian as a matrix, rather than its products.

    It does for up to `MOST_STATISTICS` statistics of a row, which is the number of parameters
    (except for a low-rank family, where it is that of full covariances). Rows that are not fully
    observed have no information in one pass, so their Hessian is always used by its products.
    """
    return take_pass.rows.columns is None and _n_statistics(mixture) <= MOST_STATISTICS


def passes_of_matrix(mixture: Mixture) -> int:
    """Return the price of the Hessian as a matrix, in passes.

    It reads the rows once, but takes the time of more passes: 4 for K = 3 and d = 2 (s = 18
    statistics of a row), 13 to 23 for K = 3 and d = 8 (s = 135), 98 for K = 4 and d = 16 (s = 612),
    on a CPU. The price is 1 + s/6, rounded up.
    """
    return 1 + math.ceil(_n_statistics(mixture) / STATISTICS_PER_PASS)


def _n_statistics(mixture: Mixture) -> int:
    """Return the number of statistics of one row that the information needs."""
    if mixture.frame.keeps_all_moments:
        return RowStatistics(mixture, 1).size
    k, d = mixture.n_components, mixture.n_features
    return k * (1 + d + d * (d + 1) // 2)


class EMCoordinates(NamedTuple):
    """Relative coordinates about a mixture, scaled so that EM's metric there is the identity.

    A position (p,) is an offset times the square root of the complete-data information. EM's step
    near a fixed point is then the gradient. Directions that do not change the mixture are left out.

    Attributes:
      base: the mixture at position 0.
      prior: the prior of the objective.
      total: () the sum of the row weights.
      scale: (p,) the numbers by which offsets are multiplied.
      free: (p,) 1 for parameters that are used, and 0 for others.
      fixed: (g, p) orthonormal directions that do not change the mixture.
    """

    base: Mixture
    prior: Prior | None
    total: jax.Array
    scale: jax.Array
    free: jax.Array
    fixed: jax.Array

    @classmethod
    def about(cls, mixture: Mixture, sums: Statistics, prior: Prior | None) -> EMCoordinates:
        """Return the coordinates about a mixture with these statistics."""
        free, shift = free_directions(mixture)
        scale = complete_information(mixture, sums, prior) ** 0.5
        fixed = orthonormal(shift * scale[None])
        return cls(mixture, prior, jnp.sum(sums.mass), scale, free, fixed)

    def mixture_at(self, position: jax.Array) -> Mixture:
        """Return the mixture at a position."""
        return offsets_of(self.base)[1](position / self.scale)

    def gradient(self, position: jax.Array, sums: Statistics) -> jax.Array:
        """Return the objective's gradient (p,) per unit of row weight, without a pass.

        `sums` are the statistics at the position.
        """
        slope = slope_of(offsets_of(self.base)[1], position / self.scale, sums, self.prior)
        return self._inside(slope / self.scale / self.total)

    def hessian(self, take_pass: Pass) -> jax.Array:
        """Return the negative Hessian (p, p) at the base, per unit of row weight."""
        found = information(take_pass.rows, self.base, self.prior, centered=True)
        used = (self.free > 0)[:, None] & (self.free > 0)[None]
        return jnp.where(used, found.observed, 0) / (
            self.scale[:, None] * self.scale[None] * self.total
        )

    def times_matrix(self, matrix: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Return the product of a matrix (p, p) with a vector, on the free directions."""
        return lambda vector: self._inside(matmul(matrix, self._inside(vector)))

    def times_hessian(self, take_pass: Pass) -> Callable[[jax.Array], jax.Array]:
        """Return the product of the negative Hessian at the base with a vector.

        It is a derivative of the gradient. Each product is one pass with derivatives, which takes
        the time of about two.
        """
        zero, mixture_at = offsets_of(self.base)

        def slope(offsets: jax.Array) -> jax.Array:
            sums = statistics_of_rows(mixture_at(offsets), take_pass.rows, take_pass.kernel)
            return slope_of(mixture_at, offsets, sums, self.prior)

        def product(vector: jax.Array) -> jax.Array:
            along = self._inside(vector) / self.scale
            return self._inside(-jax.jvp(slope, (zero,), (along,))[1] / self.scale / self.total)

        return product

    def _inside(self, vector: jax.Array) -> jax.Array:
        return project(vector, self.free, self.fixed)
