"""The incomplete-data log-likelihood with its derivatives, and the complete-data one behind it.

Fisher's identity: at a fixed mixture θ, the gradient of the log-likelihood ℓ is that of

    Q(θ' | θ) = Σ_n w_n Σ_k r_nk(θ) [log π'_k + log N(x_n; μ'_k, Σ'_k)]

at θ' = θ, and Q depends on the rows through `Statistics` alone. So a gradient costs one pass and
holds no n×k array, and since the statistics are differentiable themselves, so is the gradient.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ..data import row_checks
from ..data.arrays import ArrayData
from ..data.rows import Rows
from ..data.sources import Data
from ..kernels.blocks import block_rows, weighted_responsibilities
from ..kernels.choice import Choice, with_kernel
from ..mixture.component_precision import warn_of_coarse_components
from ..mixture.inputs import (
    check_mixture_and_array,
    open_for_mixture,
    over_rows,
    row_log_joint,
    row_log_prob,
)
from ..mixture.mixture import Mixture
from .statistics import Statistics, about_mixture, statistics, statistics_at


def expected(mixture: Mixture, at: Mixture, sums: Statistics) -> jax.Array:
    """Q(mixture | at), given the statistics `sums` taken at the mixture `at`."""
    d, frame = mixture.n_features, at.frame
    moved = frame.whiten(mixture.means - at.means)
    moments = sums.spread + frame.outer(sums.mass[:, None] * moved - 2 * sums.shift, moved)
    constants = jnp.where(mixture.present, mixture.log_weights, 0) - d / 2 * math.log(2 * math.pi)
    densities = frame.expected(mixture.frame, moments, frame.pool(sums.mass))
    return jnp.sum(sums.mass * constants) + jnp.sum(densities)


@jax.custom_jvp
def _with_slope(mixture: Mixture, sums: Statistics) -> jax.Array:
    """The log-likelihood of the statistics, with its gradient with respect to the mixture."""
    return sums.log_likelihood


@_with_slope.defjvp
def _with_slope_jvp(primals, tangents):
    mixture, sums = primals
    slope = jax.jvp(lambda moved: expected(moved, mixture, sums), (mixture,), tangents[:1])[1]
    return sums.log_likelihood, slope


def evaluate(mixture: Mixture, rows: Rows, kernel: str | Choice) -> Statistics:
    """The statistics at `mixture`, whose log-likelihood also carries its gradient with respect to
    the mixture (to first order), without a second pass and without anything stored per row."""
    sums = jax.lax.stop_gradient(statistics(jax.lax.stop_gradient(mixture), rows, kernel))
    return dataclasses.replace(sums, log_likelihood=_with_slope(mixture, sums))


def statistics_of_gradient(mixture: Mixture, slope: Mixture, total: jax.Array) -> Statistics:
    """The sums over rows at `mixture`, from the log-likelihood's gradient with respect to its
    leaves: Fisher's identity is a bijection once total = Σ mass is known. The log-likelihood itself
    is left 0."""
    covariance, frame = mixture.covariance, mixture.frame
    mass = jnp.maximum(slope.logits + total * mixture.weights, 0)
    shift = frame.unwhiten_transposed(slope.means)
    spread = covariance.spread_from_gradient(slope.covariance, frame.pool(mass), frame.d)
    return Statistics(mass, shift, spread, jnp.zeros_like(total))


def value_of_rows(rows: Rows, mixture: Mixture) -> jax.Array:
    """The log-likelihood, by a pass for nothing else."""
    centered, rows = about_mixture(mixture, rows)

    def run(kernel):
        def block(x, weight):
            return jnp.sum(weight * weighted_responsibilities(kernel.log_joint(x)[0], weight)[1])

        return rows.total(block, block_rows(kernel))

    return with_kernel("auto", centered, rows.n, run)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _value(rows_per_block, mixture, x, weight):
    return value_of_rows(Rows.of(x, weight, rows_per_block), mixture)


@functools.partial(_value.defjvp, symbolic_zeros=True)
def _value_jvp(rows_per_block, primals, tangents):
    mixture, x, weight = primals
    along_mixture, along_x, along_weight = tangents
    sums = statistics_at(Rows.of(x, weight, rows_per_block), mixture)
    slope = jnp.zeros_like(sums.log_likelihood)

    if not all(_is_zero(leaf) for leaf in jax.tree.leaves(along_mixture, is_leaf=_is_zero)):
        along = jax.tree.map(_instantiate, along_mixture, is_leaf=_is_zero)
        slope += jax.jvp(lambda moved: expected(moved, mixture, sums), (mixture,), (along,))[1]
    if not _is_zero(along_x):
        pull = over_rows(jax.grad(row_log_prob, argnums=1), mixture, x)
        pull = pull if weight is None else weight[:, None] * pull
        slope += jnp.sum(pull * along_x)
    if along_weight is not None and not _is_zero(along_weight):
        slope += jnp.sum(over_rows(row_log_prob, mixture, x) * along_weight)
    return sums.log_likelihood, slope


def _is_zero(tangent) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(tangent):
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent


_jitted_value = jax.jit(_value, static_argnums=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _value_of_data(mixture: Mixture, data: Data) -> jax.Array:
    """The log-likelihood of rows that are not in one place, with its gradient by the mixture. Such
    rows are never traced, so that they have no derivatives to lose."""
    return data.compute(value_of_rows, mixture)


@_value_of_data.defjvp
def _value_of_data_jvp(data, primals, tangents):
    sums = data.compute(statistics_at, *primals)
    return sums.log_likelihood, jax.jvp(lambda m: expected(m, *primals, sums), primals, tangents)[1]


def log_likelihood(
    mixture: Mixture, x, *, weight=None, devices: Sequence | None = None
) -> jax.Array:
    """The incomplete-data log-likelihood ℓ = Σ_n w_n log Σ_k π_k N(x_n; μ_k, Σ_k).

    Args:
      mixture: the mixture θ.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      devices: which devices share an array of many rows; all local ones by default.

    Returns:
      () in nats, in the wider dtype of mixture and x. Of an array or `Blocks`, its first and second
      derivatives with respect to the mixture's leaves, x and weight are exact (forward, reverse,
      and mixed), and finite at zero weights, absent components and rows far away. Of `Shards` and a
      `Stream` it has its gradient with respect to the mixture. A gradient costs about one E-step.

    Warns:
      UserWarning: where float32 numbers lie too far apart for a component, as `fit` does.

    Raises:
      ValueError: for x that is not a finite (n, d) array of the mixture's features, for weights
        that are negative, not finite, or not (n,), and for a mixture that is not finite.

    Fisher's identity is in Dempster, Laird & Rubin 1977, sec. 3, eq. 3.13.

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
        return _jitted_value(data.rows_per_block, mixture, data.x, data.weight)
    return _value_of_data(mixture, data)


