"""Many fits of one shape in one program: each of a few slots takes the next fit when it is free.

A batch of fits that all run until the slowest one ends would waste most of its steps. Here a slot
whose fit has ended stores the result and begins the next fit, so that no slot waits.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.protocol import Algorithm
from ..data.rows import Rows
from ..fitting.status import RUNNING
from ..fitting.step import FitState, Problem
from ..internal.compiling import jit_once, jit_with_options
from ..kernels.choice import Choice
from ..kernels.rounding_bounds import natural_is_safe
from ..mixture.mixture import Mixture
from ..objective.prior import Prior

MOST_SLOTS = 64
# Row weights of all fits of one call take at most this many numbers; more fits make several calls.
MOST_NUMBERS = 1 << 24


@dataclasses.dataclass(frozen=True)
class SlotSettings:
    """What the program is compiled for."""

    algorithm: Algorithm
    kernel: str
    slots: int


class Tasks(NamedTuple):
    """Fits to be run. Arrays with a leading axis of 1 are shared by all t fits.

    Attributes:
      starts: mixtures (t|1 lanes) in the coordinates of the data.
      x: rows (t|1, n, d).
      weight: row weights (t|1, n).
    """

    starts: Mixture
    x: jax.Array
    weight: jax.Array


class Outcome(NamedTuple):
    """What became of each fit, with a leading axis of fits; see `Fit`."""

    mixture: Mixture
    status: jax.Array
    log_likelihood: jax.Array
    objective: jax.Array
    passes: jax.Array


def run_tasks(
    tasks: Tasks,
    n_tasks: int,
    prior: Prior | None,
    *,
    algorithm: Algorithm,
    tolerance: Any,
    max_steps: int,
) -> Outcome:
    """Run the fits and return their outcomes in order."""
    x, dtype = tasks.x, tasks.x.dtype
    center = jnp.asarray(np.asarray(x[0]).mean(axis=0), dtype)
    natural = jit_once(_natural_is_safe, tasks.starts.means.size)(None, tasks.starts, center)
    kernel = "natural" if natural else "whitened"
    numbers = tasks.weight.shape[-1] * (x.shape[-1] if len(x) > 1 else 1)
    size = n_tasks if len(x) == len(tasks.weight) == 1 else max(1, MOST_NUMBERS // numbers)
    tolerance, steps = jnp.asarray(tolerance, dtype), jnp.int32(max_steps)
    outcomes = []
    for first in range(0, n_tasks, size):
        count = min(size, n_tasks - first)
        take = lambda leaf, a=first, b=count: leaf if len(leaf) == 1 else leaf[a : a + b]
        part = jax.tree.map(take, tasks)
        settings = SlotSettings(algorithm, kernel, min(MOST_SLOTS, count))
        program = jit_with_options(_run, quickly=jax.default_backend() == "cpu")
        ids = np.zeros(count, np.int32)
        outcomes.append(program(settings, part, ids, center, prior, tolerance, steps))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outcomes)


def _natural_is_safe(_: None, starts: Mixture, center: jax.Array) -> jax.Array:
    start = jax.tree.map(lambda leaf: leaf[0], starts)
    return natural_is_safe(start.translate(-center))


def _run(
    settings: SlotSettings,
    tasks: Tasks,
    ids: jax.Array,
    center: jax.Array,
    prior: Prior | None,
    tolerance: jax.Array,
    max_steps: jax.Array,
) -> Outcome:
    count, slots = len(ids), settings.slots
    prior = None if prior is None else prior.translate(-center)
    one = lambda leaf, i: leaf[0] if len(leaf) == 1 else leaf[jnp.minimum(i, count - 1)]
    resolution = Rows(tasks.x.reshape(-1, tasks.x.shape[-1]), None, center).detail()

    def problem(i: jax.Array) -> Problem:
        return Problem(
            rows=Rows(one(tasks.x, i), one(tasks.weight, i), center),
            prior=prior,
            resolution=resolution,
            tolerance=tolerance,
            max_steps=max_steps,
            algorithm=settings.algorithm,
            stopping="em-gain",
            kernel=Choice(settings.kernel, slots),
        )

    def begin(i: jax.Array) -> FitState:
        start = jax.tree.map(lambda leaf: one(leaf, i), tasks.starts)
        return problem(i).begin_in_loop(start.translate(-center))

    def outcome_of(state: FitState) -> Outcome:
        return Outcome(
            state.mixture.translate(center),
            state.status,
            state.sums.log_likelihood,
            state.objective,
            state.passes,
        )

    def unfinished(loop: tuple[Any, ...]) -> jax.Array:
        return jnp.any(loop[0] < count)

    def advance(loop: tuple[Any, ...]) -> tuple[Any, ...]:
        number, following, states, outcomes = loop
        moved = jax.vmap(lambda i, state: problem(i).step(state)[0])(number, states)
        ended = (moved.status != RUNNING) & (number < count)

        def refill() -> tuple[Any, ...]:
            place = jnp.where(ended, number, count)
            store = lambda all_of, new: all_of.at[place].set(new, mode="drop")
            stored = jax.tree.map(store, outcomes, jax.vmap(outcome_of)(moved))
            next_number = following + jnp.cumsum(ended, dtype=jnp.int32) - 1
            new = jnp.where(ended, jnp.minimum(next_number, count), number)
            fresh = jax.vmap(begin)(new)
            pick = lambda a, b: jnp.where(ended.reshape(-1, *[1] * (a.ndim - 1)), a, b)
            chosen = jax.tree.map(pick, fresh, moved)
            return new, following + jnp.sum(ended, dtype=jnp.int32), chosen, stored

        keep = lambda: (number, following, moved, outcomes)
        return jax.lax.cond(jnp.any(ended), refill, keep)

    number = jnp.arange(slots, dtype=jnp.int32)
    states = jax.vmap(begin)(number)
    shapes = jax.eval_shape(outcome_of, jax.tree.map(lambda leaf: leaf[0], states))
    outcomes = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), shapes)
    loop = (number, jnp.int32(slots), states, outcomes)
    return jax.lax.while_loop(unfinished, advance, loop)[3]
