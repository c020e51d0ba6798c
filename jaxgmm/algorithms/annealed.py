"""Deterministic annealing: EM with responsibilities that are flattened at first."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks
from ..internal.trees import cast_like
from ..kernels.responsibilities import tempered, weighted_responsibilities
from ..mixture.mixture import Mixture
from ..objective.m_step import Step, m_step_from
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import EM
from .protocol import Algorithm, Pass, StoppingValues, stopping_values_of

PLAIN = EM()
GEOMETRIC = tuple(float(beta) for beta in np.geomspace(0.2, 1.0, 8).round(3))


class _AnnealedState(NamedTuple):
    """`age` counts the moves, and `step` is the next tempered M-step, from the current mixture.

    `inner` is the state of the algorithm that follows.
    """

    age: jax.Array
    step: Step
    inner: Any


@dataclasses.dataclass(frozen=True)
class Annealed:
    """Deterministic annealing, followed by another algorithm.

    While it anneals, a move is an EM step with responsibilities in proportion to (π N)^β, and β
    rises to 1. A small β flattens the responsibilities, which makes the first steps depend less on
    the start. Then `algorithm` starts from the mixture that was reached. With schedule (1,), this
    is `algorithm` itself.

    Each EM step at β < 1 also draws the components together: where they coincide, their means
    approach each other by the factor β. With many steps at small β, clusters that overlap cannot
    separate them again, and the fit ends at a mixture of equal components. Few steps are better.

    A move while annealing makes one pass, which computes the statistics for β as well as those of
    EM. The objective, EM's gain and the history are therefore those of any other algorithm, and the
    objective may fall in these moves. No stopping rule ends the fit before the schedule ends. The
    first move does not change the mixture, because its pass computes the first statistics for β.

    At a fixed β, the tempered EM steps never lower Σ w log(Σ_k (π_k N_k)^β) / β + log prior. Rows
    with missing values or noise are tempered in the same way: N is the density of what was seen,
    and only the responsibilities change.

    Args:
      algorithm: the algorithm that follows.
      schedule: the values of β, above 0, of which the last is 1. They usually ascend; values above
        1 sharpen the responsibilities.
      steps: the number of EM steps for each β but the last.

    Raises:
      ValueError: if `algorithm` is not an algorithm, the schedule does not end at 1, or `steps` is
        not a positive whole number.

    Source: Ueda & Nakano 1998, Neural Networks 11, sec. 3.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2, method="random-rows")
    >>> found = jaxgmm.fit(x, start, jaxgmm.Annealed(schedule=(0.3, 0.6, 1.0), steps=5))
    >>> bool(found.converged), bool(found.passes == found.steps + 1)
    (True, True)
    """

    algorithm: Algorithm = PLAIN
    schedule: tuple[float, ...] = GEOMETRIC
    steps: int = 1

    def __post_init__(self) -> None:
        checks.algorithm(self.algorithm)
        object.__setattr__(self, "steps", checks.whole(self.steps, "steps", 1))
        object.__setattr__(self, "schedule", _check_schedule(self.schedule))

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"annealed {getattr(self.algorithm, 'name', type(self.algorithm).__name__)}"

    @property
    def _moves(self) -> int:
        """The number of moves that anneal. The first of them makes no step."""
        betas = len(self.schedule) - 1
        return betas * self.steps + 1 if betas else 0

    def init(self, mixture: Mixture, statistics: Statistics) -> _AnnealedState:
        """Return a state whose first step does not change the mixture."""
        inner = self.algorithm.init(mixture, statistics)
        return _AnnealedState(jnp.int32(0), Step.zero(mixture), inner)

    def stopping_values(self, state: _AnnealedState, values: StoppingValues) -> StoppingValues:
        """Return values that meet no stopping rule before the schedule ends."""
        after = stopping_values_of(self.algorithm, state.inner, values)
        return after.unless(state.age < self._moves)

    def move(
        self,
        mixture: Mixture,
        state: _AnnealedState,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, _AnnealedState, Statistics, jax.Array | float]:
        """Make a tempered EM step, or a move of the algorithm that follows."""

        def follow() -> tuple[Mixture, _AnnealedState, Statistics, jax.Array]:
            moved, inner, sums, passes = self.algorithm.move(
                mixture, state.inner, statistics, evaluate, prior
            )
            after = state._replace(age=state.age + 1, inner=cast_like(inner, state.inner))
            # Both branches of `cond` must return the same dtypes.
            moved, sums = cast_like((moved, sums), (mixture, statistics))
            return moved, after, sums, jnp.asarray(passes, jnp.float32)

        def anneal() -> tuple[Mixture, _AnnealedState, Statistics, jax.Array]:
            moved = state.step.after
            beta = jnp.asarray(self.schedule, mixture.dtype)[state.age // self.steps]
            sums, flat = evaluate.by_rules(moved, weighted_responsibilities, tempered(beta))
            inner = cast_like(self.algorithm.init(moved, sums), state.inner)
            after = _AnnealedState(state.age + 1, m_step_from(moved, flat, prior), inner)
            return moved, after, sums, jnp.float32(1)

        if not self._moves:
            return follow()
        return jax.lax.cond(state.age < self._moves, anneal, follow)


def _check_schedule(schedule: Any) -> tuple[float, ...]:
    """Return the schedule as numbers; raise ValueError if it does not end at 1."""
    try:
        betas = tuple(float(beta) for beta in schedule)
    except (TypeError, ValueError):
        betas = ()
    if not betas or betas[-1] != 1 or not all(0 < beta < np.inf for beta in betas):
        raise ValueError(
            f"schedule is {schedule!r}: pass positive numbers that end at 1, e.g. (0.6, 0.8, 1.0)."
        )
    return betas
