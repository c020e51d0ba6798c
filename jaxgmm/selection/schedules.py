"""Which lanes of a sweep move, and how far: a strategy is a function in the table `STRATEGIES`.

It is given the lanes, the *cells* (the restarts of one K and fold), and for each K + 1 the lanes
that begin by splitting the best fit of K, with the cell they come from.
"""

from __future__ import annotations

import numpy as np

from ..fitting.status import Status
from .lanes import Lanes

SPLITS = 4  # starts of K + 1 components from the best fit of K


def rank_lanes(lanes: Lanes, cell: np.ndarray) -> np.ndarray:
    """The lanes of a cell, the most promising first: spurious, failed, and then those that were not
    begun last."""
    status, objective = lanes.climb.status[cell], lanes.climb.objective[cell]
    failed = (status == Status.NONFINITE) | (status == Status.DEGENERATE)
    absent = lanes.climb.passes[cell] == 0
    spurious = lanes.report.artifact[cell].any(axis=1)
    doubt = 4 * absent + 2 * failed + spurious
    return cell[np.lexsort((-np.nan_to_num(objective, nan=-np.inf), doubt))]


def full(lanes: Lanes, cells: list[np.ndarray], splits: list) -> None:
    """Every start to its end."""
    started = np.concatenate(cells)
    lanes.begin(started)
    lanes.run(started)


# After so many more steps, this share of the restarts of a K goes on. (Of a dozen schedules under a
# third of the passes, one that lost fewest of the best optima on ten data sets.)
HALVING = ((4, 0.45), (12, 0.2), (32, 0.125))


def halving(lanes: Lanes, cells: list[np.ndarray], splits: list) -> None:
    """All starts a few steps, the better ones some more, the best to their end (Biernacki, Celeux &
    Govaert 2003, Comput. Statist. Data Anal. 41: short runs of EM; Jamieson & Talwalkar 2016)."""
    started = np.concatenate(cells)
    lanes.begin(started)
    for steps, share in HALVING:
        lanes.run(started, steps)
        for cell in cells:
            keep = max(1, int(np.ceil(share * len(cell))))
            lanes.drop(rank_lanes(lanes, cell)[keep:])
    lanes.run(started)

    # K + 1 also starts from the best of K, with one of its heaviest components split.
    halves = [(cell, source) for cell, source in splits if len(cell)]
    if not halves:
        return
    chosen, parents, components = [], [], []
    for cell, source in halves:
        parent = rank_lanes(lanes, source)[0]
        heaviest = np.argsort(-lanes.climb.sums.mass[parent])[: len(cell)]
        chosen.append(cell)
        parents.append(np.full(len(cell), parent))
        components.append(heaviest)
    begun = np.concatenate(chosen)
    lanes.begin(begun, np.concatenate(parents), np.concatenate(components))
    lanes.run(begun, 10)
    for cell in chosen:
        lanes.drop(rank_lanes(lanes, cell)[1:])
    lanes.run(begun)


def finish(lanes: Lanes, cells: list[np.ndarray]) -> None:
    """Where the best of a cell was dropped, since those that went on all proved worse or spurious,
    it goes to its end too: what leads at last is a fit that has ended."""
    while True:
        leaders = np.array([rank_lanes(lanes, cell)[0] for cell in cells])
        stopped = leaders[lanes.climb.status[leaders] == Status.DROPPED]
        if not len(stopped):
            return
        lanes.resume(stopped)
        lanes.run(stopped)


STRATEGIES = {"halving": halving, "full": full}
