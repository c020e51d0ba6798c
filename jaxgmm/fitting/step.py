"""`Climb`: one mixture on its way up, and the step that every algorithm takes. `fit` repeats the
step for one mixture, `sweep` for many side by side."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..algorithms.protocol import Algorithm, Pass
from ..data.rows import Rows
from ..internal.trees import cast_like, where
from ..kernels.choice import Choice
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate
from ..objective.m_step import Step, m_step_from
from ..objective.prior import Prior, log_prior
from ..objective.statistics import Statistics
from .degeneracy import degenerate, finite
from .status import RUNNING, Status
from .stopping import STOPPING


class FitState(NamedTuple):
    """Where a climb is. Coordinates start at the rows' center.

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
class Problem:
    """What is climbed, by which algorithm, until when."""

    rows: Rows
    prior: Prior | None
    resolution: jax.Array
    tolerance: jax.Array
    max_steps: jax.Array
    algorithm: Algorithm
    stopping: str
    kernel: str | Choice

    def begin(self, mixture: Mixture, previous=-jnp.inf) -> FitState:
        """The first pass. Under "relative" and "absolute" its objective stops the climb where it
        is as near to `previous`, the objective that an earlier climb ended with."""
        sums = evaluate(mixture, self.rows, self.kernel)
        step = m_step_from(mixture, sums, self.prior)
        objective = sums.log_likelihood + log_prior(mixture, self.prior)
        status = self._status(mixture, sums, step, objective, previous, 0)
        state = self.algorithm.init(mixture, sums)
        return FitState(mixture, state, sums, step, objective, status, jnp.int32(0), jnp.float32(1))

    def opening(self, mixture: Mixture, previous=-jnp.inf) -> FitState:
        """Where a loop of steps begins. EM takes the step that it is given: one that leads nowhere
        but through the first pass, so that the loop's pass serves and no other is compiled. Other
        methods want the first pass before."""
        if not getattr(type(self.algorithm), "starts_without_pass", False):
            return self.begin(mixture, previous)
        blank = jax.tree.map(jnp.zeros_like, jax.eval_shape(self.begin, mixture))
        unknown = jnp.full_like(blank.objective, previous)
        return blank._replace(
            mixture=mixture, em_step=Step.nowhere(mixture), steps=jnp.int32(-1),
            sums=dataclasses.replace(blank.sums, log_likelihood=unknown),
            objective=unknown, status=jnp.int32(RUNNING),
        )  # fmt: skip

    def step(self, climb: FitState) -> tuple[FitState, jax.Array]:
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
        moved = FitState(mixture, state, sums, step, objective, status, climb.steps + 1, passes)
        kept = climb._replace(status=status, passes=passes)
        return where(status != Status.NONFINITE, moved, kept), objective

    def _status(self, mixture, sums, step, objective, previous, steps):
        broken = degenerate(mixture, sums, step, self.prior, self.resolution)
        stop = STOPPING[self.stopping](self.tolerance, step.em_gain, objective, previous)
        shown = dataclasses.replace(mixture, logits=jnp.where(mixture.present, mixture.logits, 0))
        usable = finite(shown, sums, objective)
        status = jnp.where(steps >= self.max_steps, Status.MAX_STEPS, RUNNING)
        status = jnp.where(stop, Status.CONVERGED, status)
        status = jnp.where(broken, Status.DEGENERATE, status)
        return jnp.where(usable, status, Status.NONFINITE).astype(jnp.int32)
