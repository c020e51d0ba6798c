"""The observed information and the sum of products of scores, from one pass over the rows.

The derivatives are with respect to the relative coordinates of a mixture (see
`coordinates.Relative`), in the order of the mixture's leaves. There the complete-data information
is near the identity per unit of weight, whatever the units of the data.

Q is linear in the statistics of the rows, so the score of a row is s_n = G t_n, where t_n are the
statistics [r, r y, Σ r y yᵀ] of this row alone and G (p, s) are derivatives of Q's coefficients
(Fisher's identity). If the row belonged to component k alone, its statistics would be h_nk and its
score G h_nk. Louis' identity for the observed information is then

    −∂²ℓ = −∂²Q − G [Σ_n w Σ_k r_nk h_nk h_nkᵀ − Σ_n w t_n t_nᵀ] Gᵀ

with the second derivatives of Q at fixed statistics. Both sums are accumulated block by block, from
the statistics themselves or from fourth moments of the rows (see `kernels/pair_moments.py`). All of
this holds for every family, because G and ∂²Q are derivatives of `expected`.

Source: Louis 1982, J. Royal Stat. Soc. B 44, eq. 3.1.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Block
from ..data.rows import Rows
from ..data.summable_rows import SummableRows
from ..families.fisher_scoring import dense_layout_of
from ..internal import checks
from ..internal.compiling import FEW_NUMBERS
from ..internal.pytrees import pytree
from ..kernels.block_sums import log_joint_of_block
from ..kernels.choice import with_kernel
from ..kernels.pair_moments import PairMoments, dtype_of_products
from ..kernels.row_statistics import RowStatistics, statistics_of_parts
from ..kernels.row_values import ROWS_PER_STEP
from ..kernels.shared_noise import measured
from ..mixture.mixture import Mixture
from ..numerics.eigenvalues import columns_of
from ..numerics.products import matmul
from .curvature import slope_of
from .expected_derivatives import (
    derivatives_of_expected,
    offsets_of,
    products_of_scores,
    with_all_moments,
)
from .prior import Prior
from .statistics import Statistics, about_mixture, statistics


@pytree
@dataclasses.dataclass(frozen=True)
class Information:
    """Derivatives of the objective at a mixture, in relative coordinates; sums over all rows.

    Attributes:
      observed: (p, p) −∂² of ℓ + log prior.
      complete: (p, p) −∂² of Q + log prior at fixed statistics, the complete-data information. For
        a low-rank family the factors are missing data too, as they are for EM.
      outer: (p, p) Σ w s sᵀ, from the scores s of the rows; if clusters were passed, the sum over
        clusters of the product of each cluster's score with itself.
      gradient: (p,) the gradient of ℓ + log prior.
      slopes: (p, s) the matrix G that turns the statistics of a row into its score.
      sums: the statistics at the mixture.
    """

    observed: jax.Array
    complete: jax.Array
    outer: jax.Array
    gradient: jax.Array
    slopes: jax.Array
    sums: Statistics


def numbers_in_information(mixture: Mixture, n: int) -> float:
    """Return about how many numbers `information` computes for n rows: n p²."""
    return n * float(sum(leaf.size for leaf in jax.tree.leaves(mixture))) ** 2


def dtype_of_moments(mixture: Mixture, n: int) -> str | None:
    """Return the dtype in which `information` should sum n rows by their fourth moments, or None.

    That takes much less time for many parameters, but only the host can know, before a program is
    compiled, whether the moments are accurate.
    """
    many = numbers_in_information(mixture, n) >= FEW_NUMBERS
    if not many or checks.traced(mixture):
        return None
    return dtype_of_products(with_all_moments(mixture))


def information(
    rows: Rows | SummableRows,
    mixture: Mixture,
    prior: Prior | None,
    clusters: jax.Array | None = None,
    n_clusters: int = 0,
    *,
    centered: bool = False,
    scores: bool = True,
    moments: str | None = None,
) -> Information:
    """Compute the information of a mixture, in one pass.

    Args:
      rows: rows of any kind.
      mixture: the mixture, in the data's own coordinates.
      prior: the prior of the objective, or None.
      clusters: (n,) the number of the cluster of each row, for rows in one array.
      n_clusters: the number of clusters.
      centered: whether mixture and prior are in coordinates with their origin at `rows.center`
        instead.
      scores: whether `outer` is wanted; otherwise it may be NaN. Rows that are not fully observed
        take as long for it again.
      moments: the dtype of the fourth moments by which complete rows are summed, or None to sum
        their statistics, see `dtype_of_moments`.
    """
    if rows.columns is not None:
        if centered:
            raise ValueError("rows that are not fully observed need the data's own coordinates.")
        found = _information_of_observed(rows, mixture, prior)
        if not scores:
            return found
        of_scores = _outer_of_observed(rows, mixture, clusters, n_clusters)
        return dataclasses.replace(found, outer=_symmetric(of_scores))
    explicit = with_all_moments(mixture)
    near = explicit
    if not centered:
        near, rows = about_mixture(explicit, rows)  # type: ignore[arg-type]
    kernel = RowStatistics(near, 1)
    if moments is not None and clusters is None:
        kernel = PairMoments(near, moments)

    def sum_block(x: jax.Array, weight: jax.Array, *ids: jax.Array) -> tuple[Any, ...]:
        if not ids:
            return kernel.sums_of_products(x, weight, scores), ()
        block = kernel.of_block(x)
        each = (weight[None] * block.together).T
        by_cluster = jax.ops.segment_sum(each, ids[0], n_clusters)
        return kernel.sums_of_statistics(block, weight), (by_cluster,)

    arrays = () if clusters is None else (clusters,)
    totals, by_cluster = rows.total(sum_block, kernel.block_rows, *arrays)
    products = kernel.products(totals)
    sums = Statistics(*statistics_of_parts(explicit, products.parts), products.log_likelihood)
    gradient, slopes, curvature = derivatives_of_expected(mixture, explicit, sums, prior)
    transform = functools.partial(products_of_scores, mixture, explicit, slopes)
    complete = curvature
    if explicit is not mixture:
        sums = _in_units_of(mixture, explicit, sums)
        complete = derivatives_of_expected(mixture, mixture, sums, prior)[2]
    outer = matmul(by_cluster[0].T, by_cluster[0]) if by_cluster else products.outer
    nothing = jnp.full_like(curvature, jnp.nan)
    return Information(
        observed=_symmetric(-curvature - transform(products.missing)),
        complete=_symmetric(-complete),
        outer=nothing if outer is None else _symmetric(transform(outer)),
        gradient=gradient,
        slopes=slopes,
        sums=sums,
    )


def gradient_along(
    rows: Rows | SummableRows, mixture: Mixture, prior: Prior | None, direction: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradient of ℓ + log prior (p,), and its derivative along a direction (p,).

    The derivative is the product of the Hessian with the direction, at the cost of about three
    passes and without a matrix.
    """
    zero, mixture_at = offsets_of(mixture)

    def slope(offsets: jax.Array) -> jax.Array:
        here = mixture_at(offsets)
        sums = statistics(*about_mixture(here, rows), "whitened")  # type: ignore[arg-type]
        return slope_of(mixture_at, offsets, sums, prior)

    return jax.jvp(slope, (zero,), (direction,))


