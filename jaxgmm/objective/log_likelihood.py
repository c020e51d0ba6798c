"""The incomplete-data and complete-data log-likelihoods, with their derivatives.

By Fisher's identity, the gradient of the log-likelihood ℓ at a mixture θ is the gradient of

    Q(θ' | θ) = Σ_n w_n Σ_k r_nk(θ) [log π'_k + log N(x_n; μ'_k, Σ'_k)]

at θ' = θ, and Q depends on the rows only through `Statistics`. A gradient therefore costs one pass
and stores no n×k array. The statistics are themselves differentiable, and so is the gradient.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from numpy.typing import ArrayLike

from ..data import row_checks
from ..data.arrays import ArrayData
from ..data.columns import Block, Columns
from ..data.rows import Rows
from ..data.sources import Data
from ..families.has_whitening_factor import HasWhiteningFactor
from ..kernels.block_size import block_rows
from ..kernels.block_sums import log_joint_of_block
from ..kernels.choice import Choice, with_kernel
from ..kernels.protocol import Kernel
from ..kernels.responsibilities import weighted_responsibilities
from ..kernels.row_values import log_prob_of_rows
from ..kernels.shared_noise import measured
from ..mixture.component_rounding_warnings import warn_of_coarse_components
from ..mixture.inputs import (
    check_mixture_and_array,
    open_for_mixture,
    over_rows,
    row_log_joint,
    row_log_prob,
)
from ..mixture.mixture import Mixture
from .statistics import Statistics, about_mixture, statistics, statistics_at

Layout = tuple[int | None, Columns | None]  # rows in a block, and what the columns hold


def expected(mixture: Mixture, at: Mixture, sums: Statistics) -> jax.Array:
    """Return Q(mixture | at), from the statistics `sums` at the mixture `at`."""
    d, frame = mixture.n_features, at.frame
    moments = _moments_about(mixture, at, sums)[1]
    constants = jnp.where(mixture.present, mixture.log_weights, 0) - d / 2 * math.log(2 * math.pi)
    densities = frame.expected(mixture.frame, moments, frame.pool(sums.mass))
    return jnp.sum(sums.mass * constants) + jnp.sum(densities)


def _moments_about(mixture: Mixture, at: Mixture, sums: Statistics) -> tuple[jax.Array, jax.Array]:
    """Return first and second moments about the means of `mixture`, in residual units of `at`."""
    moved = at.frame.whiten(mixture.means - at.means)
    shifted = sums.mass[:, None] * moved
    return sums.shift - shifted, sums.spread + at.frame.outer(shifted - 2 * sums.shift, moved)


def restate(sums: Statistics, at: Mixture, mixture: Mixture) -> Statistics:
    """Return statistics at the mixture `at` in the residual units of another mixture.

    The responsibilities stay those of `at`. The log-likelihood changes by Q(mixture | at) −
    Q(at | at), which makes it a lower bound of the log-likelihood at `mixture` (Neal & Hinton 1998,
    the negative free energy).

    Raises:
      ValueError: for families whose statistics do not contain all second moments.
    """
    first, second = _moments_about(mixture, at, sums)
    return Statistics(
        mass=sums.mass,
        shift=mixture.frame.whiten(at.frame.unwhiten(first)),
        spread=at.frame.restate(second, mixture.frame),
        log_likelihood=sums.log_likelihood + expected(mixture, at, sums) - expected(at, at, sums),
    )


@jax.custom_jvp
def _with_gradient(mixture: Mixture, sums: Statistics) -> jax.Array:
    """Return the statistics' log-likelihood, with its derivative with respect to the mixture."""
    return sums.log_likelihood


@_with_gradient.defjvp
def _with_gradient_jvp(primals, tangents):
    mixture, sums = primals
    derivative = jax.jvp(lambda moved: expected(moved, mixture, sums), (mixture,), tangents[:1])[1]
    return sums.log_likelihood, derivative


