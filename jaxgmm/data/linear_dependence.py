"""Explanations of why a full covariance of a table's columns is singular.

A covariance is singular if some columns are linear combinations of others. The explanations are
for messages after a failed fit, and are computed with NumPy in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# A column counts as a combination of others if its residual on them is less than this fraction of
# its standard deviation, or less than rounding to its dtype.
NEGLIGIBLE = 1e-6
MOST_ROWS = 10_000  # rows that are examined
REMEDY = (
    "Leave such a column out, choose family='diagonal', or give a prior with a ridge: "
    "prior=Prior.from_data(x, ridge=1e-6)."
)
MOST_SHOWN = 3  # combinations that a message lists


def column_names(names: Sequence[str] | None, d: int) -> list[str]:
    """Return the names as a list, or "column 0" and so on if there are none."""
    return [f"column {i}" for i in range(d)] if names is None else list(names)


def dependence(x: Any, names: Sequence[str] | None = None) -> str | None:
    """Return the reason why every full covariance of the rows is singular, or None.

    The reason is a clause without a period. It names constant columns, too few rows, or columns
    that are linear combinations of others.

    Args:
      x: rows (n, d).
      names: d names of columns.

    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> dependence(np.c_[x, x.sum(axis=1)], ["a", "b", "total"])
    'total = a + b'
    """
    x = np.asarray(x)
    eps = np.finfo(x.dtype).eps if np.issubdtype(x.dtype, np.floating) else 0.0
    x = x[:: -(-len(x) // MOST_ROWS)].astype(np.float64)
    n, d = x.shape
    columns = column_names(names, d)
    constant = np.ptp(x, axis=0) == 0
    if constant.any():
        return _list_clauses(
            f"{columns[i]} is the same in every row" for i in np.flatnonzero(constant)
        )
    if n <= d:
        return f"{n} rows are too few for covariances of {d} columns"
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    threshold = np.maximum(NEGLIGIBLE, 4 * eps * np.abs(x).max(axis=0) / deviation)
    combinations = _combinations((x - mean) / deviation, threshold)
    return _list_clauses(
        _equation(target, coefficients * deviation[target] / deviation, mean, columns)
        for target, coefficients in combinations
    )


def explain_dependence(what: str, x: Any, names: Sequence[str] | None = None) -> str:
    """Return one or two sentences: what failed, the reason if the rows x (n, d) show it, a remedy.

    Args:
      what: a clause that says what failed.
      x: rows (n, d).
      names: d names of columns.
    """
    reason = dependence(x, names)
    if reason is None:
        return f"{what}: a component became empty or collapsed. Use fewer components."
    return f"{what}, since {reason}. {REMEDY}"


def _list_clauses(clauses: Iterable[str]) -> str | None:
    """Join the first MOST_SHOWN clauses, and say how many more there are; None for no clauses."""
    clauses = list(clauses)
    more = f", and {len(clauses) - MOST_SHOWN} more" if len(clauses) > MOST_SHOWN else ""
    return ", ".join(clauses[:MOST_SHOWN]) + more or None


def _combinations(z: np.ndarray, threshold: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the columns of z that are linear combinations of columns before them.

    Args:
      z: rows (n, d) whose columns have unit variance.
      threshold: the residual (d,) of each column up to which it counts as a combination.

    Returns:
      For each such column its index and its coefficients (d,), 0 for columns that take no part.
    """
    n, d = z.shape
    basis = np.zeros((n, 0))
    independent: list[int] = []
    combinations: list[tuple[int, np.ndarray]] = []
    for i, column in enumerate(z.T):
        remainder = column - basis @ (basis.T @ column)
        remainder -= basis @ (basis.T @ remainder)
        length = np.linalg.norm(remainder)
        if length > threshold[i] * np.sqrt(n):
            basis = np.concatenate([basis, remainder[:, None] / length], axis=1)
            independent.append(i)
            continue
        coefficients = np.zeros(d)
        coefficients[independent] = np.linalg.lstsq(z[:, independent], column, rcond=None)[0]
        coefficients[np.abs(coefficients) < 10 * max(threshold[i], NEGLIGIBLE)] = 0
        combinations.append((i, coefficients))
    return combinations


def _equation(target: int, coefficients: np.ndarray, mean: np.ndarray, names: Sequence[str]) -> str:
    """Format a combination, as in "total = 100 − a − 2 b"."""
    parts = []
    constant = mean[target] - coefficients @ mean
    if abs(constant) > 1e-5 * max(abs(mean[target]), np.abs(coefficients * mean).max()):
        parts.append(("−" if constant < 0 else "+", f"{abs(constant):.6g}"))
    shown = np.flatnonzero(coefficients)
    for i in map(int, shown):
        size = abs(coefficients[i])
        factor = "" if abs(size - 1) < 1e-5 else f"{size:.6g} "
        parts.append(("−" if coefficients[i] < 0 else "+", factor + names[i]))
    text = "".join(f" {sign} {term}" for sign, term in parts)
    return f"{names[target]} = " + text[3:] if text[1] == "+" else f"{names[target]} ={text}"
