"""Medians over starts with bootstrap intervals, and which algorithm has the smallest one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

REPLICATES = 2000
WINS, TIED = "wins", "tied"


class Median(NamedTuple):
    """A median with its bootstrap interval; all are NaN where there are no values.

    Attributes:
      value: the median.
      low: lower end of the interval.
      high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def interval(self) -> str:
        """Return the interval as text."""
        finite = [f"{end:.3g}" if np.isfinite(end) else "∞" for end in (self.low, self.high)]
        return "–" if np.isnan(self.value) else f"[{finite[0]}, {finite[1]}]"


def resample(count: int) -> np.ndarray:
    """Return the indices (replicates, count) of bootstrap samples, the same in every call."""
    return np.random.default_rng(0).integers(0, max(count, 1), (REPLICATES, count))


def median_of(values: np.ndarray, level: float = 0.95) -> Median:
    """Return the median of values, which may be infinite, with a percentile interval.

    (Efron & Tibshirani 1993, An Introduction to the Bootstrap, sec. 13.3.)
    """
    values = np.asarray(values, np.float64)
    if not len(values) or np.isnan(values).any():
        return Median(np.nan, np.nan, np.nan)
    medians = _median(values[resample(len(values))])
    tail = 100 * (1 - level) / 2
    # Neither end is interpolated, since the difference of two infinite values is not a number.
    low = np.percentile(medians, tail, method="lower")
    high = np.percentile(medians, 100 - tail, method="higher")
    return Median(float(_median(values[None])[0]), float(low), float(high))


def judge(costs: dict[str, np.ndarray], level: float = 0.95) -> dict[str, str]:
    """Return "wins" for the algorithm of the smallest median cost, "tied" or "" for the others.

    The costs of all algorithms are those of the same starts. An algorithm is tied with the winner
    if the bootstrap interval of the difference of their medians, over the same resampled starts,
    contains 0. Nobody wins where there are no starts, or where no median is finite.
    """
    names = list(costs)
    values = np.stack([np.asarray(costs[name], np.float64) for name in names])
    if not values.shape[1]:
        return dict.fromkeys(names, "")
    medians = _median(values)
    best = int(np.argmin(medians))
    if not np.isfinite(medians[best]):
        return dict.fromkeys(names, "")
    index = resample(values.shape[1])
    resampled = np.stack([_median(own[index]) for own in values])
    with np.errstate(invalid="ignore"):
        excess = np.where(np.isinf(resampled), np.inf, resampled - resampled[best][None])
    lowest = np.percentile(excess, 100 * (1 - level) / 2, axis=1, method="lower")
    verdict = {name: TIED if below <= 0 else "" for name, below in zip(names, lowest, strict=True)}
    return verdict | {names[best]: WINS}


def _median(values: np.ndarray) -> np.ndarray:
    """Return the medians over the last axis; that of infinite values is infinite."""
    ordered = np.sort(values, axis=-1)
    middle = values.shape[-1] // 2
    if values.shape[-1] % 2:
        return ordered[..., middle]
    return ordered[..., middle - 1] / 2 + ordered[..., middle] / 2
