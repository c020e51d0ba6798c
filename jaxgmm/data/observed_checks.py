"""Checks of the parts of an `Observed`, which return them as columns beside the rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..internal import checks
from ..internal.data_frames import column_names

Array = np.ndarray | jax.Array
SHAPES = "() or (d,) variances for all rows, (n, d) variances, (d, d) or (n, d, d) covariances"


def every_column_has_a_value(x: Array, table: Any) -> None:
    """Check that no column of x is missing in every row."""
    empty = np.isnan(np.asarray(x)).all(axis=0)
    if empty.any():
        column, names = int(np.argmax(empty)), column_names(table)
        named = column if names is None or len(names) != len(empty) else repr(names[column])
        raise ValueError(f"column {named} of x has no value in any row: leave the column out.")


def is_for_all_rows(noise: Any) -> bool:
    """Return whether noise has a shape that is for all rows: (), (d,) or (d, d)."""
    shape = np.shape(noise)
    return len(shape) < 2 or (len(shape) == 2 and shape[0] == shape[1])


def noise_of_rows(noise: Any, x: Array) -> tuple[Array, Array | None, bool]:
    """Check noise; return x with NaN where it is infinite, its columns, and if rows share it.

    The columns are variances (n, d), or the lower triangles of covariances (n, d (d + 1)/2). There
    are none if no row has noise.
    """
    if noise is None:
        return x, None, False
    values = checks.array(noise, "noise")
    n, d = x.shape
    matrices = values.ndim == 3 or values.shape == (d, d)
    if values.shape == (d, d) and n == d:
        raise ValueError(
            f"noise has shape {values.shape}, which is ambiguous because x has as many rows as "
            f"columns: pass covariances ({n}, {d}, {d}), which have variances on their diagonals."
        )
    if values.shape not in ((), (d,), (n, d), (d, d), (n, d, d)):
        raise ValueError(f"noise has shape {values.shape}: pass {SHAPES}; here n = {n}, d = {d}.")
    xp: Any = np
    if checks.traced(values, x):
        xp, values = jnp, jnp.asarray(values)
    else:
        values = np.asarray(values)
    if values.shape in ((), (d,), (d, d)):
        values = xp.broadcast_to(values, (1, d, d) if matrices else (1, d))
    elif xp is np and (values == values[:1]).all():
        values = values[:1]
    x, columns = (_covariances if matrices else _variances)(values, x, xp)
    if columns is None:
        return x, None, False
    return x, xp.broadcast_to(columns, (n, columns.shape[1])), len(values) == 1


def _variances(values: Array, x: Array, xp: Any) -> tuple[Array, Array | None]:
    """Return x and the columns of noise (n, d) for each row, or (1, d) for all rows."""
    if xp is np:
        bad = ((values < 0) | np.isnan(values)) & ~np.isnan(x)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            number = np.broadcast_to(values, x.shape)[row, column]
            raise ValueError(
                f"the noise of row {row}, column {column} is {number}: pass variances "
                "(squares of standard deviations), not negative; 0 is exact, infinity is missing."
            )
    x, cut = _mark_missing(x, xp.isinf(values), xp)
    values = xp.where(cut, 0, values)
    return x, None if xp is np and not values.any() else values


def _mark_missing(x: Array, infinite: Array, xp: Any) -> tuple[Array, Array]:
    """Return x with NaN where noise is infinite, and where noise is replaced by 0.

    Noise of single rows (n, d) is replaced at missing values, and noise for all rows (1, d) only
    where it is infinite.
    """
    unknown = xp.isnan(x) | infinite
    own = len(infinite) == len(x)
    return xp.where(unknown, np.nan, x).astype(x.dtype), unknown if own else infinite


def _covariances(values: Array, x: Array, xp: Any) -> tuple[Array, Array | None]:
    """Return x and the columns of noise (n, d, d) for each row, or (1, d, d) for all rows."""
    d = x.shape[1]
    x, cut = _mark_missing(x, xp.isinf(xp.diagonal(values, axis1=1, axis2=2)), xp)
    values = xp.where(cut[:, :, None] | cut[:, None, :], 0, values)
    if xp is np:
        _check_covariances(np.asarray(values))
        if not values.any():
            return x, None
        if not (values * (1 - np.eye(d))[None]).any():
            return x, np.diagonal(values, axis1=1, axis2=2)
    rows, columns = np.tril_indices(d)
    return x, values[:, rows, columns]


def _check_covariances(values: np.ndarray) -> None:
    """Check that covariances (n, d, d) are finite, symmetric and positive semidefinite."""
    remedy = "pass symmetric positive semidefinite matrices, in squared units of x."
    finite = np.isfinite(values).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(f"the noise of row {np.argmin(finite)} contains NaN or infinity: {remedy}")
    d, eps = values.shape[1], np.finfo(np.result_type(values, np.float32)).eps
    trace = np.trace(values, axis1=1, axis2=2)
    rounding = 8 * d * eps * np.abs(trace)
    skew = np.abs(values - np.swapaxes(values, 1, 2)).max(axis=(1, 2)) > rounding
    if skew.any():
        raise ValueError(f"the noise of row {np.argmax(skew)} is not symmetric: {remedy}")
    least = np.linalg.eigvalsh(values.astype(np.float64))[:, 0]
    negative = least < -rounding
    if negative.any():
        raise ValueError(
            f"the noise of row {np.argmax(negative)} is not a covariance, because it is negative "
            f"in some direction: {remedy}"
        )


def labels(values: Any, n: int) -> Array | None:
    """Check labels of rows, whole numbers from −1, and return them as (n,)."""
    if values is None:
        return None
    array = checks.array(values, "labels")
    if array.shape != (n,):
        raise ValueError(f"labels has shape {array.shape}: x has {n} rows, so pass shape ({n},).")
    if not checks.traced(array):
        array = np.asarray(array)
        bad = ~((array == np.floor(array)) & (array >= -1))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"labels[{first}] is {array[first]}: labels are whole numbers from 0, the number "
                "of a component, or −1 where it is unknown."
            )
    return array


def log_odds(allowed: Any, odds: Any, n: int, dtype: DTypeLike) -> Array | None:
    """Check `allowed` and `log_odds`, and return what they add to the log-joint (n, k) or None."""
    if allowed is None and odds is None:
        return None
    total: Any = None
    if odds is not None:
        total = checks.array(odds, "log_odds")
        _check_shape(total, "log_odds", n)
        if not checks.traced(total):
            total = np.asarray(total)
            bad = np.isnan(total) | (total == np.inf)
            if bad.any():
                row, column = (int(i) for i in np.argwhere(bad)[0])
                raise ValueError(
                    f"log_odds[{row}, {column}] is {total[row, column]}: pass finite numbers, or "
                    "−inf for a component that is excluded."
                )
    if allowed is not None:
        mask = checks.array(allowed, "allowed")
        _check_shape(mask, "allowed", n)
        if not checks.traced(mask) and not np.isin(np.asarray(mask), (0, 1)).all():
            raise ValueError("allowed has values other than True and False: pass booleans (n, k).")
        xp: Any = jnp if checks.traced(mask, total) else np
        if total is not None and total.shape != mask.shape:
            raise ValueError(
                f"allowed has shape {mask.shape} and log_odds {total.shape}: pass the same shape."
            )
        total = xp.where(mask == 1, xp.zeros((), dtype) if total is None else total, -np.inf)
    return total


def _check_shape(array: Array, name: str, n: int) -> None:
    if array.ndim != 2 or array.shape[0] != n or array.shape[1] < 1:
        raise ValueError(
            f"{name} has shape {array.shape}: pass (n, k), here {n} rows and a column for each "
            "component."
        )


def every_row_is_allowed(labels: Array | None, odds: Array | None) -> None:
    """Check that some component may have each row."""
    if odds is None:
        return
    possible = np.asarray(odds) > -np.inf
    if labels is not None:
        own = np.asarray(labels).astype(int)[:, None]
        possible = possible & ((own < 0) | (own == np.arange(possible.shape[1])[None]))
    some = possible.any(axis=1)
    if not some.all():
        raise ValueError(
            f"row {int(np.argmin(some))} has no allowed component: allow at least one."
        )
