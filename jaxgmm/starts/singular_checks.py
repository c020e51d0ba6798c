"""Errors for covariances that the rows do not determine, with the component and the cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import jax
import numpy as np

from ..families.family import HasFactor
from ..internal import checks
from ..mixture.mixture import Mixture

# A standard deviation counts as rounding error if it is less than this number of units in the last
# place of the feature's largest value.
ROUNDINGS = 4
A_PRIOR = "pass a prior, e.g. prior=Prior.from_data(x)"


def raise_if_singular(
    mixture: Mixture,
    x: jax.Array,
    assignments: jax.Array,
    belongs: Callable[[int], np.ndarray],
    weight: jax.Array | None,
) -> None:
    """Raise ValueError if a covariance of `mixture` is singular up to rounding.

    Tracers are not checked.

    Args:
      mixture: the mixture, which was computed from the other arguments.
      x: rows (n, d).
      assignments: the labels or responsibilities of the rows.
      belongs: a function from a component to booleans (n,): which rows belong to it.
      weight: row weights (n,), or None.
    """
    if checks.traced(mixture, x, assignments, weight):
        return
    values = np.asarray(x)
    singular = _singular(mixture, values)
    if not singular.any():
        return
    counts = np.ones(len(values), bool) if weight is None else np.asarray(weight) > 0

    def rows_of(component: int) -> np.ndarray:
        return np.unique(values[belongs(component) & counts].astype(np.float64), axis=0)

    shared = len(singular) < mixture.n_components
    which = int(np.argmax(singular))
    groups = [rows_of(i) for i in (range(mixture.n_components) if shared else [which])]
    groups = [rows for rows in groups if len(rows)]
    subject = (
        "the covariance that all components share" if shared else f"component {which}'s covariance"
    )
    raise ValueError(f"{subject} is singular: {_cause(groups, values, mixture)}.")


def _singular(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """Return (c,) booleans: which covariances are singular up to rounding.

    These are covariances of present components that are not finite, or consist of rounding errors
    in some direction.
    """
    scales = np.exp(np.asarray(mixture.frame.log_scales, np.float64))
    eps = np.finfo(x.dtype).eps
    resolved = np.isfinite(scales) & (scales > ROUNDINGS * eps * np.abs(x).max(axis=0))
    good = resolved.all(axis=1)
    good[good] = _independence(mixture)[good] > mixture.n_features * eps
    used = np.asarray(mixture.logits) > -np.inf
    return ~good & (used if len(good) == len(used) else used.any())


def _independence(mixture: Mixture) -> np.ndarray:
    """Return the smallest fraction of a feature's variance that earlier features do not explain.

    The result is (c,), with a number for each covariance.
    """
    covariance = cast(HasFactor, mixture.covariance)
    log_diagonal, lower = (np.asarray(part, np.float64) for part in covariance.entries())
    size = log_diagonal.shape[1]
    if size == 1:  # There are only variances.
        return np.ones(len(mixture.frame.log_scales))
    whitening = np.zeros((len(log_diagonal), size, size))
    rows, columns = np.tril_indices(size, -1)
    whitening[:, rows, columns] = lower
    whitening[:, np.arange(size), np.arange(size)] = np.exp(log_diagonal)
    usable = np.isfinite(whitening).all(axis=(1, 2)) & (log_diagonal > -700).all(axis=1)
    fraction = np.zeros(len(whitening))
    roots = np.linalg.inv(whitening[usable])
    unexplained = np.diagonal(roots, axis1=1, axis2=2) ** 2 / np.sum(roots**2, axis=2)
    fraction[usable] = unexplained.min(axis=1)
    return fraction


def _cause(groups: list[np.ndarray], x: np.ndarray, mixture: Mixture) -> str:
    """Return why a covariance is singular, and the remedy.

    `groups` contains the distinct rows of each component that shares the covariance.
    """
    d, n = mixture.n_features, sum(len(rows) for rows in groups)
    owner = "its" if len(groups) == 1 else "each component's"
    if n == len(groups):
        return f"{owner} rows are all the same; use fewer components, or {A_PRIOR}"
    rounding = ROUNDINGS * np.finfo(x.dtype).eps * np.abs(x).max(axis=0)
    constant = np.all([np.ptp(rows, axis=0) <= rounding for rows in groups], axis=0)
    if constant.any():
        column = int(np.argmax(constant))
        text = f"feature {column} is constant on {owner} rows ({groups[0][0, column]:.6g})"
        if np.ptp(x[:, column]) <= rounding[column]:
            return f"{text}, as on all rows; drop the feature"
        return f"{text}; drop the feature, or {A_PRIOR}"
    if n - len(groups) < d:
        return (
            f"{n} distinct rows for {d} features are too few, at least {d + len(groups)} are "
            f'needed; use fewer components or family="diagonal", or {A_PRIOR}'
        )
    return (
        f"{owner} rows are collinear, because one feature is a linear combination of others; drop "
        f'such a feature, or use family="diagonal"'
    )
