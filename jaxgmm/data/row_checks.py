"""Validation of rows, and of arguments with a value for each row, such as weights and labels.

The functions raise ValueError with a message that says what to do. Values are checked only where
there are values: of a tracer, only the shape and the dtype are checked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..internal import checks
from ..internal.data_frames import column_names
from .column_rounding_warnings import warn_of_rounded_columns
from .sources import Source

ROWS_AT_A_TIME = 1 << 16


WAY_OUT = "If NaN means a missing value, pass jaxgmm.Observed(x)"


def find_not_finite(
    x: np.ndarray | jax.Array, missing: bool = False
) -> tuple[int, int, str] | None:
    """Return the row, the column and the kind, "NaN" or "infinity", of the first such number.

    The result is None if all numbers are finite, or, if values may be `missing`, none is infinite.
    """
    x = np.asarray(x)
    for start in range(0, len(x), ROWS_AT_A_TIME):
        part = x[start : start + ROWS_AT_A_TIME]
        finite = ~np.isinf(part) if missing else np.isfinite(part)
        if not finite.all():
            row, column = (int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
            return start + row, column, "NaN" if np.isnan(x[start + row, column]) else "infinity"
    return None


def _count_not_finite(x: np.ndarray | jax.Array) -> int:
    """Return the number of rows with a NaN or an infinity."""
    x, starts = np.asarray(x), range(0, len(x), ROWS_AT_A_TIME)
    finite = (np.isfinite(x[start : start + ROWS_AT_A_TIME]).all(axis=1) for start in starts)
    return len(x) - sum(int(part.sum()) for part in finite)


def what_to_do(what: str) -> str:
    """Return what to do about a row with NaN or infinity."""
    other = f" {WAY_OUT}." if what == "NaN" else ""
    return f"drop or correct such rows.{other}"


def _check_finite(rows: np.ndarray | jax.Array, x: Any, missing: bool = False) -> None:
    """Check that rows are finite; the error has the names of x's columns if it is a table.

    Values that are NaN pass the check if they may be `missing`.
    """
    found = find_not_finite(rows, missing)
    if found is not None:
        row, column, what = found
        names = column_names(x)
        of_column = column if names is None or len(names) != rows.shape[1] else repr(names[column])
        count = _count_not_finite(rows)
        others = "the only such row" if count == 1 else f"one of {count} such rows"
        raise ValueError(
            f"row {row} of x contains {what} in column {of_column} ({others} among {len(rows)}): "
            f"{what_to_do(what)}"
        )


def check_rows(
    x: Any,
    *,
    like: DTypeLike | None = None,
    warn_of_columns: Callable[..., None] | None = warn_of_rounded_columns,
    missing: bool = False,
) -> tuple[np.ndarray | jax.Array, np.dtype]:
    """Check an array of rows; return it as (n, d) together with the dtype to compute in.

    Args:
      x: an array, list or table (n, d) of finite numbers.
      like: the dtype for whole numbers; None for JAX's default.
      warn_of_columns: a function of the array and the dtype, which warns if the dtype cannot
        represent the columns. None is for callers that warn about a mixture instead (see
        `mixture/component_rounding_warnings.py`), or do not warn.
      missing: whether NaN stands for a missing value.
    """
    if isinstance(x, Source):
        raise ValueError(
            f"x is a {type(x).__name__}, but this function needs an array: pass rows (n, d)."
        )
    rows = checks.array(x, "x")
    if rows.ndim == 1:
        array = "x" if isinstance(x, np.ndarray | jax.Array) else "np.asarray(x)"
        raise ValueError(
            f"x has shape {rows.shape}, but rows and columns are needed: for one feature pass "
            f"{array}[:, None], for one row {array}[None, :]."
        )
    if rows.ndim != 2:
        image = rows.ndim == 3 and rows.shape[2] in (3, 4)
        pixels = f", e.g. the pixels of an image, x.reshape(-1, {rows.shape[2]})" if image else ""
        raise ValueError(f"x has shape {rows.shape}: pass (n, d), n rows of d features{pixels}.")
    if 0 in rows.shape:
        what = "rows" if rows.shape[0] == 0 else "columns"
        raise ValueError(f"x has shape {rows.shape}, that is, no {what}: pass at least one.")
    dtype = checks.float_dtype(rows.dtype, like)
    if not checks.traced(rows):
        if jnp.issubdtype(rows.dtype, jnp.floating):
            _check_finite(rows, x, missing)
        if warn_of_columns is not None:
            warn_of_columns(rows, dtype)
    return rows, dtype


def data(
    x: Any,
    *,
    like: DTypeLike | None = None,
    warn_of_columns: Callable[..., None] | None = warn_of_rounded_columns,
) -> jax.Array:
    """Check an array of rows as `check_rows` does; return it as (n, d) in the dtype to compute in.

    Numbers that do not fit that dtype raise ValueError as well.
    """
    rows, dtype = check_rows(x, like=like, warn_of_columns=warn_of_columns)
    return checks.cast(rows, "x", dtype)


def weights_of_rows(weight: Any, n: int, dtype: DTypeLike) -> jax.Array | None:
    """Check row weights and return them as (n,), or None if every row counts once."""
    if weight is None:
        return None
    weights = checks.array(weight, "weight")
    if weights.shape != (n,):
        raise ValueError(f"weight has shape {weights.shape}: x has {n} rows, so pass shape ({n},).")
    if not checks.traced(weights):
        values = np.asarray(weights)
        if not np.isfinite(values).all() or (values < 0).any():
            bad = int(np.argmax(~(np.isfinite(values) & (values >= 0))))
            raise ValueError(
                f"weight[{bad}] is {values[bad]}: row weights must be finite and not negative."
            )
        if not values.any():
            raise ValueError("all row weights are zero: give at least one row a positive weight.")
    return checks.cast(weights, "weight", dtype)


def weights_count_rows(weight: Any) -> None:
    """Warn if row weights sum to at most 1, such as the fractions of a normalized histogram."""
    if weight is None or checks.traced(weight) or len(weight) == 1:
        return
    total = np.sum(np.asarray(checks.array(weight, "weight")), dtype=np.float64)
    if total <= 1 + 1e-3:
        warnings.warn(
            f"the row weights sum to {total:.4g}, but they count rows: the prior outweighs such "
            "rows, and BIC treats them as a single row. Multiply the weights by the number of "
            "observed rows.",
            UserWarning,
            stacklevel=3,
        )


def squares_fit(x: jax.Array) -> None:
    """Check that sums of squares of the numbers in x (n, d) stay in the range of their dtype."""
    if not checks.traced(x):
        values = np.asarray(x)  # not jnp, which inside a trace would return a tracer
        extent_fits(*ends(values))


def folds(value: Any, n: int) -> int:
    """Check and return a number of cross-validation folds of n rows; 0 for no cross-validation."""
    value = checks.whole(value, "folds", 0)
    if value == 1 or value > n:
        raise ValueError(f"folds is {value}: pass 0, or 2 to {n} (the number of rows).")
    return value


def same_features(mixture_features: int, columns: int) -> None:
    """Check that x has as many columns as the mixture has features."""
    if columns != mixture_features:
        raise ValueError(
            f"x has {columns} columns and the mixture {mixture_features} features: "
            "pass the same features that the mixture was fitted to, in the same order."
        )


def responsibilities_of_rows(responsibilities: Any, n: int, dtype: DTypeLike) -> jax.Array:
    """Check responsibilities, which are finite and not negative, and return them as (n, k)."""
    array = checks.array(responsibilities, "responsibilities")
    if array.ndim != 2 or array.shape[0] != n or array.shape[1] < 1:
        raise ValueError(
            f"responsibilities have shape {array.shape}: pass (n, k), here {n} rows and a column "
            "for each component."
        )
    if not checks.traced(array):
        values = np.asarray(array)
        good = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1)
        if not good.all():
            raise ValueError(
                f"row {int(np.argmin(good))} of the responsibilities contains a negative number, "
                "NaN or infinity: responsibilities are between 0 and 1."
            )
    return checks.cast(array, "responsibilities", dtype)


def same_components(k: int, responsibilities: jax.Array) -> None:
    """Check that responsibilities have a column for each of the mixture's k components."""
    if responsibilities.shape[1] != k:
        raise ValueError(
            f"responsibilities have {responsibilities.shape[1]} columns, and the mixture has {k} "
            "components: pass a column for each component."
        )


