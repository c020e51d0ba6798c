"""The choice of the number of components K, and of the family, among the fits of a sweep.

A family and a K are a cell, whose lanes are its fits. The rule has three steps:

1. Each cell is represented by its best lane: the one with the highest objective, once failed and
   spurious lanes are set aside. The likelihood has no bound, so they may have a higher one.
2. Cells whose lanes all failed or are spurious are set aside too. Only where no other is left, a
   cell of spurious lanes is chosen, and one of failed lanes last.
3. Of the others, the cell with the best value of the criterion is chosen. Of equal ones it is the
   first family by name, with the smallest K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..families.registry import family_class
from ..internal import checks
from .best_of_restarts import Flaw, best_lane
from .criteria import aic_of, bic_of, free_parameters, icl_of

if TYPE_CHECKING:
    from .sweep_result import Sweep

CRITERIA = ("bic", "aic", "icl", "held-out")

Cell = tuple[str, int]  # a family and a K


def choose(sweep: Sweep, criterion: str, cells: list[Cell]) -> tuple[Flaw, Cell]:
    """Return the cell that the rule chooses, and what is wrong with its best fit.

    Raises ValueError for an unknown criterion, and for "held-out" without folds.
    """
    checks.choice(criterion, "criterion", CRITERIA)
    if criterion == "held-out" and not all(len(values) for values in sweep.held_out.values()):
        raise ValueError("this sweep left no rows out: call sweep(..., folds=5).")
    held_out = criterion == "held-out"

    def rank(cell: Cell) -> tuple[Flaw, float, Cell]:
        value = scores_of(sweep, cell)[criterion if held_out else criterion.upper()]
        score = np.inf if np.isnan(value) else -value if held_out else value
        return flaw_of(sweep, cell), score, cell

    flaw, _, chosen = min(map(rank, cells))
    return flaw, chosen


def best_lane_of(sweep: Sweep, cell: Cell, spurious_too: bool = False) -> tuple[int, np.ndarray]:
    """Return the best lane of a cell, and which of its lanes did not fail, as (lanes,).

    With `spurious_too` it may be a spurious one even where others are not.
    """
    family, k = cell
    at, fits = sweep.n_components.index(k), sweep.fits[family]
    spurious = False if spurious_too else np.asarray(sweep.spurious[family][at])
    index, usable = best_lane(np.asarray(fits.status[at]), np.asarray(fits.objective[at]), spurious)
    return int(index), usable


def flaw_of(sweep: Sweep, cell: Cell) -> Flaw:
    """Return what is wrong with the best lane of a cell."""
    family, k = cell
    index, usable = best_lane_of(sweep, cell)
    if not usable.any():
        return Flaw.FAILED
    spurious = sweep.spurious[family][sweep.n_components.index(k)][index]
    return Flaw.SPURIOUS if spurious else Flaw.NONE


def scores_of(sweep: Sweep, cell: Cell, lane: int | None = None) -> dict[str, float]:
    """Return the criteria of a lane, by default of the best one; NaN if every lane failed."""
    family, k = cell
    at, fits = sweep.n_components.index(k), sweep.fits[family]
    index, usable = best_lane_of(sweep, cell)
    if not usable.any():
        return dict.fromkeys(("AIC", "BIC", "ICL", "held-out"), float("nan"))
    index = index if lane is None else lane
    likelihood = float(fits.log_likelihood[at, index])
    entropy = float(sweep.entropy[family][at, index])
    p = free_parameters(family_class(family), k, fits.mixture.means.shape[-1])
    log_weight, held_out = float(np.log(sweep.total_weight)), sweep.held_out[family]
    return {
        "AIC": aic_of(likelihood, p),
        "BIC": bic_of(likelihood, p, log_weight),
        "ICL": icl_of(likelihood, p, log_weight, entropy),
        "held-out": float(held_out[at]) if len(held_out) else float("nan"),
    }
