"""The front door for rows, and for what comes with each of them: continues `checks.py`."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks
from .column_precision import warn_of_rounded_columns
from .sources import Source

ROWS_AT_A_TIME = 1 << 16


def first_bad_row(x: np.ndarray | jax.Array) -> int | None:
    """The first row with a NaN or an infinity, or None."""
    x = np.asarray(x)
    for start in range(0, len(x), ROWS_AT_A_TIME):
        good = np.isfinite(x[start : start + ROWS_AT_A_TIME]).all(axis=1)
        if not good.all():
            return start + int(np.argmin(good))
    return None


def check_rows(
    x, *, like=None, judge=warn_of_rounded_columns
) -> tuple[np.ndarray | jax.Array, np.dtype]:
    """x as a finite (n, d) array, and the dtype it is computed in.

    Raises ValueError for anything else. `judge`, a function of both, warns where the dtype cannot
    hold x; None is for callers that judge by a mixture (see `resolution.py`), or not at all.
    """
    if isinstance(x, Source):
        raise ValueError(f"x is {type(x).__name__}(…), and this needs an array (n, d).")
    found = checks.array(x, "x")
    if found.ndim == 1:
        raise ValueError(
            f"x has shape {found.shape}: rows and columns are needed. For one feature pass "
            "x[:, None], for one row x[None, :]."
        )
    if found.ndim != 2:
        raise ValueError(f"x has shape {found.shape}: pass (n, d), n rows of d features.")
    if 0 in found.shape:
        what = "rows" if found.shape[0] == 0 else "columns"
        raise ValueError(f"x has shape {found.shape}: it has no {what}.")
    dtype = checks.float_dtype(found.dtype, like)
    if not checks.traced(found):
        if jnp.issubdtype(found.dtype, jnp.floating):
            bad = first_bad_row(found)
            if bad is not None:
                raise ValueError(
                    f"row {bad} of x holds NaN or infinity: drop or fill such rows (missing values "
                    "are not supported yet)."
                )
        if judge is not None:
            judge(found, dtype)
    return found, dtype


def data(x, *, like=None, judge=warn_of_rounded_columns) -> jax.Array:
    """x as a finite (n, d) array in the dtype it is computed in. Raises ValueError as `checked`,
    and for numbers that do not fit the dtype."""
    found, dtype = check_rows(x, like=like, judge=judge)
    return checks.cast(found, "x", dtype)


def weights_of_rows(weight, n: int, dtype) -> jax.Array | None:
    """Row weights as (n,), or None for all ones. Raises ValueError for anything else."""
    if weight is None:
        return None
    found = checks.array(weight, "weight")
    if found.shape != (n,):
        raise ValueError(f"weight has shape {found.shape}: x has {n} rows, so pass shape ({n},).")
    if not checks.traced(found):
        values = np.asarray(found)
        if not np.isfinite(values).all() or (values < 0).any():
            bad = int(np.argmax(~(np.isfinite(values) & (values >= 0))))
            raise ValueError(
                f"weight[{bad}] is {values[bad]}: row weights are finite and not negative."
            )
        if not values.any():
            raise ValueError("all row weights are zero: give some row a positive weight.")
    return checks.cast(found, "weight", dtype)


def weights_count_rows(weight) -> None:
    """Warns of row weights that sum to no more than 1: shares, as of a normalized histogram."""
    if weight is None or checks.traced(weight) or len(weight) == 1:
        return
    total = np.sum(np.asarray(weight), dtype=np.float64)
    if total <= 1 + 1e-3:
        warnings.warn(
            f"the row weights sum to {total:.4g}, but they count rows: the prior outweighs such "
            "rows, and BIC takes them for a single one. Multiply the weights by the number of rows "
            "observed.",
            UserWarning,
            stacklevel=3,
        )


def squares_fit(x: jax.Array) -> None:
    """The numbers in x are of a size whose squares, summed, stay in the range of their dtype."""
    if not checks.traced(x):
        values = np.asarray(x)  # NumPy: inside a trace a jnp call would give a tracer
        extent_fits(values.min(axis=0), values.max(axis=0))


def folds(value, n: int) -> int:
    """A number of folds that n rows can be dealt to; 0 for none."""
    value = checks.whole(value, "folds", 0)
    if value == 1 or value > n:
        raise ValueError(f"folds is {value}: give 0, or 2 to {n} (the number of rows).")
    return value


def same_features(mixture_features: int, columns: int) -> None:
    """x has as many columns as the mixture has features."""
    if columns != mixture_features:
        raise ValueError(
            f"x has {columns} columns and the mixture {mixture_features} features: pass the "
            "features that the mixture was made for, in their order."
        )


def distinct_rows(x, weight, most: int) -> int:
    """How many distinct rows of positive weight there are, up to `most`."""
    return distinct_in([(x, weight)], most)


def enough_distinct_rows(x: jax.Array, weight, k: int) -> None:
    """At least k distinct rows of positive weight."""
    if not checks.traced(x, weight):
        enough_distinct_in([(x, weight)], k)


def responsibilities_of_rows(responsibilities, n: int, dtype) -> jax.Array:
    """Responsibilities as (n, k): finite, not negative. Raises ValueError for anything else."""
    found = checks.array(responsibilities, "responsibilities")
    if found.ndim != 2 or found.shape[0] != n or found.shape[1] < 1:
        raise ValueError(
            f"responsibilities have shape {found.shape}: pass (n, k), here {n} rows and a column "
            "for each component."
        )
    if not checks.traced(found):
        values = np.asarray(found)
        good = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1)
        if not good.all():
            raise ValueError(
                f"row {int(np.argmin(good))} of the responsibilities holds a negative number, NaN "
                "or infinity: responsibilities are shares between 0 and 1."
            )
    return checks.cast(found, "responsibilities", dtype)


def same_components(k: int, responsibilities: jax.Array) -> None:
    """The responsibilities have a column for each of the mixture's k components."""
    if responsibilities.shape[1] != k:
        raise ValueError(
            f"responsibilities have {responsibilities.shape[1]} columns, and the mixture has {k} "
            "components."
        )


