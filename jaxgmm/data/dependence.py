"""Which columns of a table are a linear combination of others, in words: why a full covariance of
them is singular. For messages after a fit has failed; in NumPy and float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A column is a combination of others where what they leave of it is less than this share of its
# standard deviation, or than rounding to its dtype is.
NEGLIGIBLE = 1e-6
MOST_ROWS = 10_000  # that are looked at
REMEDY = (
    "Leave such a column out, choose family='diagonal', or give a prior with a ridge: "
    "prior=Prior.from_data(x, ridge=1e-6)."
)
MOST_SHOWN = 3  # combinations that are told, and columns in one of them beside the first


def column_names(names: Sequence[str] | None, d: int) -> list[str]:
    """The names, or "column 0" and so on."""
    return [f"column {i}" for i in range(d)] if names is None else list(names)


def dependence(x, names: Sequence[str] | None = None) -> str | None:
    """What makes every full covariance of the rows x (n, d) singular, as a clause without a full
    stop; None if nothing does: constant columns, fewer rows than columns, or columns that are
    linear combinations of others, as "total = a + b".

    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> dependence(np.c_[x, x.sum(axis=1)], ["a", "b", "total"])
    'total = a + b'
    """
    x = np.asarray(x)
    eps = np.finfo(x.dtype).eps if np.issubdtype(x.dtype, np.floating) else 0.0
    x = x[:: -(-len(x) // MOST_ROWS)].astype(np.float64)
    n, d = x.shape
    names = column_names(names, d)
    constant = np.ptp(x, axis=0) == 0
    if constant.any():
        return _list_clauses(
            f"{names[i]} is the same in every row" for i in np.flatnonzero(constant)
        )
    if n <= d:
        return f"{n} rows are too few for covariances of {d} columns"
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    least = np.maximum(NEGLIGIBLE, 4 * eps * np.abs(x).max(axis=0) / deviation)
    found = _combinations((x - mean) / deviation, least)
    return _list_clauses(
        _equation(target, share * deviation[target] / deviation, mean, names)
        for target, share in found
    )


def explain_dependence(what: str, x, names: Sequence[str] | None = None) -> str:
    """`what` failed, why as far as the rows x (n, d) tell, and what to do: one or two sentences."""
    cause = dependence(x, names)
    if cause is None:
        return f"{what}: a component empties or collapses. Use fewer components."
    return f"{what}, since {cause}. {REMEDY}"


def _list_clauses(clauses) -> str | None:
    clauses = list(clauses)
    more = f", and {len(clauses) - MOST_SHOWN} more" if len(clauses) > MOST_SHOWN else ""
    return ", ".join(clauses[:MOST_SHOWN]) + more or None


def _combinations(z: np.ndarray, least: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each column of z (n, d), of unit variance, that depends on columns before it, with its
    coefficients (d,), 0 where a column takes no part."""
    n, d = z.shape
    basis, independent, found = np.zeros((n, 0)), [], []
    for i, column in enumerate(z.T):
        left = column - basis @ (basis.T @ column)
        left -= basis @ (basis.T @ left)
        length = np.linalg.norm(left)
        if length > least[i] * np.sqrt(n):
            basis = np.concatenate([basis, left[:, None] / length], axis=1)
            independent.append(i)
            continue
        share = np.zeros(d)
        share[independent] = np.linalg.lstsq(z[:, independent], column, rcond=None)[0]
        share[np.abs(share) < 10 * max(least[i], NEGLIGIBLE)] = 0
        found.append((i, share))
    return found


def _equation(target: int, coefficients, mean, names) -> str:
    """ "total = 100 − a − 2 b"."""
    parts = []
    constant = mean[target] - coefficients @ mean
    if abs(constant) > 1e-5 * max(abs(mean[target]), np.abs(coefficients * mean).max()):
        parts.append(("−" if constant < 0 else "+", f"{abs(constant):.6g}"))
    shown = np.flatnonzero(coefficients)
    for i in shown:
        size = abs(coefficients[i])
        factor = "" if abs(size - 1) < 1e-5 else f"{size:.6g} "
        parts.append(("−" if coefficients[i] < 0 else "+", factor + names[i]))
    text = "".join(f" {sign} {term}" for sign, term in parts)
    return f"{names[target]} = " + text[3:] if text[1] == "+" else f"{names[target]} ={text}"
