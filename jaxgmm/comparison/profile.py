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

    fraction (t,) of the problems that an algorithm solved within ratio (t,) times the cost of the
    best algorithm on each."""

    ratio: np.ndarray
    fraction: np.ndarray


def profile(
    comparisons: Sequence[Comparison], *, gap: float = GAP, clock: str = "passes"
) -> dict[str, Profile]:
    """`Comparison.profile` over the starts of several comparisons, as of several data sets.

    Args:
      comparisons: results of `compare`, of the same algorithms.
      gap: nats per unit of row weight from the best optimum reached, at which a start is solved.
      clock: "passes" or "seconds".

    Returns:
      A `Profile` for each algorithm, by name.

    Raises:
      ValueError: for another clock, or comparisons of different algorithms.

    (Dolan & Moré 2002, Math. Programming 91, eq. 2.2.)
    """
    names = list(comparisons[0].fits)
    if any(list(other.fits) != names for other in comparisons):
        raise ValueError("comparisons of different algorithms have no common profile.")
    cost = np.stack(
        [
            np.concatenate([found.cost(name, gap=gap, clock=clock) for found in comparisons])
            for name in names
        ]
    )
    cheapest = cost.min(axis=0)
    solved = np.isfinite(cheapest)  # a start that none solves tells nothing
    profiles = {}
    for name, own in zip(names, cost, strict=True):
        ratio = np.sort((own / np.where(solved, cheapest, 1))[solved])
        fraction = np.arange(1, len(ratio) + 1) / max(len(ratio), 1)
        finite = np.isfinite(ratio)
        profiles[name] = Profile(ratio[finite], fraction[finite])
    return profiles
