"""Warnings about columns that float32 cannot represent accurately."""

from __future__ import annotations

import jax
import numpy as np
from jax.typing import DTypeLike

from ..internal.warn import warn

# Rounding errors above this fraction of a standard deviation, or of a variance, cause a warning.
TOLERATED = 0.01
ROWS_AT_A_TIME = 1 << 16
SAMPLED = 1024
CURE = (
    "Subtract an offset from the column while it is float64, or compute in float64 under `with "
    "jax.enable_x64(True):`."
)


def _moments(x: np.ndarray, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and largest rounding error (d,) of each column."""
    error, mean, square = (np.zeros(x.shape[1]) for _ in range(3))
    for start in range(0, len(x), ROWS_AT_A_TIME):
        part = x[start : start + ROWS_AT_A_TIME].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.maximum(error, np.max(np.abs(part - part.astype(dtype)), axis=0))
            # Update the mean, and the sum of squares about it, of all rows so far.
            n, part_mean = start + len(part), np.mean(part, axis=0)
            shift = part_mean - mean
            square += np.sum((part - part_mean) ** 2, axis=0) + shift**2 * (start * len(part) / n)
            mean += shift * (len(part) / n)
    return mean, np.sqrt(square / len(x)), error


def warn_of_rounded_columns(x: np.ndarray | jax.Array, dtype: DTypeLike) -> None:
    """Warn if conversion to a narrower dtype rounds a column of x (n, d) too coarsely.

    This is the case if a number changes by more than 1 % of its column's standard deviation. The
    warning is for functions that return a value for each row.
    """
    if not isinstance(x, np.ndarray) or np.can_cast(x.dtype, dtype):
        return
    _, deviation, error = _moments(x, dtype)
    too_coarse = np.isfinite(error) & (error > TOLERATED * deviation)
    if too_coarse.any():
        warn(
            f"x is {x.dtype} and is computed in {dtype} because JAX's 64-bit mode is off; "
            f"column {int(np.argmax(too_coarse))} lies so far from zero, compared with its "
            f"standard deviation, that rounding costs accuracy. {CURE}"
        )


def warn_of_coarse_columns(x: np.ndarray | jax.Array, dtype: DTypeLike) -> None:
    """Warn if float32 cannot represent a mean accurately in some column of x (n, d).

    This is the case if neighboring float32 numbers near the column's mean are so far apart that a
    mean there can be off by more than 1 % of the column's standard deviation. The warning is for
    functions that fit mixtures to x, whether x itself is float32 or not.
    """
    if dtype != np.float32:
        return

    def find_coarse(rows):
        mean, deviation, _ = _moments(rows, dtype)
        step = np.spacing(np.abs(mean).astype(np.float32)).astype(np.float64)
        return (deviation > 0) & (step / 2 > TOLERATED * deviation), mean, deviation, step

    x = np.asarray(x)
    # A small sample decides whether all rows need to be examined. Its threshold is half as large,
    # and columns that are constant in the sample count as coarse.
    _, mean, deviation, step = find_coarse(x[:: max(1, len(x) // SAMPLED)])
    if not (step > TOLERATED * deviation).any():
        return
    coarse, mean, deviation, step = find_coarse(x)
    if coarse.any():
        j = int(np.argmax(coarse))
        warn(
            f"column {j} of x has a standard deviation of {deviation[j]:.3g} around {mean[j]:.8g}, "
            f"where float32 numbers lie {step[j]:.2g} apart: a component's mean there can be off "
            f"by more than 1 % of the standard deviation. {CURE}"
        )
