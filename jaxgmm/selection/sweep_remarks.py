"""The sentences of the warning that `Sweep.best` gives about its choice.

They say which better fit was rejected, and why; which rows are outliers; and why fits failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .best_of_restarts import FLAWS, Flaw
from .choice_of_k import Cell, best_lane_of, flaw_of, scores_of
from .component_remarks import REMEDY

if TYPE_CHECKING:
    from .sweep_result import Sweep

CLEARLY = 10  # units of a criterion; a rejected fit that is better by less is not mentioned


def remarks_on(
    sweep: Sweep, criterion: str, flaw: Flaw, chosen: Cell, cells: list[Cell]
) -> list[str]:
    """Return sentences on the `chosen` family and K of a sweep, among all `cells` of them."""
    sentences = []
    if flaw:
        sentences.append(FLAWS[flaw])
        if flaw == Flaw.SPURIOUS:
            artifacts = _artifacts(sweep, chosen, best_lane_of(sweep, chosen)[0])
            sentences.append(f"In the returned fit, {artifacts}. {REMEDY}")
    else:
        sentences += _rejected(sweep, criterion, chosen, cells)
        sentences += _outliers(sweep, chosen)
    return sentences + _failed(sweep, cells)


def _artifacts(sweep: Sweep, cell: Cell, lane: int) -> str:
    family, k = cell
    marked = np.asarray(sweep.artifact[family][sweep.n_components.index(k), lane, :k])
    clauses = sweep.rows.describe(sweep.fit(family, k, lane).mixture, marked)
    more = f" (and {len(clauses) - 1} more)" if len(clauses) > 1 else ""
    return f"{clauses[0]}{more}" if clauses else "a component is spurious"


def _rejected(sweep: Sweep, criterion: str, chosen: Cell, cells: list[Cell]) -> list[str]:
    """Name the spurious fit with the best criterion, if that is clearly better than the chosen."""
    if criterion == "held-out":  # each K has a single number, that of its best lanes
        return []
    name = criterion.upper()
    score = scores_of(sweep, chosen)[name]
    best, rejected = score - CLEARLY, None
    for cell in cells:
        lane, _ = best_lane_of(sweep, cell, spurious_too=True)
        if flaw_of(sweep, cell) == Flaw.FAILED or not _is_spurious(sweep, cell, lane):
            continue
        value = scores_of(sweep, cell, lane)[name]
        if value < best:
            best, rejected = value, (cell, lane)
    if rejected is None:
        return []
    (family, k), lane = rejected
    label = f"K = {k}" if len(sweep.fits) == 1 else f"{family}, K = {k}"
    artifacts = _artifacts(sweep, (family, k), lane)
    other = "another fit" if (family, k) == chosen else "a fit"
    return [
        f"{other} of {label} has a {name} lower by {score - best:.0f} and is not chosen: its "
        f"{artifacts}. {REMEDY}"
    ]


def _is_spurious(sweep: Sweep, cell: Cell, lane: int) -> bool:
    family, k = cell
    return bool(sweep.spurious[family][sweep.n_components.index(k), lane])


def _outliers(sweep: Sweep, chosen: Cell) -> list[str]:
    """Describe the chosen fit's components on a few rows far from all others."""
    family, k = chosen
    lane, _ = best_lane_of(sweep, chosen)
    marked = np.asarray(sweep.outlier[family][sweep.n_components.index(k), lane, :k])
    if not marked.any():
        return []
    mixture = sweep.fit(family, k, lane).mixture
    means, precisions = (
        np.asarray(values, np.float64) for values in (mixture.means, mixture.precisions)
    )
    sentences = []
    clauses = sweep.rows.describe(mixture, marked)
    for component, clause in zip(np.flatnonzero(marked), clauses, strict=True):
        apart = means[component] - means[~marked]
        square = np.einsum("ki,kij,kj->k", apart, precisions[~marked], apart)
        sentences.append(
            f"{clause}, {np.sqrt(square.min()):.0f} standard deviations from the nearest other "
            "component: check whether it is an error."
        )
    return [sentence[:1].upper() + sentence[1:] for sentence in sentences]


def _failed(sweep: Sweep, cells: list[Cell]) -> list[str]:
    """Name the numbers of components for which every fit failed, and say why."""
    failed = [cell for cell in cells if flaw_of(sweep, cell) == Flaw.FAILED]
    if not failed:
        return []
    by_family = {family: [str(k) for one, k in failed if one == family] for family in dict(failed)}
    listed = "; ".join(
        f"{'' if len(sweep.fits) == 1 else family + ', '}K = {', '.join(ks)}"
        for family, ks in by_family.items()
    )
    return [sweep.rows.explain(f"Every fit with {listed} failed")]
