"""The loop of a fit, from its first pass to its end, in one program or in several."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..algorithms.protocol import Algorithm
from ..data.rows import Rows
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from .status import RUNNING
from .step import FitState, Problem
from .units import Rise


class LoopSettings(NamedTuple):
    """The static settings that a program is compiled for.

    `capacity` is the history's length. `divides_rows` is whether rows in memory are divided
    among cells.
    """

    algorithm: Algorithm
    stopping: str
    kernel: str
    capacity: int
    callback: Callable[..., object] | None
    divides_rows: bool = False


class RowConstants(NamedTuple):
    """What a fit computes once from the rows.

    Attributes:
      center: (d,) origin of the coordinates that the loop uses.
      prior: the prior in these coordinates.
      resolution: (d,) finest detail that rounding leaves of each feature (see `Rows.detail`).
      rise: what the unit of the data adds to the objective, or None if it is that of the loop.
    """

    center: jax.Array
    prior: Prior | None
    resolution: jax.Array
    rise: Rise | None = None


class History(NamedTuple):
    """The objective after each step, and the number of passes made up to it."""

    objective: jax.Array
    passes: jax.Array


class LoopState(NamedTuple):
    """The state of a fit and its history; with `RowConstants`, all that resuming it needs."""

    fit_state: FitState
    history: History


def prepare_rows(
    rows: Rows, prior: Prior | None, rise: Rise | None = None
) -> tuple[Rows, RowConstants]:
    """Return the rows in coordinates centered at their mean, and their constants."""
    rows = rows.about_mean()
    prior = None if prior is None else prior.translate(-rows.center)
    return rows, RowConstants(rows.center, prior, rows.detail(), rise)


def start_loop(
    rows: Rows,
    constants: RowConstants,
    mixture: Mixture,
    tolerance: jax.Array,
    max_steps: jax.Array,
    settings: LoopSettings,
    defer_first_pass: bool = False,
    previous: ArrayLike = -jnp.inf,
) -> LoopState:
    """Return the state before the first step, with histories of length `settings.capacity`.

    With `defer_first_pass` the loop that follows in the same program makes the first pass (see
    `Problem.begin_in_loop`). `previous` is documented in `Problem.begin`.
    """
    problem = _problem_of(rows, constants, tolerance, max_steps, settings)
    begin = problem.begin_in_loop if defer_first_pass else problem.begin
    start = begin(mixture.translate(-constants.center), previous)
    full = lambda value: jnp.full((settings.capacity,), value)
    return LoopState(start, History(full(start.objective), full(start.passes)))


def run_loop(
    rows: Rows,
    constants: RowConstants,
    loop_state: LoopState,
    tolerance: jax.Array,
    max_steps: jax.Array,
    settings: LoopSettings,
    until: jax.Array | None = None,
    most_passes: jax.Array | None = None,
) -> LoopState:
    """Run the fit to its end, or until it has made `until` steps or `most_passes` passes."""
    problem = _problem_of(rows, constants, tolerance, max_steps, settings)

    def is_running(loop_state: LoopState) -> jax.Array:
        state = loop_state.fit_state
        running = state.status == RUNNING
        if until is not None:
            running &= state.steps < until
        if most_passes is not None:
            running &= state.passes < most_passes
        return running

    def step(loop_state: LoopState) -> LoopState:
        state, history = loop_state
        steps = state.steps + 1
        state, objective = problem.step(state)
        if settings.callback is not None:
            # One vector, because each array sent to the host costs as much as a step of a small
            # fit.
            values = jnp.stack([steps.astype(objective.dtype), objective, state.em_step.em_gain])
            call = lambda: jax.debug.callback(
                functools.partial(_call_back, settings.callback), values
            )
            # Calling the host is slow, so it is called only every `every` steps. The first pass is
            # not a step.
            now = (steps % getattr(settings.callback, "every", 1) == 0) & (steps > 0)
            jax.lax.cond(now, lambda: rows.on_one_device(call), lambda: None)
        # The entry of a rejected step lies beyond state.steps, where `fit_of_state` overwrites it.
        return LoopState(
            state,
            History(
                history.objective.at[steps].set(objective),
                history.passes.at[steps].set(state.passes),
            ),
        )

    return jax.lax.while_loop(is_running, step, loop_state)


def _call_back(callback: Callable[..., object], values: jax.Array) -> None:
    step, objective, gain = np.asarray(values).tolist()
    callback(int(step), objective, gain)


def _problem_of(
    rows: Rows,
    constants: RowConstants,
    tolerance: jax.Array,
    max_steps: jax.Array,
    settings: LoopSettings,
) -> Problem:
    return Problem(
        rows=rows,
        prior=constants.prior,
        resolution=constants.resolution,
        tolerance=tolerance,
        max_steps=max_steps,
        algorithm=settings.algorithm,
        stopping=settings.stopping,
        kernel=settings.kernel,
        rise=constants.rise,
    )
