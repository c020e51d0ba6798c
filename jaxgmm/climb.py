"""`Climb`: one mixture on its way up, and the step that every algorithm takes. `fit` repeats the
step for one mixture, `sweep` for many side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from .em import EM, Step, m_step_from
from .kernels import Choice
from .likelihood import evaluate
from .mixture import Mixture
from .prior import Prior, log_prior
from .rows import Rows
from .statistics import Statistics
from .status import RUNNING, Status, degenerate, finite
from .trees import cast_like, where


class Algorithm(Protocol):
    """What `fit` asks of a method. Frozen and hashable by value, so that building an equal one
    again does not compile again."""

    def init(self, mixture: Mixture, statistics: Statistics) -> Any:
        """The state before the first move: a pytree of arrays of fixed shape."""

    def move(
        self,
        mixture: Mixture,
        state: Any,
        statistics: Statistics,
        evaluate: Callable[[Mixture], Statistics],
        prior: Prior | None,
    ) -> tuple[Mixture, Any, Statistics, jax.Array | float]:
        """One move from an accepted mixture with its statistics.

        `evaluate` is one pass over the rows; the log-likelihood it returns carries its gradient
        with respect to the mixture. Returns the next accepted mixture, the state, the statistics
        *of that mixture*, and how many passes were made.

        `evaluate.em_step` is EM's step from `mixture`, which the stopping rule has computed (None
        if it has not). A move that is not taken returns what it was given."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """What `Algorithm.move` gets for `evaluate`."""

    rows: Rows
    kernel: str | Choice
    em_step: Step | None

    def __call__(self, mixture: Mixture) -> Statistics:
        """One pass over the rows."""
        return evaluate(mixture, self.rows, self.kernel)


def _kl(tolerance, gain, objective, previous):
    return gain < tolerance


def _absolute(tolerance, gain, objective, previous):
    change = jnp.abs(objective - previous)
    # A trial that was not taken leaves the objective as it was: no reason to stop before a fixed
    # point.
    return (change < tolerance) & ((change > 0) | (gain < tolerance))


def _relative(tolerance, gain, objective, previous):
    change, scale = jnp.abs(objective - previous), jnp.abs(objective)
    return (change < tolerance * scale) & ((change > 0) | (gain < tolerance))


STOPPING = {"kl": _kl, "relative": _relative, "absolute": _absolute}


class Climb(NamedTuple):
    """Where a climb is. Coordinates start at the rows' centre.

    `em_step` is EM's step from `mixture`: the stopping rule reads its gain, and EM takes it."""

    mixture: Mixture
    state: Any
    sums: Statistics
    em_step: Step
    objective: jax.Array
    status: jax.Array
    steps: jax.Array
    passes: jax.Array


@dataclasses.dataclass(frozen=True)
class Ascent:
    """What is climbed, by which algorithm, until when."""

    rows: Rows
    prior: Prior | None
    resolution: jax.Array
    tolerance: jax.Array
    max_steps: jax.Array
    algorithm: Algorithm
    stopping: str
    kernel: str | Choice

    def begin(self, mixture: Mixture, previous=-jnp.inf) -> Climb:
        """The first pass. Under "relative" and "absolute" its objective stops the climb where it
        is as near to `previous`, the objective that an earlier climb ended with."""
        sums = evaluate(mixture, self.rows, self.kernel)
        step = m_step_from(mixture, sums, self.prior)
        objective = sums.log_likelihood + log_prior(mixture, self.prior)
        status = self._status(mixture, sums, step, objective, previous, 0)
        state = self.algorithm.init(mixture, sums)
        return Climb(mixture, state, sums, step, objective, status, jnp.int32(0), jnp.float32(1))

    def opening(self, mixture: Mixture, previous=-jnp.inf) -> Climb:
        """Where a loop of steps begins. EM takes the step that it is given: one that leads nowhere
        but through the first pass, so that the loop's pass serves and no other is compiled. Other
        methods want the first pass before."""
        if getattr(type(self.algorithm), "move", None) is not EM.move:
            return self.begin(mixture, previous)
        blank = jax.tree.map(jnp.zeros_like, jax.eval_shape(self.begin, mixture))
        unknown = jnp.full_like(blank.objective, previous)
        return blank._replace(
            mixture=mixture, em_step=Step.nowhere(mixture), steps=jnp.int32(-1),
            sums=dataclasses.replace(blank.sums, log_likelihood=unknown),
            objective=unknown, status=jnp.int32(RUNNING),
        )  # fmt: skip

    def step(self, climb: Climb) -> tuple[Climb, jax.Array]:
        """One move, and the objective it led to; a move to what is not finite is not taken."""
        take_pass = Pass(self.rows, self.kernel, climb.em_step)
        mixture, state, sums, passes = self.algorithm.move(
            climb.mixture, climb.state, climb.sums, take_pass, self.prior
        )
        state = cast_like(state, climb.state)
        step = m_step_from(mixture, sums, self.prior)
        objective = sums.log_likelihood + log_prior(mixture, self.prior)
        status = self._status(mixture, sums, step, objective, climb.objective, climb.steps + 1)
        passes = climb.passes + passes
        moved = Climb(mixture, state, sums, step, objective, status, climb.steps + 1, passes)
        kept = climb._replace(status=status, passes=passes)
        return where(status != Status.NONFINITE, moved, kept), objective

    def _status(self, mixture, sums, step, objective, previous, steps):
        broken = degenerate(mixture, sums, step, self.prior, self.resolution)
        stop = STOPPING[self.stopping](self.tolerance, step.gain, objective, previous)
        shown = dataclasses.replace(mixture, logits=jnp.where(mixture.present, mixture.logits, 0))
        usable = finite(shown, sums, objective)
        status = jnp.where(steps >= self.max_steps, Status.MAX_STEPS, RUNNING)
        status = jnp.where(stop, Status.CONVERGED, status)
        status = jnp.where(broken, Status.DEGENERATE, status)
        return jnp.where(usable, status, Status.NONFINITE).astype(jnp.int32)
