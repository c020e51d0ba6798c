"""Fits that outlive their process: where a climb is, on disk every so many steps."""

from __future__ import annotations

import json
import os
import re
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.rows import Rows
from ..data.sources import Data
from ..internal.atomic_write import open_atomically
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from .loop import DataSummary, LoopSettings, LoopState, run_loop, start_loop, summarize_rows
from .status import RUNNING, Status

VERSION = 1
ALIKE = 1e-3  # another machine rounds otherwise; other data or another start differ by more


def run_with_checkpoints(
    data: Data, mixture: Mixture, prior: Prior | None, tolerance, max_steps: int,
    plan: LoopSettings, path: str | os.PathLike, every: int,
) -> tuple[LoopState, DataSummary]:  # fmt: skip
    """The climb from the checkpoint at `path`, if there is one, else from its start, with a
    checkpoint written before the first step and after every so many."""
    path, limits = os.fspath(path), (tolerance, np.int32(max_steps))
    frame, course = data.compute(_begin, mixture, prior, *limits, plan=plan)
    label = _label(data, mixture, tolerance, plan)
    if os.path.exists(path):
        frame, course = _resume(path, label, mixture, frame, course, max_steps)
    else:
        _write(path, label, mixture, frame, course)
    while course.climb.status == RUNNING:
        until = np.int32(int(course.climb.steps) + every)
        course = data.compute(_advance, frame, course, *limits, until, plan=plan)
        _write(path, label, mixture, frame, course)
    return course, frame


def _begin(
    rows: Rows, mixture, prior, tolerance, max_steps, *, plan: LoopSettings
) -> tuple[DataSummary, LoopState]:
    rows, frame = summarize_rows(rows, prior, plan)
    return frame, start_loop(rows, frame, mixture, tolerance, max_steps, plan)


def _advance(
    rows: Rows, frame, course, tolerance, max_steps, until, *, plan: LoopSettings
) -> LoopState:
    rows = rows.about(frame.center)
    return run_loop(rows, frame, course, tolerance, max_steps, plan, until)


# ---- the file ----------------------------------------------------------------------------------


def _label(data: Data, mixture: Mixture, tolerance, plan: LoopSettings) -> dict[str, Any]:
    """What a checkpoint must agree with to be gone on with; max_steps may grow."""
    address = re.compile(r" at 0x[0-9a-f]+")
    return {
        "checkpoint version": VERSION,
        "algorithm": address.sub("", repr(plan.algorithm)),
        "stopping rule": plan.stopping,
        "kernel": plan.kernel,
        "tolerance": float(tolerance),
        "rows": data.n,
        "features": data.n_features,
        "components": mixture.n_components,
        "family": mixture.family,
        "dtype": str(np.dtype(data.dtype)),
    }


def _leaves(mixture, frame, course) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves((mixture, frame, course))]


def _write(path: str, label: dict, mixture: Mixture, frame: DataSummary, course: LoopState) -> None:
    """Replaces the checkpoint as a whole: a process that is killed leaves the one before."""
    if jax.process_index() != 0:
        return
    made = int(course.climb.steps) + 1
    course = course._replace(history=jax.tree.map(lambda a: np.asarray(a)[:made], course.history))
    with open_atomically(path) as file:
        np.savez(file, *_leaves(mixture, frame, course), label=json.dumps(label))


def _resume(
    path: str, label: dict, mixture: Mixture, frame: DataSummary, course: LoopState, max_steps: int
) -> tuple[DataSummary, LoopState]:
    """Frame and course from the file. Raises ValueError for a checkpoint of something else."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = _in_present_names(json.loads(str(file["label"])))
            saved = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a checkpoint of a fit ({error}): delete it, or give another path."
        ) from None
    for name, value in label.items():
        if found.get(name) != value:
            raise _of_another(path, f"its {name}: {found.get(name)!r}, and here {value!r}")
    own, tree = jax.tree.flatten((mixture, frame, course))
    same_form = len(saved) == len(own) and all(
        one.shape[1:] == two.shape[1:] and one.ndim == two.ndim
        for one, two in zip(saved, own, strict=True)
    )
    if not same_form:
        raise _of_another(path, "the form of its state")
    start, saved_frame, climb_and_history = jax.tree.unflatten(tree, saved)
    if not _alike(start, mixture):
        raise _of_another(path, "its start")
    if not _alike(saved_frame, frame):
        raise _of_another(path, "its rows or its prior")
    return saved_frame, _extend_history(climb_and_history, len(course.history.passes), max_steps)


def _in_present_names(label: dict[str, Any]) -> dict[str, Any]:
    """The label of a checkpoint, where an earlier version used other names."""
    if label.get("stopping rule") == "kl":
        label["stopping rule"] = "em-gain"
    label["algorithm"] = str(label.get("algorithm")).replace("optimiser=", "optimizer=")
    return label


def _of_another(path: str, what: str) -> ValueError:
    return ValueError(
        f"{path} is the checkpoint of another fit (it differs in {what}): give another path, or "
        "delete it to begin anew."
    )


def _alike(saved, own) -> bool:
    def one(a, b):
        size = np.max(np.abs(b), initial=0, where=np.isfinite(b))
        return np.allclose(a, b, rtol=ALIKE, atol=ALIKE * size)

    return jax.tree.all(jax.tree.map(one, saved, own))


def _extend_history(course: LoopState, capacity: int, max_steps: int) -> LoopState:
    """The course with its history's full length, which goes on if it ended for want of steps."""
    climb, history = course
    history = jax.tree.map(lambda a: np.pad(a, (0, max(capacity - len(a), 0)), "edge"), history)
    if climb.status in (RUNNING, Status.MAX_STEPS):
        ended = climb.steps >= max_steps
        climb = climb._replace(status=np.int32(Status.MAX_STEPS if ended else RUNNING))
    return jax.tree.map(jnp.asarray, LoopState(climb, history))
