"""The state of one fit, and the step that every algorithm takes.

`fit` repeats the step for one mixture, `sweep` for many mixtures in one batch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..algorithms.protocol import Algorithm, Pass, StoppingValues, stopping_values_of
from ..data.rows import Rows
from ..internal.trees import cast_like, finite, where
from ..kernels.choice import Choice
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate
from ..objective.m_step import Step, m_step_from
from ..objective.objective_value import objective_value
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .degeneracy import has_collapsed, has_no_step
from .status import RUNNING, Status
from .stopping import STOPPING
from .units import Rise


class FitState(NamedTuple):
    """The state of a fit between two steps, in coordinates whose origin is the rows' center.

    Attributes:
      mixture: the last accepted mixture.
      state: the state of the algorithm.
      sums: the statistics at `mixture`.
      em_step: EM's step from `mixture`. The stopping rule uses its gain, and EM takes it.
      objective: () objective of `mixture`.
      status: () `RUNNING`, or a `Status`.
      steps: () accepted steps.
      passes: () passes over the rows.
    """

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
    """An objective (rows and prior), the algorithm that maximizes it, and when to stop.

    `rise` is what the unit of the data adds to the objective of these rows, or None.
    """

    rows: Rows
    prior: Prior | None
    resolution: jax.Array
    tolerance: jax.Array
    max_steps: jax.Array
    algorithm: Algorithm
    stopping: str
    kernel: str | Choice
    rise: Rise | None = None

    def begin(self, mixture: Mixture, previous: ArrayLike = -jnp.inf) -> FitState:
        """Make the first pass, and return the state before the first step.

        `previous` is the objective at which an earlier fit ended. The stopping rules "relative" and
        "absolute" compare the objective of the first pass with it.
        """
        sums = evaluate(mixture, self.rows, self.kernel)
        step = m_step_from(mixture, sums, self.prior)
        objective = self._objective(mixture, sums)
        state = self.algorithm.init(mixture, sums)
        values = StoppingValues(step.em_gain, objective, jnp.asarray(previous, mixture.dtype))
        status, _ = self._status(mixture, state, sums, step, values, 0, False)
        return FitState(
            mixture=mixture,
            state=state,
            sums=sums,
            em_step=step,
            objective=objective,
            status=status,
            steps=jnp.int32(0),
            passes=jnp.float32(1),
        )

    def begin_in_loop(self, mixture: Mixture, previous: ArrayLike = -jnp.inf) -> FitState:
        """Return a state from which a loop of steps makes the first pass itself, where it can.

        EM takes the step that the state contains. With a step that moves nothing, the first
        iteration of the loop is just a pass, and only the loop's own pass is compiled. Other
        algorithms need the first pass before the loop.
        """
        if not getattr(type(self.algorithm), "starts_without_pass", False):
            return self.begin(mixture, previous)
        unknown = jnp.asarray(previous, mixture.dtype)
        sums = dataclasses.replace(Statistics.zero(mixture), log_likelihood=unknown)
        return self._before(mixture, sums, unknown, steps=-1)

    def begin_with_statistics(self, mixture: Mixture, sums: Statistics) -> FitState:
        """Return a state from which a loop of EM makes the M-step of a start itself.

        `sums` are statistics at `mixture` that come from no pass (see `starts.Assigned`). The first
        iteration of the loop makes their M-step, and the second one the first pass.
        """
        unknown = jnp.full((), -jnp.inf, mixture.dtype)
        return self._before(mixture, sums, unknown, steps=-2)

    def _before(
        self, mixture: Mixture, sums: Statistics, objective: jax.Array, steps: int
    ) -> FitState:
        """Return a state before the first pass."""
        return FitState(
            mixture=mixture,
            state=self.algorithm.init(mixture, sums),
            sums=sums,
            em_step=Step.zero(mixture),
            objective=objective,
            status=jnp.int32(RUNNING),
            steps=jnp.int32(steps),
            passes=jnp.float32(0),
        )

    def step(self, fit_state: FitState, *, starts: bool = False) -> tuple[FitState, jax.Array]:
        """Move once, and return the new state and the objective that the move led to.

        A move to a mixture that has collapsed or is not finite is rejected. With `starts`, a state
        may be one of `begin_with_statistics`.
        """
        take_pass = Pass(self.rows, self.kernel, fit_state.em_step, self.tolerance)
        mixture, state, sums, passes = self.algorithm.move(
            fit_state.mixture, fit_state.state, fit_state.sums, take_pass, self.prior
        )
        is_start = fit_state.steps < -1
        if starts:
            known = fit_state.mixture, fit_state.sums, 0
            mixture, sums, passes = where(is_start, known, (mixture, sums, passes))
        state = cast_like(state, fit_state.state)
        step = m_step_from(mixture, sums, self.prior)
        objective = self._objective(mixture, sums)
        steps, passes = fit_state.steps + 1, fit_state.passes + passes
        values = StoppingValues(step.em_gain, objective, fit_state.objective)
        # A start may be too narrow, since EM's step can widen it. Only a move is rejected.
        collapsed = steps > 0
        collapsed &= has_collapsed(mixture, fit_state.sums.mass, self.prior, self.resolution)
        status, usable = self._status(mixture, state, sums, step, values, steps, collapsed)
        accepted = usable & ~collapsed
        if starts:  # nothing is known before the first pass
            unknown = jnp.full_like(objective, -jnp.inf)
            objective, status = where(is_start, (unknown, RUNNING), (objective, status))
            accepted = accepted | is_start
        moved = FitState(
            mixture=mixture,
            state=state,
            sums=sums,
            em_step=step,
            objective=objective,
            status=status,
            steps=steps,
            passes=passes,
        )
        rejected = fit_state._replace(status=status, passes=passes)
        # A choice between leaves would be one kernel for each of them.
        return jax.lax.cond(accepted, lambda: moved, lambda: rejected), objective

    def _objective(self, mixture: Mixture, sums: Statistics) -> jax.Array:
        """Return the objective in the unit of the data."""
        value = objective_value(mixture, sums, self.prior)
        return value if self.rise is None else value + self.rise.of_objective(mixture, self.prior)

    def _status(
        self,
        mixture: Mixture,
        state: Any,
        sums: Statistics,
        step: Step,
        values: StoppingValues,
        steps: jax.Array | int,
        collapsed: jax.Array | bool,
    ) -> tuple[jax.Array, jax.Array]:
        """Return the status after a move, and whether the move led to what is finite."""
        degenerate = collapsed | has_no_step(mixture, sums, step)
        read = stopping_values_of(self.algorithm, state, values)
        stop = STOPPING[self.stopping](self.tolerance, *read)
        # Absent components have logits of −inf, and are no failure.
        shown = dataclasses.replace(mixture, logits=jnp.where(mixture.present, mixture.logits, 0))
        usable = finite(shown, sums, values.objective)
        status = jnp.where(steps >= self.max_steps, Status.MAX_STEPS, RUNNING)
        status = jnp.where(stop, Status.CONVERGED, status)
        status = jnp.where(degenerate, Status.DEGENERATE, status)
        return jnp.where(usable, status, Status.NONFINITE).astype(jnp.int32), usable