def evaluate(mixture: Mixture, rows: Rows, kernel: str | Choice) -> Statistics:
    """Return the statistics at `mixture`, with a log-likelihood that is differentiable once.

    The log-likelihood has its first derivative with respect to the mixture. Neither a second pass
    nor any storage per row is needed for it.
    """
    sums = jax.lax.stop_gradient(statistics(jax.lax.stop_gradient(mixture), rows, kernel))
    return dataclasses.replace(sums, log_likelihood=_with_gradient(mixture, sums))


def statistics_of_gradient(mixture: Mixture, gradient: Mixture, total: jax.Array) -> Statistics:
    """Return the statistics at `mixture`, from the log-likelihood's gradient there.

    `gradient` is with respect to the mixture's leaves. Fisher's identity is a bijection between
    gradient and statistics once total = Σ mass is known. The log-likelihood of the result is 0.
    """
    # Only families whose leaves are whitening factors have gradient methods.
    covariance, frame = cast(HasWhiteningFactor, mixture.covariance), mixture.frame
    mass = jnp.maximum(gradient.logits + total * mixture.weights, 0)
    shift = frame.unwhiten_transposed(gradient.means)
    spread = covariance.spread_from_gradient(
        cast(HasWhiteningFactor, gradient.covariance), frame.pool(mass), frame.d
    )
    return Statistics(mass, shift, spread, jnp.zeros_like(total))


def value_of_rows(rows: Rows, mixture: Mixture) -> jax.Array:
    """Compute the log-likelihood alone, in one pass that sums no other statistics."""
    centered, rows = about_mixture(mixture, rows)

    def run(kernel: Kernel) -> jax.Array:
        def sum_block(block: Block, weight: jax.Array) -> jax.Array:
            joint = log_joint_of_block(kernel, block)
            return jnp.sum(weight * weighted_responsibilities(joint, weight)[1])

        return rows.total_blocks(sum_block, block_rows(kernel))

    near = measured(centered, rows.columns, rows.shared_noise)
    return with_kernel("auto", near, rows.n, run, rows.columns)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def value_of_array(
    layout: Layout, mixture: Mixture, x: jax.Array, weight: jax.Array | None
) -> jax.Array:
    """Return the log-likelihood of an array, with its derivatives."""
    return value_of_rows(Rows.of(x, weight, *layout), mixture)


@functools.partial(value_of_array.defjvp, symbolic_zeros=True)
def _value_jvp(layout, primals, tangents):
    mixture, x, weight = primals
    mixture_tangent, x_tangent, weight_tangent = tangents
    sums = statistics_at(Rows.of(x, weight, *layout), mixture)
    columns = layout[1]
    derivative = jnp.zeros_like(sums.log_likelihood)

    if not all(_is_zero(leaf) for leaf in jax.tree.leaves(mixture_tangent, is_leaf=_is_zero)):
        along = jax.tree.map(_instantiate, mixture_tangent, is_leaf=_is_zero)
        derivative += jax.jvp(lambda moved: expected(moved, mixture, sums), (mixture,), (along,))[1]
    if columns is not None and not _is_zero(x_tangent):
        of_rows = lambda x: value_of_rows(Rows.of(x, weight, *layout), mixture)
        derivative += jax.jvp(of_rows, (x,), (x_tangent,))[1]
    elif not _is_zero(x_tangent):
        gradient = over_rows(jax.grad(row_log_prob, argnums=1), mixture, x)
        gradient = gradient if weight is None else weight[:, None] * gradient
        derivative += jnp.sum(gradient * x_tangent)
    if weight_tangent is not None and not _is_zero(weight_tangent):
        log_probs = log_prob_of_rows(mixture, x, columns)
        derivative += jnp.sum(log_probs * weight_tangent)
    return sums.log_likelihood, derivative


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(tangent: Any) -> jax.Array:
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent


