"""The loop: a climb from its first pass to its end, in one piece or in several."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.protocol import Algorithm
from ..data.rows import Rows
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from .status import RUNNING
from .step import FitState, Problem


class LoopSettings(NamedTuple):
    """What a program is made for: everything about a fit that is no array."""

    algorithm: Algorithm
    stopping: str
    kernel: str
    capacity: int
    callback: Callable | None


class DataSummary(NamedTuple):
    """What is computed once from the rows: where coordinates start, the prior there, and the
    finest detail that rounding leaves of each feature."""

    center: jax.Array
    prior: Prior | None
    resolution: jax.Array


class History(NamedTuple):
    """The objective after each step, and the passes made up to it."""

    objective: jax.Array
    passes: jax.Array


class LoopState(NamedTuple):
    """A climb and how it came there: with a `Frame`, all that is needed to go on."""

    climb: FitState
    history: History


def summarize_rows(rows: Rows, prior: Prior | None, plan: LoopSettings) -> tuple[Rows, DataSummary]:
    """The rows about their mean, and their frame."""
    rows = rows.about_mean()
    prior = None if prior is None else prior.translate(-rows.center)
    return rows, DataSummary(rows.center, prior, rows.detail())


def start_loop(
    rows: Rows, frame: DataSummary, mixture: Mixture, tolerance, max_steps, plan: LoopSettings,
    goes_on=False, previous=-jnp.inf,
) -> LoopState:  # fmt: skip
    """The first pass, or where the same program goes on, the `Ascent.opening`; histories have room
    for plan.capacity entries. See `Ascent.begin` for `previous`."""
    ascent = _problem_of(rows, frame, tolerance, max_steps, plan)
    begin = ascent.opening if goes_on else ascent.begin
    start = begin(mixture.translate(-frame.center), previous)
    full = lambda value: jnp.full((plan.capacity,), value)
    return LoopState(start, History(full(start.objective), full(start.passes)))


def run_loop(
    rows: Rows,
    frame: DataSummary,
    course: LoopState,
    tolerance,
    max_steps,
    plan: LoopSettings,
    until=None,
) -> LoopState:
    """The climb to its end, or to so many steps."""
    ascent = _problem_of(rows, frame, tolerance, max_steps, plan)

    def goes_on(course: LoopState):
        running = course.climb.status == RUNNING
        return running if until is None else running & (course.climb.steps < until)

    def step(course: LoopState) -> LoopState:
        climb, history = course
        steps = climb.steps + 1
        climb, objective = ascent.step(climb)
        if plan.callback is not None:
            # One vector: every array that goes to the host costs as much as small fits' steps.
            told = jnp.stack([steps.astype(objective.dtype), objective, climb.em_step.em_gain])
            tell = lambda: jax.debug.callback(functools.partial(_call_back, plan.callback), told)
            # The host is slow to ask; and the first pass is no step.
            now = (steps % getattr(plan.callback, "every", 1) == 0) & (steps > 0)
            jax.lax.cond(now, lambda: rows.on_one_device(tell), lambda: None)
        # An entry of a step that was not taken is beyond climb.steps, and never shown.
        return LoopState(climb, History(
            history.objective.at[steps].set(objective), history.passes.at[steps].set(climb.passes)
        ))  # fmt: skip

    return jax.lax.while_loop(goes_on, step, course)


def _call_back(callback: Callable, told: jax.Array) -> None:
    step, objective, gain = np.asarray(told).tolist()
    callback(int(step), objective, gain)


def _problem_of(
    rows: Rows, frame: DataSummary, tolerance, max_steps, plan: LoopSettings
) -> Problem:
    return Problem(
        rows, frame.prior, frame.resolution, tolerance, max_steps,
        plan.algorithm, plan.stopping, plan.kernel,
    )  # fmt: skip
