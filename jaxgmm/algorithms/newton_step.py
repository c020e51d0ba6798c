"""A Newton step within a trust region, and what it costs in passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..kernels.row_statistics import RowStatistics
from ..mixture.mixture import Mixture
from ..numerics.eigenvalues import project
from ..numerics.products import matmul
from ..numerics.trust_region import TruncatedStep, truncated_step
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
# The largest number of products for one step if the Hessian is not computed as a matrix.
MOST_PRODUCTS = 50
# The relative residual at which conjugate gradients end, at most; and with a matrix.
LOOSEST, WITH_MATRIX = 0.1, 1e-5


class NewtonStep(NamedTuple):
    """A step that increases the quadratic model of the objective.

    Attributes:
      mixture: the mixture after the step.
      gain: () the predicted increase of the objective, per unit of row weight.
      length: () the length of the step, in the metric of EM.
      at_boundary: () whether the step ends at the boundary of the trust region.
      passes: () the passes that the second derivatives took.
    """

    mixture: Mixture
    gain: jax.Array
    length: jax.Array
    at_boundary: jax.Array
    passes: jax.Array | float


def uses_matrix(mixture: Mixture, take_pass: Pass) -> bool:
    """Return whether a Newton step computes the Hessian as a matrix, rather than its products.

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


def newton_step(
    mixture: Mixture,
    statistics: Statistics,
    take_pass: Pass,
    prior: Prior | None,
    radius: jax.Array,
) -> NewtonStep:
    """Return the step that increases the objective's quadratic model within a trust region.

    The model has the exact gradient and Hessian in relative coordinates. These are divided by the
    square root of the complete-data information, in which EM's step near a fixed point is the
    gradient, and the length of a step is measured there. Directions that do not change the mixture
    are left out. See `truncated_step`.
    """
    zero, mixture_at = offsets_of(mixture)
    total = jnp.sum(statistics.mass)
    free, shift = free_directions(mixture)
    scale = complete_information(mixture, statistics, prior) ** 0.5
    unit = orthonormal(shift * scale[None])
    inside = lambda vector: project(vector, free, unit)
    gradient = inside(slope_of(mixture_at, zero, statistics, prior) / scale / total)
    steepness = jnp.linalg.norm(gradient)
    if uses_matrix(mixture, take_pass):
        observed = information(take_pass.rows, mixture, prior, centered=True).observed
        used = (free > 0)[:, None] & (free > 0)[None]
        matrix = jnp.where(used, observed, 0) / (scale[:, None] * scale[None] * total)
        times_matrix = lambda vector: inside(matmul(matrix, inside(vector)))
        tolerance = jnp.minimum(WITH_MATRIX, steepness)
        found = truncated_step(times_matrix, gradient, radius, tolerance, 2 * len(zero))
        passes: Any = float(passes_of_matrix(mixture))
    else:
        along = product_with_hessian(mixture, take_pass, prior)
        times = lambda vector: inside(-along(inside(vector) / scale) / scale / total)
        tolerance = jnp.minimum(LOOSEST, steepness)
        found = truncated_step(times, gradient, radius, tolerance, min(MOST_PRODUCTS, len(zero)))
        passes = PASSES_PER_PRODUCT * found.products.astype(jnp.float32)
    return _newton_step(found, mixture_at(found.step / scale), passes)


def _newton_step(found: TruncatedStep, moved: Mixture, passes: Any) -> NewtonStep:
    return NewtonStep(moved, found.gain, found.length, found.at_boundary, passes)


def product_with_hessian(
    mixture: Mixture, take_pass: Pass, prior: Prior | None
) -> Callable[[jax.Array], jax.Array]:
    """Return the product of the objective's Hessian with an offset (p,): a derivative of its slope.

    Each product is one pass with derivatives, which takes the time of about two.
    """
    zero, mixture_at = offsets_of(mixture)

    def slope(offsets: jax.Array) -> jax.Array:
        sums = statistics_of_rows(mixture_at(offsets), take_pass.rows, take_pass.kernel)
        return slope_of(mixture_at, offsets, sums, prior)

    return lambda direction: jax.jvp(slope, (zero,), (direction,))[1]