def _information_of_observed(
    rows: Rows | SummableRows, mixture: Mixture, prior: Prior | None
) -> Information:
    """Return the information from rows that are not fully observed.

    Their statistics are no products of a few numbers for each row. The observed information is the
    derivative of the gradient instead, which takes about a pass for each parameter. The field
    `outer` is left to `_outer_of_observed`.
    """
    zero = offsets_of(mixture)[0]
    sums = statistics(*about_mixture(mixture, rows), "whitened")  # type: ignore[arg-type]
    gradient, slopes, curvature = derivatives_of_expected(mixture, mixture, sums, prior)
    along = lambda direction: gradient_along(rows, mixture, prior, direction)[1]
    hessian = columns_of(along, jnp.eye(len(zero), dtype=zero.dtype))
    return Information(
        observed=_symmetric(-hessian),
        complete=_symmetric(-curvature),
        outer=jnp.full_like(hessian, jnp.nan),
        gradient=gradient,
        slopes=slopes,
        sums=sums,
    )


def _outer_of_observed(
    rows: Rows | SummableRows, mixture: Mixture, clusters: jax.Array | None, n_clusters: int
) -> jax.Array:
    """Return the sum of products of scores (p, p), see `Information`.

    A score is the derivative of a row's log-density here. It takes about a pass for each parameter.
    """
    zero, mixture_at = offsets_of(mixture)
    rows = about_mixture(mixture, rows)[1]  # type: ignore[arg-type]

    def sum_block(block: Block, weight: jax.Array, *ids: jax.Array) -> jax.Array:
        def log_prob(offsets: jax.Array) -> jax.Array:
            here = mixture_at(offsets).translate(-rows.center)
            near = measured(here, rows.columns, rows.shared_noise)
            of_kernel = lambda kernel: log_joint_of_block(kernel, block)
            joint = with_kernel("whitened", near, rows.n, of_kernel, rows.columns)
            return jax.nn.logsumexp(joint, axis=0)

        scores = columns_of(
            lambda along: jax.jvp(log_prob, (zero,), (along,))[1],
            jnp.eye(len(zero), dtype=zero.dtype),
        )
        weighted = weight[None] * scores
        if not ids:
            return matmul(weighted, scores.T)
        return jax.ops.segment_sum(weighted.T, ids[0], n_clusters)

    if clusters is None:
        return rows.total_blocks(sum_block, ROWS_PER_STEP)
    scores = rows.total_blocks(sum_block, ROWS_PER_STEP, clusters)  # type: ignore[call-arg]
    return matmul(scores.T, scores)


def _in_units_of(mixture: Mixture, explicit: Mixture, sums: Statistics) -> Statistics:
    """Return the statistics of `explicit` as the layout of `mixture` keeps them."""
    root = dense_layout_of(explicit.covariance, mixture.n_features).inverse_factor
    moments = matmul(matmul(root, sums.spread), jnp.swapaxes(root, 1, 2))
    frame = mixture.frame
    shift = frame.whiten(explicit.frame.unwhiten(sums.shift))
    return Statistics(sums.mass, shift, frame.whiten_stack(moments), sums.log_likelihood)


def _symmetric(matrix: jax.Array) -> jax.Array:
    return (matrix + matrix.T) / 2
