"""Covariances that given rows do not determine are refused, with the component and the cause."""

from __future__ import annotations

import numpy as np

from ..internal import checks
from ..mixture.mixture import Mixture

# Standard deviations under so many units in the last place of a feature's largest value are no more
# than rounding.
ROUNDINGS = 4
A_PRIOR = "give a prior, e.g. prior=Prior.from_data(x)"


def refuse(mixture: Mixture, x, responsibilities, weight) -> None:
    """Raises ValueError where a covariance of `mixture`, which was made from rows x (n, d) with
    responsibilities (n, k) and weight (n,), is singular up to rounding. Tracers pass."""
    if checks.traced(mixture, x, responsibilities, weight):
        return
    x = np.asarray(x)
    singular = _singular(mixture, x)
    if not singular.any():
        return
    counts = np.asarray(responsibilities) > 0
    if weight is not None:
        counts &= (np.asarray(weight) > 0)[:, None]
    rows_of = lambda component: np.unique(x[counts[:, component]].astype(np.float64), axis=0)
    shared = len(singular) < mixture.n_components
    which = int(np.argmax(singular))
    groups = [rows_of(i) for i in (range(mixture.n_components) if shared else [which])]
    groups = [rows for rows in groups if len(rows)]
    whose = (
        "the covariance that all components share" if shared else f"component {which}'s covariance"
    )
    raise ValueError(f"{whose} is singular: {_cause(groups, x, mixture)}.")


def _singular(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """(c,) booleans: whether a covariance that a present component uses is not finite, or in some
    direction no more than rounding."""
    scales = np.exp(np.asarray(mixture.frame.log_scales, np.float64))
    eps = np.finfo(x.dtype).eps
    found = np.isfinite(scales) & (scales > ROUNDINGS * eps * np.abs(x).max(axis=0))
    good = found.all(axis=1)
    good[good] = _independence(mixture)[good] > mixture.n_features * eps
    used = np.asarray(mixture.logits) > -np.inf
    return ~good & (used if len(good) == len(used) else used.any())


def _independence(mixture: Mixture) -> np.ndarray:
    """(c,) the smallest share of a feature's variance that the features before it leave
    unexplained."""
    log_diagonal, lower = (np.asarray(part, np.float64) for part in mixture.covariance.entries())
    size = log_diagonal.shape[1]
    if size == 1:  # variances alone
        return np.ones(len(mixture.frame.log_scales))
    whitening = np.zeros((len(log_diagonal), size, size))
    whitening[:, *np.tril_indices(size, -1)] = lower
    whitening[:, *np.diag_indices(size)] = np.exp(log_diagonal)
    usable = np.isfinite(whitening).all(axis=(1, 2)) & (log_diagonal > -700).all(axis=1)
    found = np.zeros(len(whitening))
    roots = np.linalg.inv(whitening[usable])
    left = np.diagonal(roots, axis1=1, axis2=2) ** 2 / np.sum(roots**2, axis=2)
    found[usable] = left.min(axis=1)
    return found


def _cause(groups: list[np.ndarray], x: np.ndarray, mixture: Mixture) -> str:
    """Why distinct rows in `groups`, one for each component that shares the covariance, leave it
    singular; and what to do."""
    d, n = mixture.n_features, sum(len(rows) for rows in groups)
    whole = "its" if len(groups) == 1 else "each component's"
    if n == len(groups):
        return f"{whole} rows are all the same; use fewer components, or {A_PRIOR}"
    rounding = ROUNDINGS * np.finfo(x.dtype).eps * np.abs(x).max(axis=0)
    constant = np.all([np.ptp(rows, axis=0) <= rounding for rows in groups], axis=0)
    if constant.any():
        column = int(np.argmax(constant))
        text = f"feature {column} is constant on {whole} rows ({groups[0][0, column]:.6g})"
        if np.ptp(x[:, column]) <= rounding[column]:
            return f"{text}, as on all rows; leave it out"
        return f"{text}; leave it out, or {A_PRIOR}"
    if n - len(groups) < d:
        return (
            f"{n} distinct rows for {d} features are too few (it takes {d + len(groups)}); use "
            f'fewer components or family="diagonal", or {A_PRIOR}'
        )
    return (
        f"{whole} rows are collinear, one feature being a linear combination of others; leave such "
        f'a feature out, or use family="diagonal"'
    )
