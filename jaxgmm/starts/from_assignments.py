"""Mixtures from given responsibilities or labels: the M-step alone."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from ..data import row_checks
from ..data.robust_covariance import moments
from ..data.rows import Rows
from ..families.family import Family
from ..families.registry import family_class
from ..kernels.blocks import MOST_ROWS, block_rows
from ..kernels.whitened import Whitened
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.m_step import m_step_from
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from . import singular_checks as singular


def even_scales(family: type[Family], covariance: jax.Array, k: int) -> Family:
    """Factors that bring each feature (or all, if spherical) of data with this covariance to unit
    variance; a constant feature keeps its unit."""
    variance = jnp.diagonal(covariance)
    return family.of_scales(jnp.sqrt(jnp.where(variance > 0, variance, 1)), k)


def mixture_of_responsibilities(
    family, rows: Rows, share, k: int, beside, prior, even: Family, lanes: int = 1
) -> Mixture:
    """The M-step at given responsibilities: share(beside block) is (k, b).

    The means come first, so that second moments are taken about them."""

    def first(x, weight, *block):
        shares = weight[None] * share(*block)
        return jnp.sum(shares, axis=1), matmul(shares, x.T)

    mass, moment = rows.total(first, MOST_ROWS, beside)
    means = moment / jnp.where(mass > 0, mass, 1)[:, None]
    base = Mixture(jnp.log(mass / jnp.sum(mass)), means, even)
    kernel = Whitened(base, lanes)

    def second(x, weight, *block):
        y = base.frame.residuals(means, x)
        return kernel.sums(x, y, weight[None] * share(*block))

    sums = kernel.statistics(rows.total(second, block_rows(kernel), beside))
    sums = Statistics(*sums, jnp.zeros((), means.dtype))
    return m_step_from(base, sums, prior).taken_from(base)


@functools.partial(jax.jit, static_argnames="family")
def _from_responsibilities(x, responsibilities, weight, prior, family):
    rows = Rows.about_own_mean(x, weight)
    prior = None if prior is None else prior.translate(-rows.center)
    k = responsibilities.shape[1]
    even = even_scales(family, moments(rows).covariance, k)
    return mixture_of_responsibilities(
        family, rows, jnp.transpose, k, responsibilities, prior, even
    ).translate(rows.center)


def from_responsibilities(
    x, responsibilities, *, family: str = "full", weight=None, prior: Prior | None = None
) -> Mixture:
    """The textbook M-step from responsibilities alone.

    Args:
      x: (n, d) rows.
      responsibilities: (n, k), the shares of each row; a column of zeros makes an absent component.
      family: a name in `FAMILIES`.
      weight: (n,) row weights, or None for ones.
      prior: a `Prior`, or None for the plain weighted means and covariances, divided by the mass.

    Returns:
      The mixture, in the dtype of x.

    Raises:
      ValueError: for an invalid argument; for a component whose rows leave its covariance singular
        (a feature that is constant on them, fewer of them than features, collinear features). Under
        jit and vmap such a component has leaves that are not finite, or no more than rounding.

    (Bishop 2006, eqs. 9.24–9.26.)

    >>> shares = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    >>> m = jaxgmm.from_responsibilities([[0.0], [1.0], [5.0]], shares)
    >>> np.asarray(m.means).round(2).ravel()
    array([0.33, 3.67], dtype=float32)
    """
    x = row_checks.data(x)
    weight = row_checks.weights_of_rows(weight, len(x), x.dtype)
    given = row_checks.responsibilities_of_rows(responsibilities, len(x), x.dtype)
    row_checks.squares_fit(x)
    prior = priors.check_prior(prior, x.shape[1], x.dtype)
    made = _from_responsibilities(x, given, weight, prior, family_class(family))
    singular.refuse(made, x, given, weight)
    return made


def from_labels(
    x, labels, n_components: int | None = None, *, family: str = "full", weight=None,
    prior: Prior | None = None,
) -> Mixture:  # fmt: skip
    """`from_responsibilities` for known labels.

    Args:
      x: (n, d) rows.
      labels: (n,) whole numbers 0 … n_components − 1.
      n_components: k; by default the largest label + 1.
      family, weight, prior: as there.

    Returns:
      The mixture of each label's rows, in the dtype of x.

    Raises:
      ValueError: as `from_responsibilities`.

    >>> m = jaxgmm.from_labels([[0.0], [2.0], [9.0], [10.0]], [0, 0, 1, 1])
    >>> np.asarray(m.means).round(2).ravel(), np.asarray(m.covariances).round(2).ravel()
    (array([1. , 9.5], dtype=float32), array([1.  , 0.25], dtype=float32))
    """
    x = row_checks.data(x)
    labels, k = row_checks.labels_of_rows(labels, len(x), n_components)
    one_hot = jax.nn.one_hot(labels, k, dtype=x.dtype)
    return from_responsibilities(x, one_hot, family=family, weight=weight, prior=prior)
