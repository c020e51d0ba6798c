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
from .step import Ascent, Climb


class Plan(NamedTuple):
    """What a program is made for: everything about a fit that is no array."""

    algorithm: Algorithm
    stopping: str
    kernel: str
    capacity: int
    callback: Callable | None


class Frame(NamedTuple):
    """What is computed once from the rows: where coordinates start, the prior there, and the
    finest detail that rounding leaves of each feature."""

    centre: jax.Array
    prior: Prior | None
    resolution: jax.Array


class History(NamedTuple):
    """The objective after each step, and the passes made up to it."""

    objective: jax.Array
    passes: jax.Array


class Course(NamedTuple):
    """A climb and how it came there: with a `Frame`, all that is needed to go on."""

    climb: Climb
    history: History


def framed(rows: Rows, prior: Prior | None, plan: Plan) -> tuple[Rows, Frame]:
    """The rows about their mean, and their frame."""
    rows = rows.about_mean()
    prior = None if prior is None else prior.translate(-rows.centre)
    return rows, Frame(rows.centre, prior, rows.detail())


def begun(
    rows: Rows, frame: Frame, mixture: Mixture, tolerance, max_steps, plan: Plan, goes_on=False,
    previous=-jnp.inf,
) -> Course:  # fmt: skip
    """The first pass, or where the same program goes on, the `Ascent.opening`; histories have room
    for plan.capacity entries. See `Ascent.begin` for `previous`."""
    ascent = _ascent(rows, frame, tolerance, max_steps, plan)
    begin = ascent.opening if goes_on else ascent.begin
    start = begin(mixture.translate(-frame.centre), previous)
    full = lambda value: jnp.full((plan.capacity,), value)
    return Course(start, History(full(start.objective), full(start.passes)))


def advanced(
    rows: Rows, frame: Frame, course: Course, tolerance, max_steps, plan: Plan, until=None
) -> Course:
    """The climb to its end, or to so many steps."""
    ascent = _ascent(rows, frame, tolerance, max_steps, plan)

    def goes_on(course: Course):
        running = course.climb.status == RUNNING
        return running if until is None else running & (course.climb.steps < until)

    def step(course: Course) -> Course:
        climb, history = course
        steps = climb.steps + 1
        climb, objective = ascent.step(climb)
        if plan.callback is not None:
            # One vector: every array that goes to the host costs as much as small fits' steps.
            told = jnp.stack([steps.astype(objective.dtype), objective, climb.em_step.gain])
            tell = lambda: jax.debug.callback(functools.partial(_tell, plan.callback), told)
            # The host is slow to ask; and the first pass is no step.
            now = (steps % getattr(plan.callback, "every", 1) == 0) & (steps > 0)
            jax.lax.cond(now, lambda: rows.on_one_device(tell), lambda: None)
        # An entry of a step that was not taken is beyond climb.steps, and never shown.
        return Course(climb, History(
            history.objective.at[steps].set(objective), history.passes.at[steps].set(climb.passes)
        ))  # fmt: skip

    return jax.lax.while_loop(goes_on, step, course)


def _tell(callback: Callable, told: jax.Array) -> None:
    step, objective, gain = np.asarray(told).tolist()
    callback(int(step), objective, gain)


def _ascent(rows: Rows, frame: Frame, tolerance, max_steps, plan: Plan) -> Ascent:
    return Ascent(
        rows, frame.prior, frame.resolution, tolerance, max_steps,
        plan.algorithm, plan.stopping, plan.kernel,
    )  # fmt: skip