_jitted_value = jax.jit(value_of_array, static_argnums=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _value_of_data(mixture: Mixture, data: Data) -> jax.Array:
    """Return the log-likelihood of rows that are not in one array, with its gradient.

    The gradient is with respect to the mixture. Such rows are never traced, so no derivatives with
    respect to them are needed.
    """
    return data.compute(value_of_rows, mixture)


@_value_of_data.defjvp
def _value_of_data_jvp(data, primals, tangents):
    sums = data.compute(statistics_at, *primals)
    return sums.log_likelihood, jax.jvp(lambda m: expected(m, *primals, sums), primals, tangents)[1]


def log_likelihood(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> jax.Array:
    """Return the incomplete-data log-likelihood ℓ = Σ_n w_n log Σ_k π_k N(x_n; μ_k, Σ_k).

    Args:
      mixture: the mixture θ.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      devices: the devices over which an array of many rows is divided; all local devices by
        default.

    Returns:
      () in nats, in the wider dtype of mixture and x. For an array or `Blocks`, the first and
      second derivatives with respect to the mixture's leaves, x and weight are exact in forward,
      reverse and mixed mode. They are finite at zero weights, absent components and rows far away.
      For `Shards` and a `Stream`, only the gradient with respect to the mixture is available. A
      gradient costs about as much as one E-step.

    Warns:
      UserWarning: if float32 numbers are spaced too widely to represent a component, as in `fit`.

    Raises:
      ValueError: if x is not a finite (n, d) array with the mixture's number of features, if the
        weights are negative, not finite, or not (n,), or if the mixture is not finite.

    Source of Fisher's identity: Dempster, Laird & Rubin 1977, sec. 3, eq. 3.13.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x = [[0.0], [2.0]]
    >>> print(f"{jaxgmm.log_likelihood(m, x):.3f}")
    -4.531
    >>> slope = jax.grad(jaxgmm.log_likelihood)(m, x)
    >>> np.asarray(slope.means).round(2)  # the row at 2 pulls at both
    array([[ 1.],
           [-1.]], dtype=float32)
    """
    mixture, data = open_for_mixture(mixture, x, weight, devices, warn_of_columns=None)
    warn_of_coarse_components(mixture, matrices=False)
    if isinstance(data, ArrayData):
        return _jitted_value((data.rows_per_block, data.columns), mixture, data.x, data.weight)
    return _value_of_data(mixture, data)


@jax.jit
def _complete(
    mixture: Mixture, x: jax.Array, responsibilities: jax.Array, weight: jax.Array | None
) -> jax.Array:
    joint, responsible = over_rows(row_log_joint, mixture, x), responsibilities > 0
    # The inner `where` keeps the −inf of an absent component out of the derivatives.
    value = jnp.sum(
        jnp.where(responsible, responsibilities * jnp.where(responsible, joint, 0), 0), axis=1
    )
    return jnp.sum(value if weight is None else weight * value)


def complete_log_likelihood(
    mixture: Mixture,
    x: Any,
    responsibilities: ArrayLike,
    *,
    weight: ArrayLike | None = None,
) -> jax.Array:
    """Return the expected complete-data log-likelihood Q.

        Q = Σ_n w_n Σ_k r_nk (log π_k + log N(x_n; μ_k, Σ_k))

    Args:
      mixture: the mixture at which Q is evaluated.
      x: (n, d) rows.
      responsibilities: (n, k) responsibilities, which stay fixed. One-hot rows give the
        complete-data log-likelihood of known labels.
      weight: (n,) row weights, or None for ones.

    Returns:
      () in nats, in the wider dtype of mixture and x. A responsibility of 0 for an absent component
      contributes 0.

    Raises:
      ValueError: as in `log_likelihood`, or if the responsibilities are not (n, k), not finite, or
        negative.

    Source: Dempster, Laird & Rubin 1977, eq. 2.17; Bishop 2006, eq. 9.40.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x, labels = [[0.0], [2.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> print(f"{jaxgmm.complete_log_likelihood(m, x, labels):.3f}")
    -5.224
    """
    mixture, x, weight = check_mixture_and_array(mixture, x, weight)
    checked = row_checks.responsibilities_of_rows(responsibilities, len(x), x.dtype)
    row_checks.same_components(mixture.n_components, checked)
    return _complete(mixture, x, checked, weight)
