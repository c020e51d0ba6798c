"""`uncertainty`: standard errors of a fitted mixture from the curvature of the objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data.arrays import ArrayData
from ..data.rows import Rows
from ..data.sources import Data
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.eigenvalues import restrict
from ..numerics.extreme_eigenvalues import smallest_eigenvalue
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.information import dtype_of_moments, numbers_in_information
from ..objective.m_step import m_step_from
from ..objective.newton_system import evaluate_near, inverse_on_free
from ..objective.prior import Prior
from ..selection.criteria import n_parameters
from .uncertainty_result import Uncertainty

METHODS = ("observed", "sandwich", "scores")


def uncertainty(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    method: str = "observed",
    clusters: ArrayLike | None = None,
    tolerance: jax.Array | float = 1e-6,
    devices: Sequence[jax.Device] | None = None,
) -> Uncertainty:
    """Compute the standard errors of a fitted mixture.

    Args:
      mixture: a maximum of the objective ℓ + log prior, from `fit` or from elsewhere.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones. They count rows: a weight of 2 is two rows.
      prior: the prior with which the mixture was fitted; the same options as in `fit`. The
        information includes its curvature.
      method: "observed" is the inverse of the observed information I, and right if the rows are
        draws from a mixture of this kind. "sandwich" is I⁻¹ (Σ w s sᵀ) I⁻¹ with the scores s of the
        rows, and right for large n even if they are not. "scores" is (Σ w s sᵀ)⁻¹.
      clusters: (n,) whole numbers from 0, or None. Rows with the same number are not independent:
        their scores are added before they are multiplied, which "sandwich" and "scores" then use.
        The rows must be an array.
      tolerance: the bound of EM's gain D below which the mixture counts as stationary.
      devices: the devices over which an array of many rows is divided; all local devices by
        default.

    Returns:
      An `Uncertainty` in the wider dtype of mixture and x: standard errors, intervals, draws, and
      errors of any function of the mixture. It takes a pass over the rows, and a second one where
      the fit ended before the maximum. Where the mixture is no maximum, errors are NaN.

    Raises:
      ValueError: for invalid arguments, as in `fit`; for "sandwich" or "scores" with more
        parameters than rows.

    Source: Louis 1982, J. Royal Stat. Soc. B 44; White 1982, Econometrica 50; for mixtures,
    McLachlan & Peel 2000, sec. 2.15.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2))
    >>> errors = jaxgmm.uncertainty(found.mixture, x)
    >>> errors.standard_errors.means.shape, errors.verdict
    ((2, 2), 'maximum')
    """
    checks.choice(method, "method", METHODS)
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    prior = priors.resolve_prior(prior, data)
    tolerance = jnp.asarray(checks.not_negative(tolerance, "tolerance"), data.dtype)
    operands: tuple[Any, ...] = ()
    n_clusters = data.n
    if clusters is not None:
        operands, n_clusters = _check_clusters(clusters, data)
    if method != "observed" and not checks.traced(mixture):
        p = int(n_parameters(mixture))
        if p > n_clusters or (method == "scores" and p == n_clusters):
            raise ValueError(
                f"method {method!r} needs more rows or clusters than parameters, and there are "
                f"{n_clusters} for {p} parameters: use 'observed', or fewer components."
            )
    return data.compute_once(
        _uncertainty,
        *(mixture, prior, tolerance, *operands),
        numbers=numbers_in_information(mixture, data.n),
        method=method,
        n_clusters=n_clusters,
        moments=dtype_of_moments(mixture, data.n),
    )


def _check_clusters(clusters: ArrayLike, data: Data) -> tuple[tuple[Any, ...], int]:
    """Return the clusters' numbers with those of padding rows, and the number of clusters."""
    if not isinstance(data, ArrayData):
        raise ValueError("clusters need rows in one array: pass x as an array (n, d).")
    ids = checks.array(clusters, "clusters")
    if checks.traced(ids):
        raise ValueError("clusters are traced, but determine shapes: pass an array of NumPy.")
    values = np.asarray(ids)
    if values.shape != (data.n,):
        raise ValueError(
            f"clusters has shape {values.shape}: pass one number for each of the {data.n} rows."
        )
    if np.isnan(values).any():
        raise ValueError("clusters contains NaN: give a row without a cluster a number of its own.")
    if (values != np.floor(values)).any() or (values < 0).any():
        raise ValueError(
            f"clusters contains {values[(values != np.floor(values)) | (values < 0)][0]}: pass "
            "whole numbers from 0."
        )
    found, places = np.unique(values, return_inverse=True)
    if len(found) == 1:
        raise ValueError(
            "clusters puts all rows into one cluster, which tells nothing of differences between "
            "clusters: pass at least two, or None."
        )
    places = places if data.order is None else places[data.order]
    return (np.pad(places, (0, data.padding)).astype(np.int32),), len(found)


def _uncertainty(
    rows: Rows,
    mixture: Mixture,
    prior: Prior | None,
    tolerance: jax.Array,
    *clusters: jax.Array,
    method: str,
    n_clusters: int,
    moments: str | None,
) -> Uncertainty:
    arrays = (*clusters, n_clusters) if clusters else ()
    point, found, held, inverse, sums = evaluate_near(
        rows, mixture, prior, *arrays, scores=method != "observed", moments=moments
    )
    total = jnp.sum(found.sums.mass)
    eigenvalue = smallest_eigenvalue(found.observed, held, inverse) / total
    regular = eigenvalue > jnp.finfo(eigenvalue.dtype).eps ** 0.5
    inverse = jnp.where(regular, inverse, jnp.nan)
    covariance = inverse
    if method == "sandwich":
        covariance = matmul(matmul(inverse, restrict(found.outer, held)), inverse)
    if method == "scores":
        of_scores = inverse_on_free(found.outer, held)
        smallest = smallest_eigenvalue(found.outer, held, of_scores) / total
        independent = smallest > jnp.finfo(smallest.dtype).eps ** 0.5
        covariance = jnp.where(regular & independent, of_scores, jnp.nan)
    return Uncertainty(
        mixture=mixture,
        point=point,
        covariance=covariance,
        information=found.observed,
        inverse_information=inverse,
        em_gain=m_step_from(mixture, sums, prior).em_gain,
        eigenvalue=eigenvalue,
        tolerance=tolerance,
    )
