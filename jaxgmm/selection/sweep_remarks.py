"""What `Sweep.best` says about its choice, in one warning: what it refused, and why; which rows are
outliers; and why fits failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .best import FLAWS, Flaw, best_lane
from .remarks import REMEDY

if TYPE_CHECKING:
    from .sweep_result import Sweep

CLEARLY = 10  # units of a criterion, by which a refused fit is told to be better


def remarks_on(
    found: Sweep, criterion: str, flaw: Flaw, chosen: tuple[str, int], cells: list[tuple[str, int]]
) -> list[str]:
    """Sentences on the `chosen` family and K of a sweep, among all `cells` of them."""
    sentences = []
    if flaw:
        sentences.append(f"{FLAWS[flaw]}: the best of them is not to be trusted.")
        if flaw == Flaw.SPURIOUS:
            why = _artifacts(found, chosen, _lane(found, chosen))
            sentences.append(f"Of the one returned, {why}. {REMEDY}")
    else:
        sentences += _refused(found, criterion, chosen, cells)
        sentences += _outliers(found, chosen)
    return sentences + _failed(found, cells)


def _lane(found: Sweep, cell: tuple[str, int], spurious_too: bool = False) -> int:
    """The best lane of a cell."""
    family, k = cell
    at, fits = found.n_components.index(k), found.fits[family]
    doubtful = False if spurious_too else found.spurious[family][at]
    return int(best_lane(np.asarray(fits.status[at]), np.asarray(fits.objective[at]), doubtful)[0])


def _artifacts(found: Sweep, cell: tuple[str, int], lane: int) -> str:
    family, k = cell
    marked = found.artifact[family][found.n_components.index(k), lane, :k]
    clauses = found.rows.about(found.fit(family, k, lane).mixture, marked)
    more = f" (and {len(clauses) - 1} more)" if len(clauses) > 1 else ""
    return f"{clauses[0]}{more}" if clauses else "a component is spurious"


def _refused(found: Sweep, criterion: str, chosen, cells) -> list[str]:
    """The spurious fit of the best criterion, if that is clearly better than the chosen one's."""
    if criterion == "held-out":  # each K has one number, that of its best lanes
        return []
    name = criterion.upper()
    score = found.scores(*chosen)[name]
    best, refused = score - CLEARLY, None
    for cell in cells:
        lane = _lane(found, cell, spurious_too=True)
        if found.flaw(*cell) == Flaw.FAILED or not _is_spurious(found, cell, lane):
            continue
        value = found.scores(*cell, lane)[name]
        if value < best:
            best, refused = value, (cell, lane)
    if refused is None:
        return []
    (family, k), lane = refused
    label = f"K = {k}" if len(found.fits) == 1 else f"{family}, K = {k}"
    why = _artifacts(found, (family, k), lane)
    return [f"{label} has a {name} lower by {score - best:.0f}, but its {why}. {REMEDY}"]


def _is_spurious(found: Sweep, cell: tuple[str, int], lane: int) -> bool:
    family, k = cell
    return bool(found.spurious[family][found.n_components.index(k), lane])


def _outliers(found: Sweep, chosen: tuple[str, int]) -> list[str]:
    """The chosen fit's components on a few rows far away."""
    family, k = chosen
    lane = _lane(found, chosen)
    marked = np.asarray(found.outlier[family][found.n_components.index(k), lane, :k])
    if not marked.any():
        return []
    mixture = found.fit(family, k, lane).mixture
    means, precisions = (
        np.asarray(values, np.float64) for values in (mixture.means, mixture.precisions)
    )
    sentences = []
    clauses = found.rows.about(mixture, marked)
    for component, clause in zip(np.flatnonzero(marked), clauses, strict=True):
        apart = means[component] - means[~marked]
        square = np.einsum("ki,kij,kj->k", apart, precisions[~marked], apart)
        sentences.append(
            f"{clause}, {np.sqrt(square.min()):.0f} standard deviations from the nearest other "
            "component: look whether it is an error."
        )
    return [sentence[:1].upper() + sentence[1:] for sentence in sentences]


def _failed(found: Sweep, cells: list[tuple[str, int]]) -> list[str]:
    """The numbers of components for which every fit failed, and why."""
    failed = [cell for cell in cells if found.flaw(*cell) == Flaw.FAILED]
    if not failed:
        return []
    by_family = {family: [str(k) for one, k in failed if one == family] for family in dict(failed)}
    told = "; ".join(
        f"{'' if len(found.fits) == 1 else family + ', '}K = {', '.join(ks)}"
        for family, ks in by_family.items()
    )
    return [found.rows.explained(f"Every fit with {told} failed")]
