"""`Auto`: EM far from an optimum, and a quasi-Newton method that starts from EM's step near it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..mixture.relative_coordinates import Relative
from ..objective.objective_value import objective_value, rounding_error
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .coordinate_chart import Chart
from .em import em_step
from .lbfgs_direction import Memory
from .line_search import SUFFICIENT, Point, next_length
from .protocol import Evaluate

# Where EM's gain is larger than this, in nats per unit of row weight, the objective is not close to
# quadratic. EM's steps are then better than those that earlier gradients predict.
NEAR = 1e-2

# How far a quasi-Newton move may displace a component, in its own standard deviations. Longer
# moves may empty a component.
FARTHEST = 1.0

# A rejected move is tried again with a fraction of its length, down to this one.
LEAST_FRACTION = 0.1


class AutoState(NamedTuple):
    """What the next move needs of the earlier ones.

    Attributes:
      memory: pairs of earlier steps.
      fraction: () of the next step that is tried.
      value: () the objective at the current mixture, per unit of row weight; −inf before the first
        move.
      gradient: (p,) its gradient there, in the chart about the mixture.
    """

    memory: Memory
    fraction: jax.Array
    value: jax.Array
    gradient: jax.Array


@dataclasses.dataclass(frozen=True)
class Auto:
    """EM while its gain is large, and then a quasi-Newton method that starts from EM's step.

    EM's step is the gradient times the inverse information of the complete data. Near an optimum,
    a Newton step would use the information of the observed rows instead, which is smaller. L-BFGS
    learns the difference from the last gradients. Where components are separated, there is little
    to learn, and the moves are EM's. Where they overlap, the number of moves depends much less on
    the overlap than EM's does.

    A move makes one pass. It is EM's while EM's gain D is 0.01 nats per row or more. Any other move
    displaces a mean by one standard deviation at most. If it lowers the objective, it is rejected,
    and a shorter one is tried, or EM's, so the objective never decreases. Like every method but EM,
    it may end at another optimum than EM would, which may be lower or higher.

    Each move is measured from the current mixture, in units of its components (see `Chart`), so the
    path does not depend on the data's units. From move to move, vectors keep their entries in these
    units, as they do in Riemannian L-BFGS with a transport by identity (Hosseini & Sra 2020). The
    gradient of a mixture is then computed once, from its statistics.

    Args:
      memory: the number of steps that are remembered.

    Raises:
      ValueError: if `memory` is not a whole number, 1 or more.

    Source: Jamshidian & Jennrich 1997, J. R. Stat. Soc. B 59, sec. 3 (QN2), with the limited memory
    of Nocedal & Wright 2006, algorithm 7.5; Lange 1995, Statistica Sinica 5. When to begin, and the
    safeguards, are this library's.

    >>> x = jaxgmm.simulate(jax.random.key(0), 500, 2, 2, separation=1.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> passes = [jaxgmm.fit(x, start, a).passes for a in (jaxgmm.Auto(), jaxgmm.EM())]
    >>> bool(passes[0] < passes[1])
    True
    """

    starts_without_pass: ClassVar[bool] = True

    memory: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", checks.whole(self.memory, "memory", 1))

    def init(self, mixture: Mixture, statistics: Statistics) -> AutoState:
        """Return the state before the first move, which is EM's step."""
        zero, one = Chart(mixture).zero, jnp.ones((), mixture.dtype)
        return AutoState(Memory.empty(self.memory, zero), one, -jnp.inf * one, zero)

    def move(
        self,
        mixture: Mixture,
        state: AutoState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, AutoState, Statistics, int]:
        """Make EM's step or a quasi-Newton step, and one pass."""
        step = em_step(mixture, statistics, evaluate, prior)
        here = Chart.about(mixture)
        ascent = here.position_of(step.local)
        change = state.memory.direction(state.gradient, ascent)
        change *= state.fraction / jnp.maximum(here.farthest(change) / FARTHEST, 1)
        slope = jnp.sum(change * state.gradient)
        takes_em = (state.fraction < LEAST_FRACTION) | ~state.memory.has_pairs | ~(slope > 0)
        change = jnp.where(takes_em, ascent, change)

        local = where(takes_em, step.local, here.local_at(change))
        there = Chart.about(Relative().place(mixture, local))
        sums = evaluate(there.origin)
        total = jnp.sum(sums.mass)
        value = objective_value(there.origin, sums, prior) / total
        gradient = there.gradient_at_origin(sums, prior) / total

        slack = rounding_error(value, value.dtype)
        rises = value >= state.value + SUFFICIENT * slope - slack  # not if it is NaN
        is_first = state.value == -jnp.inf
        forgets = is_first | (step.em_gain >= NEAR) | (state.fraction < LEAST_FRACTION)
        memory = state.memory.after(change, state.gradient - gradient)
        memory = where(forgets, Memory.empty(self.memory, here.zero), memory)
        moved = AutoState(memory, jnp.ones_like(value), value, gradient)
        begin = Point(jnp.zeros_like(value), state.value, slope)
        end = Point(jnp.ones_like(value), value, jnp.sum(change * gradient))
        shorter = state._replace(fraction=state.fraction * next_length(begin, end, begin))
        accepted = (there.origin, moved, sums)
        return *where(takes_em | rises, accepted, (mixture, shorter, statistics)), 1
