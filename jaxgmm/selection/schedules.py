"""Strategies of a sweep: which lanes advance, and how far, by name in `STRATEGIES`.

A strategy is a function of the lanes, of the *cells* (the indices of the restarts of one K and
fold), and of the splits. These are, for each K + 1, the lanes that begin by splitting the best fit
of K, and the cell that this fit is in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..batches.lanes import Lanes
from ..fitting.status import Status

Cells = list[np.ndarray]
Splits = list[tuple[np.ndarray, np.ndarray]]

SPLITS = 4  # lanes of K + 1 components that begin from the best fit of K


def rank_lanes(lanes: Lanes, cell: np.ndarray) -> np.ndarray:
    """Return the lanes of a cell in descending order of their objective.

    Spurious lanes come after all sound ones, then failed lanes, then those that were not begun.
    """
    status, objective = lanes.state.status[cell], lanes.state.objective[cell]
    failed = (status == Status.NONFINITE) | (status == Status.DEGENERATE)
    absent = lanes.state.passes[cell] == 0
    spurious = lanes.report.artifact[cell].any(axis=1)
    flaw = 4 * absent + 2 * failed + spurious
    return cell[np.lexsort((-np.nan_to_num(objective, nan=-np.inf), flaw))]


def full(lanes: Lanes, cells: Cells, splits: Splits) -> None:
    """Run every start to its end."""
    started = np.concatenate(cells)
    lanes.begin(started)
    lanes.run(started)


# (steps, fraction): after that many more steps, this fraction of the restarts of each K continues.
# Among a dozen schedules with less than a third of the passes, this one lost the fewest of the best
# optima on ten data sets.
HALVING = ((4, 0.45), (12, 0.2), (32, 0.125))


def halving(lanes: Lanes, cells: Cells, splits: Splits) -> None:
    """Run all starts for a few steps, the better ones for more, and the best to their end.

    Each K + 1 then also begins from the best fit of K, with one of its heaviest components split.
    (Short runs of EM: Biernacki, Celeux & Govaert 2003, Comput. Statist. Data Anal. 41; halving:
    Jamieson & Talwalkar 2016.)
    """
    started = np.concatenate(cells)
    lanes.begin(started)
    for steps, fraction in HALVING:
        lanes.run(started, steps)
        for cell in cells:
            n_kept = max(1, int(np.ceil(fraction * len(cell))))
            lanes.drop(rank_lanes(lanes, cell)[n_kept:])
    splits = [(cell, source) for cell, source in splits if len(cell)]
    leave_few = True
    while splits:
        # The last few fits run beside those that begin by splitting the others.
        lanes.run(started, leave_few=leave_few)
        waits = [bool(lanes.running[source].any()) for _, source in splits]
        ready = [pair for pair, wait in zip(splits, waits, strict=True) if not wait]
        splits = [pair for pair, wait in zip(splits, waits, strict=True) if wait]
        leave_few = len(ready) > 0
        started = np.concatenate([started[lanes.running[started]], *_split(lanes, ready)])
    lanes.run(started)


def _split(lanes: Lanes, splits: Splits) -> Cells:
    """Begin the cells by splitting the best of their sources, and stop all but the best of each."""
    if not splits:
        return []
    chosen, parents, components = [], [], []
    for cell, source in splits:
        parent = rank_lanes(lanes, source)[0]
        heaviest = np.argsort(-lanes.state.sums.mass[parent])[: len(cell)]
        chosen.append(cell)
        parents.append(np.full(len(cell), parent))
        components.append(heaviest)
    started = np.concatenate(chosen)
    lanes.begin(started, np.concatenate(parents), np.concatenate(components))
    lanes.run(started, 10)
    for cell in chosen:
        lanes.drop(rank_lanes(lanes, cell)[1:])
    return [started[lanes.running[started]]]


def finish(lanes: Lanes, cells: Cells) -> None:
    """Run the best lane of each cell to its end, so that no dropped fit is the best of its cell.

    A dropped lane is the best one where all that continued turn out worse, or spurious.
    """
    while True:
        best = np.array([rank_lanes(lanes, cell)[0] for cell in cells])
        stopped = best[lanes.state.status[best] == Status.DROPPED]
        if not len(stopped):
            return
        lanes.resume(stopped)
        lanes.run(stopped)


STRATEGIES: dict[str, Callable[[Lanes, Cells, Splits], None]] = {"halving": halving, "full": full}
