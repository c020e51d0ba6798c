"""Fits that continue after an interruption: their state is written to a file every few steps."""

from __future__ import annotations

import json
import os
import re
import zipfile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.protocol import Algorithm
from ..data.rows import Rows
from ..data.sources import Data
from ..families.family import Local
from ..internal.atomic_write import open_atomically
from ..mixture.mixture import Mixture
from ..objective.m_step import Step
from ..objective.prior import Prior
from .division import divide_rows
from .loop import LoopSettings, LoopState, RowConstants, prepare_rows, run_loop, start_loop
from .status import RUNNING, Status
from .units import Rise

# Version 2 contains the mixture after EM's step, which version 1 has in relation to the one before.
VERSION = 2
SAME_VALUES = (
    1e-3  # the rounding of another machine changes less; other rows or starts differ by more
)


def run_with_checkpoints(
    data: Data,
    mixture: Mixture,
    prior: Prior | None,
    rise: Rise | None,
    *,
    tolerance: jax.Array,
    max_steps: int,
    settings: LoopSettings,
    path: str | os.PathLike[str],
    every: int,
) -> tuple[LoopState, RowConstants]:
    """Run a fit from the checkpoint at `path` if that file exists, else from its start.

    A checkpoint is written before the first step, and after every `every` steps.
    """
    path, limits = os.fspath(path), (tolerance, np.int32(max_steps))
    constants, loop_state = data.compute(begin, mixture, prior, *limits, rise, settings=settings)
    label = _label(data, mixture, tolerance, settings)
    if os.path.exists(path):
        constants, loop_state = _resume(path, label, mixture, constants, loop_state, max_steps)
    else:
        _write(path, label, mixture, constants, loop_state)
    while loop_state.fit_state.status == RUNNING:
        until = np.int32(int(loop_state.fit_state.steps) + every)
        loop_state = data.compute(
            advance, constants, mixture, loop_state, *limits, until, settings=settings
        )
        _write(path, label, mixture, constants, loop_state)
    return loop_state, constants


def begin(
    rows: Rows,
    mixture: Mixture,
    prior: Prior | None,
    tolerance: jax.Array,
    max_steps: jax.Array,
    rise: Rise | None = None,
    *,
    settings: LoopSettings,
) -> tuple[RowConstants, LoopState]:
    """Return the constants of the rows, and the state after the first pass."""
    rows, constants = prepare_rows(rows, prior, rise)
    rows = divide_rows(rows, constants, mixture, settings)
    return constants, start_loop(rows, constants, mixture, tolerance, max_steps, settings)


def advance(
    rows: Rows,
    constants: RowConstants,
    start: Mixture,
    loop_state: LoopState,
    tolerance: jax.Array,
    max_steps: jax.Array,
    until: jax.Array,
    *,
    settings: LoopSettings,
) -> LoopState:
    """Return the state after `until` steps, or at the end of the fit, which began at `start`."""
    # Rows are divided by the start again, so that a fit which resumes adds in the same order.
    rows = divide_rows(rows.about(constants.center), constants, start, settings)
    return run_loop(rows, constants, loop_state, tolerance, max_steps, settings, until)


# ---- the file ----------------------------------------------------------------------------------


def _label(
    data: Data, mixture: Mixture, tolerance: jax.Array, settings: LoopSettings
) -> dict[str, Any]:
    """Return what a checkpoint must agree with; max_steps is not in it, since it may grow."""
    return {
        "checkpoint version": VERSION,
        "algorithm": describe_algorithm(settings.algorithm),
        "stopping rule": settings.stopping,
        "kernel": settings.kernel,
        "tolerance": float(tolerance),
        "rows": data.n,
        "features": data.n_features,
        "components": mixture.n_components,
        "family": mixture.family,
        "dtype": str(np.dtype(data.dtype)),
    }