def labels_of_rows(labels, n: int, n_components: int | None) -> tuple[jax.Array, int]:
    """Labels 0 … k−1 as (n,) integers, and k. Raises ValueError for anything else."""
    found = checks.array(labels, "labels")
    if found.shape != (n,):
        raise ValueError(f"labels has shape {found.shape}: x has {n} rows, so pass shape ({n},).")
    if n_components is None:
        if checks.traced(found):
            raise ValueError("n_components is needed where labels are traced.")
        n_components = max(int(np.max(np.asarray(found))) + 1, 1)
    k = checks.whole(n_components, "n_components", 1)
    if not checks.traced(found):
        values = np.asarray(found)
        bad = ~((values == np.floor(values)) & (values >= 0) & (values < k))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"labels[{first}] is {values[first]}: with {k} components, labels are the whole "
                f"numbers 0 to {k - 1}."
            )
    return jnp.asarray(found).astype(jnp.int32), k


def extent_fits(low: np.ndarray, high: np.ndarray) -> None:
    """Features that run from `low` to `high` (d,) have squares in the range of their dtype."""
    limits = np.finfo(low.dtype)
    most, least = float(limits.max) ** 0.5 * 1e-3, float(limits.tiny) ** 0.5 * 1e3
    extent = high.astype(np.float64) - low
    bad = (np.maximum(-low, high) > most) | ((extent > 0) & (extent < least))
    if bad.any():
        column = int(np.argmax(bad))
        raise ValueError(
            f"column {column} of x runs from {low[column]:.3g} to {high[column]:.3g}: its squares "
            f"leave the range of {low.dtype}. Rescale it."
        )


def distinct_in(pieces, most: int) -> int:
    """How many distinct rows of positive weight there are in pieces (x, weight), up to `most`;
    looks no further than it must."""
    seen = None
    for x, weight in pieces:
        rows = np.asarray(x)
        counts = None if weight is None else np.asarray(weight) > 0
        seen, start, size = rows[:0] if seen is None else seen, 0, 4 * most
        while start < len(rows) and len(seen) < most:
            part = rows[start : start + size]
            part = part if counts is None else part[counts[start : start + size]]
            seen = np.unique(np.concatenate([seen, part]), axis=0)
            start, size = start + size, min(4 * size, ROWS_AT_A_TIME)
        if len(seen) >= most:
            return most
    return len(seen)


def enough_distinct_in(pieces, k: int) -> None:
    """At least k distinct rows of positive weight in pieces (x, weight)."""
    found = distinct_in(pieces, k)
    if found < k:
        raise ValueError(
            f"{k} components need {k} distinct rows, and x has {found} (of positive weight): use "
            "fewer components."
        )
