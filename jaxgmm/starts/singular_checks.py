"""Errors for covariances that the rows do not determine, with the component and the cause."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from ..internal import checks
from ..mixture.mixture import Mixture

# A standard deviation counts as rounding error if it is less than this number of units in the last
# place of the feature's largest value.
ROUNDINGS = 4
# The smallest number on the diagonal of a factor whose inverse float64 can hold.
SMALLEST_DIAGONAL = np.exp(-700.0)
# Whether the rows of a component are distinct is examined up to this number of rows for a feature.
FEW_ROWS = 10
A_PRIOR = "pass a prior, e.g. prior=Prior.from_data(x)"


def raise_if_singular(
    mixture: Mixture,
    x: jax.Array,
    assignments: jax.Array,
    belongs: Callable[[int], np.ndarray],
    weight: jax.Array | None,
    has_prior: bool,
) -> None:
    """Raise ValueError if a covariance of `mixture` is singular up to rounding.

    Tracers are not checked.

    Args:
      mixture: the mixture, which was computed from the other arguments.
      x: rows (n, d).
      assignments: the labels or responsibilities of the rows.
      belongs: a function from a component to booleans (n,): which rows belong to it.
      weight: row weights (n,), or None.
      has_prior: whether the covariances depend on a prior too.
    """
    if checks.traced(mixture, x, assignments, weight):
        return
    values = np.asarray(x)
    counts = np.ones(len(values), bool) if weight is None else np.asarray(weight) > 0
    singular = _singular(mixture, values)
    for component in np.flatnonzero(_narrow(mixture, values) & ~singular):
        singular[component] = _is_constant(values[belongs(int(component)) & counts], values).any()

    def rows_of(component: int) -> np.ndarray:
        return np.unique(values[belongs(component) & counts].astype(np.float64), axis=0)

    if not has_prior and _is_free(mixture):
        # Where rows are too few, what rounding errors make of them may look regular.
        for component in np.flatnonzero(_may_have_few_rows(mixture, counts, weight) & ~singular):
            few = np.sum(belongs(int(component)) & counts) < FEW_ROWS * mixture.n_features
            singular[component] = few and len(rows_of(int(component))) <= mixture.n_features
    if not singular.any():
        return

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
    factor = mixture.covariance.factor_on_host(mixture.n_features)
    is_diagonal = factor.ndim == 2
    diagonal = factor if is_diagonal else np.diagonal(factor, axis1=1, axis2=2)
    with np.errstate(divide="ignore"):
        scales = 1 / diagonal  # standard deviations given the features before
    eps = np.finfo(x.dtype).eps
    resolved = np.isfinite(scales) & (scales > ROUNDINGS * eps * np.abs(x).max(axis=0))
    good = resolved.all(axis=1)
    if not is_diagonal:
        good[good] = _independence(factor[good]) > mixture.n_features * eps
    used = np.asarray(mixture.logits) > -np.inf
    return ~good & (used if len(good) == len(used) else used.any())


def _narrow(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """Return (c,) booleans: which covariances are narrow enough to be those of a constant feature.

    Where components share a volume or axes, the rounding errors of the others are in the variance
    of such a feature. It is then above the rounding errors of the feature itself. A covariance that
    all components share is not examined.
    """
    factor = mixture.covariance.factor_on_host(mixture.n_features)
    if len(factor) < mixture.n_components:
        return np.zeros(len(factor), bool)
    variances = np.zeros(factor.shape[:2])
    usable = np.isfinite(factor).reshape(len(factor), -1).all(axis=1)
    if factor.ndim == 2:
        variances[usable] = 1 / factor[usable] ** 2
    else:
        usable &= (np.diagonal(factor, axis1=1, axis2=2) > SMALLEST_DIAGONAL).all(axis=1)
        variances[usable] = np.sum(np.linalg.inv(factor[usable]) ** 2, axis=2)
    used = np.asarray(mixture.logits) > -np.inf
    small = variances < np.finfo(x.dtype).eps * np.ptp(x, axis=0).astype(np.float64) ** 2
    return usable & used & small.any(axis=1)


def _is_free(mixture: Mixture) -> bool:
    """Return whether each component's covariance depends on the rows of that component alone."""
    d = mixture.n_features
    free = mixture.covariance.n_own_parameters(d) == d * (d + 1) // 2
    return free and not mixture.frame.shared


def _may_have_few_rows(
    mixture: Mixture, counts: np.ndarray, weight: jax.Array | None
) -> np.ndarray:
    """Return (k,) booleans: which components may have few rows. `counts` says which rows count."""
    used = np.asarray(mixture.logits) > -np.inf
    if weight is not None:
        return used
    rows = np.asarray(mixture.weights, np.float64) * counts.sum()
    return used & (rows < FEW_ROWS * mixture.n_features)


def _is_constant(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return for which features (d,) these rows among all rows x are equal up to rounding."""
    if not len(rows):
        return np.zeros(x.shape[1], bool)
    return np.ptp(rows, axis=0) <= ROUNDINGS * np.finfo(x.dtype).eps * np.abs(x).max(axis=0)


def _independence(factor: np.ndarray) -> np.ndarray:
    """Return the smallest fraction of a feature's variance that earlier features do not explain.

    The result is (c,), with a number for each of the whitening factors (c, d, d).
    """
    usable = np.isfinite(factor).all(axis=(1, 2))
    usable &= (np.diagonal(factor, axis1=1, axis2=2) > SMALLEST_DIAGONAL).all(axis=1)
    fraction = np.zeros(len(factor))
    roots = np.linalg.inv(factor[usable])
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
    constant = np.all([_is_constant(rows, x) for rows in groups], axis=0)
    if constant.any():
        column = int(np.argmax(constant))
        text = f"feature {column} is constant on {owner} rows ({groups[0][0, column]:.6g})"
        if _is_constant(x, x)[column]:
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