def describe_algorithm(algorithm: Algorithm) -> str:
    """Return an algorithm's settings as text that is the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(algorithm))


def _leaves(mixture: Mixture, constants: RowConstants, loop_state: LoopState) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves((mixture, constants, loop_state))]


def _write(
    path: str,
    label: dict[str, Any],
    mixture: Mixture,
    constants: RowConstants,
    loop_state: LoopState,
) -> None:
    """Replace the checkpoint as a whole, so that a killed process leaves the previous one."""
    if jax.process_index() != 0:
        return
    entries = int(loop_state.fit_state.steps) + 1
    history = jax.tree.map(lambda leaf: np.asarray(leaf)[:entries], loop_state.history)
    loop_state = loop_state._replace(history=history)
    with open_atomically(path) as file:
        np.savez(file, *_leaves(mixture, constants, loop_state), label=json.dumps(label))


def _resume(
    path: str,
    label: dict[str, Any],
    mixture: Mixture,
    constants: RowConstants,
    loop_state: LoopState,
    max_steps: int,
) -> tuple[RowConstants, LoopState]:
    """Return the constants and the loop's state from the file.

    Raises ValueError for a file that is not a checkpoint, or is the checkpoint of another fit.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            saved_label = _translate_old_label(json.loads(str(file["label"])))
            is_old = saved_label.get("checkpoint version") == 1
            if is_old:
                saved_label["checkpoint version"] = VERSION
            saved = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a checkpoint of a fit ({error}): delete it, or give another path."
        ) from None
    for name, value in label.items():
        if saved_label.get(name) != value:
            difference = f"its {name}: {saved_label.get(name)!r}, but here {value!r}"
            raise _other_fit_error(path, difference)
    if is_old:
        loop_state = _with_old_steps(loop_state)
    expected, tree = jax.tree.flatten((mixture, constants, loop_state))
    same_form = len(saved) == len(expected) and all(
        one.shape[1:] == two.shape[1:] and one.ndim == two.ndim
        for one, two in zip(saved, expected, strict=True)
    )
    if not same_form:
        raise _other_fit_error(path, "the form of its state")
    start, saved_constants, saved_state = jax.tree.unflatten(tree, saved)
    if not alike(start, mixture):
        raise _other_fit_error(path, "its start")
    if not alike(saved_constants, constants):
        raise _other_fit_error(path, "its rows or its prior")
    if is_old:
        saved_state = _with_present_steps(saved_state)
    return saved_constants, _extend_history(saved_state, len(loop_state.history.passes), max_steps)


def _translate_old_label(label: dict[str, Any]) -> dict[str, Any]:
    """Return the label in present names, where an earlier version used others."""
    if label.get("stopping rule") == "kl":
        label["stopping rule"] = "em-gain"
    algorithm = re.sub("optimi.er=", "optimizer=", str(label.get("algorithm")))
    label["algorithm"] = re.sub(r"(StepwiseEM\(decay=[^,)]+)\)", r"\1, scale=1.0)", algorithm)
    return label


class _OldStep(NamedTuple):
    """A `Step` in the form of version 1."""

    logits: jax.Array
    means: jax.Array
    covariance: Local
    em_gain: jax.Array


def _with_old_steps(loop_state: LoopState) -> LoopState:
    """Return the state in the form of version 1."""

    def old(node: Any) -> Any:
        if not isinstance(node, Step):
            return node
        return _OldStep(node.after.logits, node.means, node.covariance, node.em_gain)

    return jax.tree.map(old, loop_state, is_leaf=lambda node: isinstance(node, Step))


def _with_present_steps(loop_state: LoopState) -> LoopState:
    """Return the state of version 1 in the form of the present version."""
    mixture = jax.tree.map(jnp.asarray, loop_state.fit_state.mixture)

    def present(node: Any) -> Any:
        if not isinstance(node, _OldStep):
            return node
        means = mixture.means + mixture.frame.unwhiten(node.means)
        after = Mixture(node.logits, means, mixture.covariance.moved(node.covariance))
        return Step(after, node.means, node.covariance, node.em_gain)

    return jax.tree.map(present, loop_state, is_leaf=lambda node: isinstance(node, _OldStep))


def _other_fit_error(path: str, difference: str) -> ValueError:
    return ValueError(
        f"{path} is the checkpoint of another fit (it differs in {difference}): give another path, "
        "or delete it to start again."
    )


def alike(saved: Any, expected: Any) -> bool:
    """Return whether two trees of the same form have the same values, but for rounding."""

    def leaves_alike(a: np.ndarray, b: np.ndarray) -> bool:
        size = np.max(np.abs(b), initial=0, where=np.isfinite(b))
        return np.allclose(a, b, rtol=SAME_VALUES, atol=SAME_VALUES * size)

    return jax.tree.all(jax.tree.map(leaves_alike, saved, expected))


def _extend_history(loop_state: LoopState, capacity: int, max_steps: int) -> LoopState:
    """Return the state with a history of full length.

    A fit that ended at an earlier limit of steps is marked as running again.
    """
    state, history = loop_state
    history = jax.tree.map(lambda a: np.pad(a, (0, max(capacity - len(a), 0)), "edge"), history)
    if state.status in (RUNNING, Status.MAX_STEPS):
        status = Status.MAX_STEPS if state.steps >= max_steps else RUNNING
        state = state._replace(status=jnp.int32(int(status)))
    return jax.tree.map(jnp.asarray, LoopState(state, history))
