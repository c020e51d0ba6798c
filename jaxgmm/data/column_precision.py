"""Warnings where float32 cannot represent a column of the data accurately."""

from __future__ import annotations

import numpy as np

from ..internal.warn import warn

# An error above this share of a width, or of a variance, is said.
TOLERATED = 0.01
ROWS_AT_A_TIME = 1 << 16
SAMPLED = 1024
CURE = (
    "Subtract an offset from the column while it is float64, or compute in float64 under `with "
    "jax.enable_x64(True):`."
)


# ---- columns -----------------------------------------------------------------------------------


def _moments(x: np.ndarray, dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, and how far rounding moves a number at most."""
    moved, mean, square = (np.zeros(x.shape[1]) for _ in range(3))
    for start in range(0, len(x), ROWS_AT_A_TIME):
        part = x[start : start + ROWS_AT_A_TIME].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = np.maximum(moved, np.max(np.abs(part - part.astype(dtype)), axis=0))
            # the mean and the sum of squares about it, of all rows so far
            n, own = start + len(part), np.mean(part, axis=0)
            apart = own - mean
            square += np.sum((part - own) ** 2, axis=0) + apart**2 * (start * len(part) / n)
            mean += apart * (len(part) / n)
    return mean, np.sqrt(square / len(x)), moved


def warn_of_rounded_columns(x, dtype) -> None:
    """Warns if rounding x (n, d) to a narrower dtype moves a number by 1 % of its column's standard
    deviation: for callers that return something for each row."""
    if not isinstance(x, np.ndarray) or np.can_cast(x.dtype, dtype):
        return
    _, spread, moved = _moments(x, dtype)
    costs = np.isfinite(moved) & (moved > TOLERATED * spread)
    if costs.any():
        warn(
            f"x is {x.dtype} and is computed in {dtype} because JAX's 64-bit mode is off; "
            f"column {int(np.argmax(costs))} lies so far from zero against its spread that "
            f"rounding costs accuracy. {CURE}"
        )


def warn_of_coarse_columns(x, dtype) -> None:
    """Warns if float32 numbers lie so coarsely around a column's mean that a mean there is not held
    to 1 % of the column's standard deviation: for callers that fit mixtures to x (n, d), float32 or
    not."""
    if dtype != np.float32:
        return

    def coarse(rows):
        mean, spread, _ = _moments(rows, dtype)
        step = np.spacing(np.abs(mean).astype(np.float32)).astype(np.float64)
        return (spread > 0) & (step / 2 > TOLERATED * spread), mean, spread, step

    x = np.asarray(x)
    # A few rows tell whether all of them need a look: half as coarse there, or all the same.
    _, mean, spread, step = coarse(x[:: max(1, len(x) // SAMPLED)])
    if not (step > TOLERATED * spread).any():
        return
    found, mean, spread, step = coarse(x)
    if found.any():
        j = int(np.argmax(found))
        warn(
            f"column {j} of x has a standard deviation of {spread[j]:.3g} around {mean[j]:.8g}, "
            f"where float32 numbers lie {step[j]:.2g} apart: no component there is held to 1 %. "
            f"{CURE}"
        )
