"""Mixtures from known responsibilities or labels, by one M-step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data import row_checks
from ..data.robust_covariance import moments
from ..data.rows import Rows
from ..families.family import Family
from ..families.registry import family_class
from ..internal.compiling import jit_once
from ..kernels.block_size import MOST_ROWS, block_rows
from ..kernels.whitened import Whitened
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.m_step import m_step_from
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from . import singular_checks

# The numbers that a block of rows computes where each row belongs to one component.
NUMBERS_AT_ONCE = 1 << 23
# Sweeps of rotations that the M-step of a start may take.
STEPS_OF_START = 100


def even_scales(family: type[Family], covariance: jax.Array, k: int) -> Family:
    """Return k uncorrelated covariances with the variances of data with this covariance.

    A spherical family takes one variance for all features, and a family that does not contain such
    covariances takes those near them. The variance of a constant feature is replaced by 1.
    """
    variance = jnp.diagonal(covariance)
    return family.of_scales(jnp.sqrt(jnp.where(variance > 0, variance, 1)), k)


class Assigned(NamedTuple):
    """Rows that are assigned to components: the statistics of which the M-step makes a mixture.

    Attributes:
      base: the weights and means of the components, with even covariances.
      sums: the statistics at `base`, without a log-likelihood.
    """

    base: Mixture
    sums: Statistics

    def mixture(self, prior: Prior | None) -> Mixture:
        """Return the mixture that the M-step makes."""
        return m_step_from(self.base, self.sums, prior, to_the_end=True).after


def assign_responsibilities(
    rows: Rows,
    responsibilities_of: Callable[[jax.Array], jax.Array],
    per_row: jax.Array,
    even: Family,
    lanes: int = 1,
) -> Assigned:
    """Assign rows to components by fixed responsibilities.

    Args:
      rows: the rows.
      responsibilities_of: a function of a block of `per_row` that returns the block's
        responsibilities (k, b).
      per_row: (n, ...) an array with an entry for each row.
      even: uncorrelated covariances with the scales of the data (see `even_scales`), in whose units
        the second moments are computed.
      lanes: the number of mixtures that are computed together under vmap.

    The means are computed first, so that second moments can be taken about them.
    """

    def sum_first_moments(x: jax.Array, weight: jax.Array, *block: jax.Array) -> Any:
        weighted = weight[None] * responsibilities_of(*block)
        return jnp.sum(weighted, axis=1), matmul(weighted, x.T)

    mass, moment = rows.total(sum_first_moments, MOST_ROWS, per_row)
    means = moment / jnp.where(mass > 0, mass, 1)[:, None]
    base = Mixture(jnp.log(mass / jnp.sum(mass)), means, even)
    kernel = Whitened(base, lanes)

    def sum_second_moments(x: jax.Array, weight: jax.Array, *block: jax.Array) -> Any:
        y = base.frame.residuals(means, x)
        return kernel.sums(x, y, weight[None] * responsibilities_of(*block))

    totals = rows.total(sum_second_moments, block_rows(kernel), per_row)
    mass, shift, spread = kernel.statistics(totals)
    return Assigned(base, Statistics(mass, shift, spread, jnp.zeros((), means.dtype)))


def assign_labels(rows: Rows, labels: jax.Array, k: int, even: Family, lanes: int = 1) -> Assigned:
    """Assign each row to one component.

    The result is that of `assign_responsibilities` up to rounding, and takes no longer for many
    components than for few, except where a family's axes are rotated.

    Args:
      rows: the rows.
      labels: (n,) the component of each row.
      k: the number of components.
      even: as in `assign_responsibilities`.
      lanes: the number of mixtures that are computed together under vmap.
    """
    log_scales = even.frame(rows.x.shape[1]).log_scales
    if log_scales is None:  # residuals are products, which all components compute together
        one_hot = lambda block: jax.nn.one_hot(block, k, axis=0, dtype=rows.x.dtype)
        return assign_responsibilities(rows, one_hot, labels, even, lanes)
    scale = jnp.exp(log_scales[0])  # the same for all components
    add = lambda values, block: jax.ops.segment_sum(values, block, k)

    def sum_first_moments(x: jax.Array, weight: jax.Array, block: jax.Array) -> Any:
        return add(weight, block), add(weight[:, None] * x.T, block)

    at_once = _rows_at_once(k, lanes * rows.x.shape[1])
    mass, moment = rows.total(sum_first_moments, at_once, labels)
    means = moment / jnp.where(mass > 0, mass, 1)[:, None]
    base = Mixture(jnp.log(mass / jnp.sum(mass)), means, even)
    frame = base.frame

    def sum_second_moments(x: jax.Array, weight: jax.Array, block: jax.Array) -> Any:
        y = (x.T - means[block]) / scale[None]
        root = jnp.sqrt(weight)[:, None] * y
        moments = frame.outer(root, root)  # one for each row, or their sum
        spread = moments if frame.shared else add(moments, block)
        return add(weight[:, None] * y, block), spread

    moments_of_row = jax.eval_shape(lambda: frame.outer(means[:1], means[:1])).size
    at_once = _rows_at_once(k, lanes * moments_of_row)
    shift, spread = rows.total(sum_second_moments, at_once, labels)
    return Assigned(base, Statistics(mass, shift, spread, jnp.zeros((), means.dtype)))


def _rows_at_once(k: int, numbers_of_row: int) -> int:
    """Return the number of rows in a block.

    It is large enough that adding a block's sums costs little, if the numbers that are computed for
    each row take little memory.
    """
    most = max(NUMBERS_AT_ONCE // numbers_of_row, 1)
    return min(max(MOST_ROWS, 4 * k), 1 << most.bit_length() - 1)


def work_of_start(n: int, k: int, d: int) -> int:
    """Return roughly how many numbers a start computes, for `jit_once`.

    It is counted tenfold, because starts are made several times.
    """
    return 10 * k * d**2 * (n + STEPS_OF_START * d)


def _from_labels(
    static: tuple[type[Family], int],
    x: jax.Array,
    labels: jax.Array,
    weight: jax.Array | None,
    prior: Prior | None,
) -> Mixture:
    family, k = static
    rows = Rows.about_own_mean(x, weight)
    prior = None if prior is None else prior.translate(-rows.center)
    even = even_scales(family, moments(rows).covariance, k)
    return assign_labels(rows, labels, k, even).mixture(prior).translate(rows.center)


def _from_responsibilities(
    family: type[Family],
    x: jax.Array,
    responsibilities: jax.Array,
    weight: jax.Array | None,
    prior: Prior | None,
) -> Mixture:
    rows = Rows.about_own_mean(x, weight)
    prior = None if prior is None else prior.translate(-rows.center)
    k = responsibilities.shape[1]
    even = even_scales(family, moments(rows).covariance, k)
    assigned = assign_responsibilities(rows, jnp.transpose, responsibilities, even)
    return assigned.mixture(prior).translate(rows.center)


def from_responsibilities(
    x: Any,
    responsibilities: ArrayLike,
    *,
    family: str | type[Family] = "full",
    weight: ArrayLike | None = None,
    prior: Prior | None = None,
) -> Mixture:
    """Return the mixture of one M-step from given responsibilities.

    Args:
      x: (n, d) rows.
      responsibilities: (n, k) the responsibilities of the components for each row. A column of
        zeros makes an absent component.
      family: a name in `FAMILIES`, or a family such as `factors(2)`.
      weight: (n,) row weights, or None for ones.
      prior: a `Prior`, or None for weighted means and covariances (divided by the mass, without
        bias correction).

    Returns:
      The mixture, in the dtype of x.

    Raises:
      ValueError: if an argument is invalid, or if the covariance of a component is singular,
        because a feature is constant on its rows, it has no more rows than features, or its
        features are collinear. Under jit and vmap there is no such check: the leaves of such a
        component are not finite, or consist of rounding errors.

    Source: Bishop 2006, eqs. 9.24–9.26.

    >>> shares = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    >>> m = jaxgmm.from_responsibilities([[0.0], [1.0], [5.0]], shares)
    >>> np.asarray(m.means).round(2).ravel()
    array([0.33, 3.67], dtype=float32)
    """
    x = row_checks.data(x)
    weight = row_checks.weights_of_rows(weight, len(x), x.dtype)
    checked = row_checks.responsibilities_of_rows(responsibilities, len(x), x.dtype)
    row_checks.squares_fit(x)
    prior = priors.check_prior(prior, x.shape[1], x.dtype)
    kind = family_class(family, checked.shape[1], x.shape[1])
    make = jit_once(_from_responsibilities, work_of_start(len(x), checked.shape[1], x.shape[1]))
    mixture = make(kind, x, checked, weight, prior)
    belongs = lambda component: np.asarray(checked)[:, component] > 0
    singular_checks.raise_if_singular(mixture, x, checked, belongs, weight, prior is not None)
    return mixture


def from_labels(
    x: Any,
    labels: ArrayLike,
    n_components: int | None = None,
    *,
    family: str | type[Family] = "full",
    weight: ArrayLike | None = None,
    prior: Prior | None = None,
) -> Mixture:
    """Return the mixture of one M-step from known labels.

    Args:
      x: (n, d) rows.
      labels: (n,) whole numbers 0 … n_components − 1.
      n_components: k; by default the largest label + 1.
      family: a name in `FAMILIES`, or a family such as `factors(2)`.
      weight: (n,) row weights, or None for ones.
      prior: a `Prior`, or None for weighted means and covariances (divided by the mass, without
        bias correction).

    Returns:
      The mixture with a component for the rows of each label, in the dtype of x.

    Raises:
      ValueError: if the labels are not valid; otherwise as in `from_responsibilities`.

    >>> m = jaxgmm.from_labels([[0.0], [2.0], [9.0], [10.0]], [0, 0, 1, 1])
    >>> np.asarray(m.means).round(2).ravel(), np.asarray(m.covariances).round(2).ravel()
    (array([1. , 9.5], dtype=float32), array([1.  , 0.25], dtype=float32))
    """
    x = row_checks.data(x)
    labels, k = row_checks.labels_of_rows(labels, len(x), n_components)
    weight = row_checks.weights_of_rows(weight, len(x), x.dtype)
    row_checks.squares_fit(x)
    prior = priors.check_prior(prior, x.shape[1], x.dtype)
    kind = family_class(family, k, x.shape[1])
    make = jit_once(_from_labels, work_of_start(len(x), k, x.shape[1]))
    mixture = make((kind, k), x, labels, weight, prior)
    belongs = lambda component: np.asarray(labels) == component
    singular_checks.raise_if_singular(mixture, x, labels, belongs, weight, prior is not None)
    return mixture