@jax.jit
def _complete(mixture, x, responsibilities, weight):
    joint, responsible = over_rows(row_log_joint, mixture, x), responsibilities > 0
    value = jnp.sum(
        jnp.where(responsible, responsibilities * jnp.where(responsible, joint, 0), 0), axis=1
    )
    return jnp.sum(value if weight is None else weight * value)


def complete_log_likelihood(mixture: Mixture, x, responsibilities, *, weight=None) -> jax.Array:
    """The expected complete-data log-likelihood

        Q = Σ_n w_n Σ_k r_nk (log π_k + log N(x_n; μ_k, Σ_k)).

    Args:
      mixture: where Q is evaluated.
      x: (n, d) rows.
      responsibilities: (n, k), given and held fixed; one-hot rows give the complete-data
        log-likelihood of known labels.
      weight: (n,) row weights, or None for ones.

    Returns:
      () in nats, in the wider dtype of mixture and x. A responsibility of 0 for an absent component
      counts 0.

    Raises:
      ValueError: as `log_likelihood`, and for responsibilities that are not (n, k), finite and not
        negative.

    (Dempster, Laird & Rubin 1977, eq. 2.17; Bishop 2006, eq. 9.40.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x, labels = [[0.0], [2.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> print(f"{jaxgmm.complete_log_likelihood(m, x, labels):.3f}")
    -5.224
    """
    mixture, x, weight = check_mixture_and_array(mixture, x, weight)
    given = row_checks.responsibilities_of_rows(responsibilities, len(x), x.dtype)
    row_checks.same_components(mixture.n_components, given)
    return _complete(mixture, x, given, weight)
