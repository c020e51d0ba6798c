"""Moves by secants of EM's map: an EM step, corrected by what earlier steps say of its derivative.

`Anderson` and `QuasiNewtonEM` differ only in the formula of the correction and in how often it is
used. Everything else is here.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.objective_value import objective_value
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .coordinate_chart import Chart, length, push
from .em import em_step
from .protocol import Evaluate
from .safeguard import try_extrapolation

# Accepted moves after which the current mixture becomes the origin of a new chart.
REBASE_EVERY = 20

# The factor by which the largest allowed length of a correction grows and shrinks.
GROWTH = 2.0

# The least confidence, which corrections that help can still make up for.
LEAST_CONFIDENCE = -50.0

# Corrections may always be this long, in units of EM's step.
LEAST_LONGEST = 0.1


class SecantState(NamedTuple):
    """The path in one chart.

    Attributes:
      chart: the chart of all positions.
      position: (p,) the current mixture's position x.
      last_position: (p,) the position before the last accepted move.
      last_residual: (p,) M(x) − x there, M being EM's map.
      positions: (m, p) differences of successive positions, the newest first; zeros are unused.
      residuals: (m, p) the differences of M(x) − x that belong to them.
      moves: () the number of accepted moves in this chart.
      takes_em: () whether the next move is EM's step.
      rejected: () whether the last move was rejected.
      longest: () the largest allowed length of a correction, in units of EM's step.
      confidence: () accepted corrections, minus a penalty for rejected ones.
    """

    chart: Chart
    position: jax.Array
    last_position: jax.Array
    last_residual: jax.Array
    positions: jax.Array
    residuals: jax.Array
    moves: jax.Array
    takes_em: jax.Array
    rejected: jax.Array
    longest: jax.Array
    confidence: jax.Array

    @classmethod
    def start(cls, mixture: Mixture, memory: int) -> SecantState:
        """Return the state at `mixture`, without any difference."""
        chart = Chart.about(mixture)
        zero, dtype = chart.zero, mixture.dtype
        differences = jnp.zeros((memory, len(zero)), dtype)
        return cls(
            chart=chart,
            position=zero,
            last_position=zero,
            last_residual=zero,
            positions=differences,
            residuals=differences,
            moves=jnp.int32(0),
            takes_em=jnp.array(True),
            rejected=jnp.array(False),
            longest=jnp.ones((), dtype),
            confidence=jnp.zeros((), dtype),
        )

    def with_difference(self, residual: jax.Array, only_of_em: bool) -> SecantState:
        """Return the state with the last move's differences, from the residual after it.

        A rejected move has none. With `only_of_em` those of corrected moves are not kept.
        """
        known = (self.moves > 0) & ~self.rejected
        if only_of_em:  # corrected moves and EM's alternate
            known &= ~self.takes_em
        pushed = (
            push(self.positions, self.position - self.last_position),
            push(self.residuals, residual - self.last_residual),
        )
        positions, residuals = where(known, pushed, (self.positions, self.residuals))
        return self._replace(positions=positions, residuals=residuals)


@dataclasses.dataclass(frozen=True)
class SecantMethod(abc.ABC):
    """An algorithm that corrects EM's steps by differences of earlier positions and residuals.

    Attributes:
      memory: the largest number of differences.
      alternates: whether every second move is EM's step, and only those steps give differences.
    """

    memory: int
    alternates: ClassVar[bool]

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", checks.whole(self.memory, "memory", 1))

    @abc.abstractmethod
    def correction(self, state: SecantState, residual: jax.Array) -> jax.Array:
        """Return the vector (p,) that is added to M(x), from the residual M(x) − x."""

    def init(self, mixture: Mixture, statistics: Statistics) -> SecantState:
        """Return a path without differences, whose first move is EM's step."""
        return SecantState.start(mixture, self.memory)

    def move(
        self,
        mixture: Mixture,
        state: SecantState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, SecantState, Statistics, int]:
        """Make EM's step or a corrected one, and one pass.

        A corrected move that lowers the objective is rejected, and the next one is EM's step.

        The correction leads to a point where M(x) − x is about 0, which may be a saddle. Where EM
        moves away from a saddle, it points backwards, and its opposite is used, which escapes
        faster.
        """
        step = em_step(mixture, statistics, evaluate, prior)
        target = state.chart.after(state.position, mixture, step)
        residual = target - state.position
        state = state.with_difference(residual, only_of_em=self.alternates)

        change = self.correction(state, residual)
        change = jnp.where(jnp.sum(change * residual) < 0, -change, change)
        em_length = length(residual)
        relative_length = length(change) / jnp.where(em_length > 0, em_length, 1)
        shortened = relative_length > state.longest
        change = jnp.where(shortened, state.longest / relative_length, 1) * change
        takes_em = state.takes_em | ~(relative_length > 0)
        candidate = where(takes_em, step.after, state.chart.mixture_at(target + change))
        moved, sums, accepted = try_extrapolation(
            candidate, mixture, statistics, evaluate, prior, always=takes_em
        )

        # A correction helps if the objective rises by as much as EM's step would have gained.
        rise = objective_value(moved, sums, prior) - objective_value(mixture, statistics, prior)
        helps = accepted & (rise >= step.em_gain * jnp.sum(statistics.mass))
        judged = _judge(state, relative_length, accepted, helps)
        longest, confidence = where(takes_em, (state.longest, state.confidence), judged)
        reached = jnp.where(takes_em, target, target + change)
        after = state._replace(
            position=jnp.where(accepted, reached, state.position),
            last_position=jnp.where(accepted, state.position, state.last_position),
            last_residual=jnp.where(accepted, residual, state.last_residual),
            moves=state.moves + accepted,
            takes_em=~takes_em & (self.alternates | ~accepted),
            rejected=~accepted,
            longest=longest,
            confidence=confidence,
        )
        return moved, _rebase(after, moved), sums, 1


def _judge(
    state: SecantState, relative_length: jax.Array, accepted: jax.Array, helps: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the new `longest` and `confidence`, after a correction of this length."""
    shortened = relative_length > state.longest
    longest = jnp.where(
        helps,
        jnp.where(shortened, state.longest * GROWTH, state.longest),
        jnp.maximum(jnp.minimum(state.longest, relative_length) / GROWTH, LEAST_LONGEST),
    )
    penalized = jnp.maximum(state.confidence - len(state.positions), LEAST_CONFIDENCE)
    return longest, jnp.where(accepted, state.confidence + 1, penalized)


def _rebase(state: SecantState, mixture: Mixture) -> SecantState:
    """Return the state in a chart about `mixture`, without differences, if it is time for one."""
    new = SecantState.start(mixture, len(state.positions))
    new = new._replace(longest=state.longest, confidence=state.confidence)
    return where(state.moves >= REBASE_EVERY, new, state)
