"""Runs all fits of a sweep: one program for many families, or one for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..algorithms.em import EM
from ..batches.lane_programs import LaneSettings
from ..batches.lane_records import LaneData
from ..batches.lanes import Lanes
from ..families.family import Family
from ..families.registry import FOURTEEN, family_class, family_name
from ..families.universal import Universal, code_of, own_members
from ..fitting.result import Fit
from .schedules import SPLITS, STRATEGIES, finish, rank_lanes

# One program fits this many families or more, in less time than compiling one for each takes. A
# step of it costs more than those of the simpler families, and with many features most of it is
# rotations of axes, so it pays for little work only.
LEAST_FAMILIES = 5
MOST_WORK = 1e7
MOST_FEATURES = 16


class Progress(NamedTuple):
    """The argument of a `sweep`'s callback.

    Attributes:
      family: the family that is being fitted, or how many are being fitted in one program.
      running: number of fits that have not ended.
      lanes: number of fits in these families.
      passes: number of passes over the rows made so far, over all fits of the family.
    """

    family: str
    running: int
    lanes: int
    passes: float


def run_families(
    kinds: Sequence[type[Family]],
    settings: LaneSettings,
    data: LaneData,
    ks: tuple[int, ...],
    strategy: str,
    callback: Callable[[Progress], object] | None,
) -> dict[str, dict[str, Any]]:
    """Run all lanes of every family, and return the fields of a `Sweep` for each family's name.

    `settings.family` is replaced by the families.
    """
    results: dict[str, dict[str, Any]] = {}
    joined = _joined(kinds, settings, data)
    if joined:
        results |= _run(joined, settings, data, ks, strategy, callback)
    for kind in kinds:
        if kind not in joined:
            results |= _run([kind], settings, data, ks, strategy, callback)
    return {family_name(kind): results[family_name(kind)] for kind in kinds}


def _joined(
    kinds: Sequence[type[Family]], settings: LaneSettings, data: LaneData
) -> list[type[Family]]:
    """Return the families that one program fits, which may be none."""
    n, d = len(data.x), len(data.steps)
    fourteen = {family_class(name) for name in FOURTEEN}
    joined = [kind for kind in kinds if kind in fourteen]
    pays = len(joined) >= LEAST_FAMILIES and d <= MOST_FEATURES
    pays = pays and n * settings.k * d * (d + 1) <= MOST_WORK
    return joined if pays and isinstance(settings.algorithm, EM) else []


def _run(
    kinds: Sequence[type[Family]],
    settings: LaneSettings,
    data: LaneData,
    ks: tuple[int, ...],
    strategy: str,
    callback: Callable[[Progress], object] | None,
) -> dict[str, dict[str, Any]]:
    """Run all lanes of these families in one program, and return the fields of a `Sweep`."""
    names = [family_name(kind) for kind in kinds]
    settings = dataclasses.replace(settings, family=kinds[0] if len(kinds) == 1 else Universal)
    width = settings.restarts + (SPLITS if strategy == "halving" else 0)
    shape = len(kinds), settings.folds + 1, len(ks), width
    family, fold, k_index, lane = (index.ravel().astype(np.int32) for index in np.indices(shape))
    index = np.arange(fold.size).reshape(shape)
    title = names[0] if len(names) == 1 else f"{len(names)} families"

    def report(lanes: Lanes) -> None:
        if callback is not None:
            running, passes = int(lanes.running.sum()), float(lanes.state.passes.sum())
            callback(Progress(title, running=running, lanes=fold.size, passes=passes))

    codes = np.stack([code_of(kind.letters) for kind in kinds]) if settings.codes else None
    lanes = Lanes(
        settings,
        data,
        n_components=np.asarray(ks, np.int32)[k_index],
        restart=np.where(lane >= settings.restarts, 0, lane),
        fold=fold,
        code=None if codes is None else codes[family],
        on_progress=None if callback is None else report,
    )
    grid = [(g, f, i) for g in range(len(kinds)) for f in range(shape[1]) for i in range(len(ks))]
    cells = [index[g, f, i, : settings.restarts] for g, f, i in grid]
    splits = []
    for g, f, i in grid:
        if ks[i] - 1 in ks:
            source = index[g, f, ks.index(ks[i] - 1), : settings.restarts]
            splits.append((index[g, f, i, settings.restarts :][: ks[i] - 1], source))
    STRATEGIES[strategy](lanes, cells, splits)
    finish(lanes, [index[g, f, i] for g, f, i in grid])

    held_out = np.zeros((len(kinds), len(ks) if settings.folds else 0))
    for g, f, i in grid:
        if f > 0:
            held_out[g, i] += lanes.report.held_out[rank_lanes(lanes, index[g, f, i])[0]]
    fits = _fits_of(lanes)
    results = {}
    for g, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        # Fold 0 leaves no row out.
        of_all_rows = lambda leaf, g=g: leaf.reshape(*shape, *leaf.shape[1:])[g, 0]
        own = jax.tree.map(of_all_rows, fits)
        if settings.codes:
            own = dataclasses.replace(own, mixture=_in_own_class(kind, own.mixture))
        results[name] = dict(
            fits=own,
            entropy=of_all_rows(lanes.report.entropy),
            artifact=of_all_rows(lanes.report.artifact),
            outlier=of_all_rows(lanes.report.outlier),
            held_out=held_out[g],
            seconds=of_all_rows(lanes.seconds),
            compile_seconds=np.asarray(lanes.compile_seconds / len(kinds)),
        )
    return results


def _in_own_class(kind: type[Family], mixture: Any) -> Any:
    """Return a batch of mixtures with covariances of the family's own class."""
    covariance = own_members(kind, mixture.covariance, mixture.logits)
    return dataclasses.replace(mixture, covariance=covariance)


def _fits_of(lanes: Lanes) -> Fit:
    """Return all lanes as one `Fit` in the coordinates of the data, in NumPy arrays."""
    state = lanes.state
    steps = np.maximum(state.steps, 0)  # −1 where the first pass led to what is not finite
    longest = int(steps.max()) + 1
    beyond = np.arange(longest)[None] > steps[:, None]
    histories = lanes.histories.objectives, lanes.histories.passes
    objectives, passes = (history[:, :longest] for history in histories)
    means = state.mixture.means + np.asarray(lanes.constants.center)
    leaves: dict[str, Any] = dict(
        mixture=dataclasses.replace(state.mixture, means=means),
        log_likelihood=state.sums.log_likelihood,
        objective=state.objective,
        steps=steps,
        passes=state.passes,
        status=state.status,
        em_gain=state.em_step.em_gain,
        history=np.where(beyond, state.objective[:, None], objectives),
        history_passes=np.where(beyond, state.passes[:, None], passes),
    )
    return Fit(**leaves)