def labels_of_rows(labels: Any, n: int, n_components: int | None) -> tuple[jax.Array, int]:
    """Check labels 0 … k−1 and return them as integers (n,), together with k."""
    array = checks.array(labels, "labels")
    if array.shape != (n,):
        raise ValueError(f"labels has shape {array.shape}: x has {n} rows, so pass shape ({n},).")
    if n_components is None:
        if checks.traced(array):
            raise ValueError("the labels are traced: pass n_components as well.")
        n_components = max(int(np.max(np.asarray(array))) + 1, 1)
    k = checks.whole(n_components, "n_components", 1)
    if not checks.traced(array):
        values = np.asarray(array)
        bad = ~((values == np.floor(values)) & (values >= 0) & (values < k))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"labels[{first}] is {values[first]}: labels of {k} components must be whole "
                f"numbers from 0 to {k - 1}."
            )
    return jnp.asarray(array).astype(jnp.int32), k


def ends(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value (d,) of each column; NaN does not count."""
    if not np.isnan(np.min(x)):
        return x.min(axis=0), x.max(axis=0)
    return np.fmin.reduce(x, axis=0), np.fmax.reduce(x, axis=0)


def extent_fits(low: np.ndarray, high: np.ndarray) -> None:
    """Check that squares of features between `low` and `high` (d,) stay in their dtype's range."""
    limits = np.finfo(low.dtype)
    most, least = float(limits.max) ** 0.5 * 1e-3, float(limits.tiny) ** 0.5 * 1e3
    extent = high.astype(np.float64) - low
    bad = (np.maximum(-low, high) > most) | ((extent > 0) & (extent < least))
    if bad.any():
        column = int(np.argmax(bad))
        raise ValueError(
            f"column {column} of x runs from {low[column]:.3g} to {high[column]:.3g}, and squares "
            f"of such numbers leave the range of {low.dtype}. Rescale the column."
        )
