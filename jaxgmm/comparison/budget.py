"""Fits that end at a budget of passes or of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..data.rows import Rows
from ..data.sources import Data
from ..fitting.checkpoint import advance, begin
from ..fitting.division import divide_rows
from ..fitting.fit import fit_of_state, run
from ..fitting.loop import LoopSettings, LoopState, RowConstants, prepare_rows, run_loop, start_loop
from ..fitting.result import Fit
from ..fitting.status import RUNNING, Status
from ..internal.compiling import is_little_for_one_fit
from ..mixture.mixture import Mixture
from ..objective.prior import Prior

# A function of a start and a number of steps that runs one algorithm.
RunFrom = Callable[[Mixture, int], Fit]
# The part of a budget in seconds after which the clock is read again.
SLICE = 0.02
UNITS = {"pass": "passes", "passes": "passes", "second": "seconds", "seconds": "seconds"}


class Budget(NamedTuple):
    """How much each fit may use: an amount, in "passes" or "seconds"."""

    amount: float
    unit: str


def parse_budget(budget: str | None) -> Budget | None:
    """Return the budget that a text such as "200 passes" or "1.5 seconds" describes.

    Raises:
      ValueError: for anything else.
    """
    if budget is None:
        return None
    words = budget.split() if isinstance(budget, str) else []
    try:
        amount, unit = float(words[0]), UNITS[words[1]]
        good = len(words) == 2 and 0 < amount < np.inf
    except (IndexError, KeyError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"budget is {budget!r}: write a number above 0 and its unit, e.g. '200 passes' or "
            "'1.5 seconds'."
        )
    return Budget(amount, unit)


def make_runner(
    data: Data,
    prior: Prior | None,
    tolerance: ArrayLike,
    budget: Budget | None,
    settings: LoopSettings,
) -> RunFrom:
    """Return a function that runs a fit from a start, for as long as the budget lasts.

    A move that has begun is completed, so that a fit can exceed a budget of passes by less than one
    move. A fit whose budget ends has the status MAX_STEPS.
    """
    threshold = jnp.asarray(tolerance, data.dtype)  # as in `fit`, which shares the program

    def run_from(start: Mixture, most: int) -> Fit:
        quickly = is_little_for_one_fit(data.n, start.means)
        operands = start, prior, threshold, most
        if budget is None:
            return data.compute(run, *operands, quickly=quickly, settings=settings)
        passes = np.float32(budget.amount)
        return data.compute(_run_within, *operands, passes, quickly=quickly, settings=settings)

    if budget is None or budget.unit == "passes":
        return run_from
    return lambda start, most: _run_for_seconds(
        data, start, prior, tolerance, most, budget.amount, settings
    )


def _run_within(
    rows: Rows,
    mixture: Mixture,
    prior: Prior | None,
    tolerance: jax.Array,
    max_steps: jax.Array,
    most_passes: jax.Array,
    *,
    settings: LoopSettings,
) -> Fit:
    """Run a fit in one program until it ends or has made `most_passes` passes."""
    rows, constants = prepare_rows(rows, prior)
    rows = divide_rows(rows, constants, mixture, settings)
    limits = (tolerance, max_steps)
    loop_state = start_loop(rows, constants, mixture, *limits, settings, defer_first_pass=True)
    loop_state = run_loop(rows, constants, loop_state, *limits, settings, most_passes=most_passes)
    return _end(loop_state, constants)


def _end(loop_state: LoopState, constants: RowConstants) -> Fit:
    """Return the result of a loop, which has the status MAX_STEPS if it was still running."""
    state = loop_state.fit_state
    status = jnp.where(state.status == RUNNING, jnp.int32(Status.MAX_STEPS), state.status)
    return fit_of_state(loop_state._replace(fit_state=state._replace(status=status)), constants)


_end_compiled = jax.jit(_end)


def _run_for_seconds(
    data: Data,
    mixture: Mixture,
    prior: Prior | None,
    tolerance: ArrayLike,
    max_steps: int,
    seconds: float,
    settings: LoopSettings,
) -> Fit:
    """Run a fit in slices of few steps, and read the clock after each of them."""
    limits = (jnp.asarray(tolerance, data.dtype), np.int32(max_steps))
    began = time.perf_counter()
    constants, state = data.compute(begin, mixture, prior, *limits, settings=settings)
    steps = 1
    while True:
        done = int(state.fit_state.steps)
        state = data.compute(
            advance, constants, mixture, state, *limits, np.int32(done + steps), settings=settings
        )
        jax.block_until_ready(state.fit_state.steps)
        elapsed = time.perf_counter() - began
        if int(state.fit_state.status) != RUNNING or elapsed >= seconds:
            return _end_compiled(state, constants)
        pace = elapsed / max(int(state.fit_state.steps), 1)
        steps = max(1, int(min(SLICE * seconds, seconds - elapsed) / pace))
