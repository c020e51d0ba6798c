"""Performance profiles over several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .result import Comparison

GAP = 1e-6  # nats per unit of row weight


class Profile(NamedTuple):
    """A performance profile (Dolan & Moré 2002, Math. Programming 91, eq. 2.2).

    Attributes:
      ratio: (t,) ascending ratios of the algorithm's cost to that of the best algorithm.
      fraction: (t,) fraction of the problems that the algorithm solves within that ratio.
    """

    ratio: np.ndarray
    fraction: np.ndarray


def profile(
    comparisons: Sequence[Comparison], *, gap: float = GAP, clock: str = "passes"
) -> dict[str, Profile]:
    """Compute performance profiles over the starts of several comparisons.

    Args:
      comparisons: results of `compare`, for example on several data sets, with the same algorithms.
      gap: a start is solved where the objective is within `gap` nats per unit of row weight of the
        best optimum that any algorithm reached from it.
      clock: the cost: "passes" or "seconds".

    Returns:
      A `Profile` for each algorithm, by name.

    Raises:
      ValueError: for an unknown clock, or comparisons of different algorithms.

    (Dolan & Moré 2002, Math. Programming 91, eq. 2.2.)
    """
    names = list(comparisons[0].fits)
    if any(list(other.fits) != names for other in comparisons):
        raise ValueError(
            "comparisons of different algorithms have no common profile: pass comparisons of the "
            "same algorithms."
        )
    cost = np.stack(
        [
            np.concatenate([each.cost(name, gap=gap, clock=clock) for each in comparisons])
            for name in names
        ]
    )
    cheapest = cost.min(axis=0)
    solved = np.isfinite(cheapest)  # a start that no algorithm solves does not count
    profiles = {}
    for name, own in zip(names, cost, strict=True):
        ratio = np.sort((own / np.where(solved, cheapest, 1))[solved])
        fraction = np.arange(1, len(ratio) + 1) / max(len(ratio), 1)
        finite = np.isfinite(ratio)
        profiles[name] = Profile(ratio[finite], fraction[finite])
    return profiles
