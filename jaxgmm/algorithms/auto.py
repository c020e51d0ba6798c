"""`Auto`: EM far from an optimum, and a quasi-Newton method that starts from EM's step near it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from ..objective.value import objective_value, rounding_error
from .chart import Chart
from .em import em_step
from .limited_memory import Memory
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
    """Pairs of earlier steps, and the fraction () of the next one that is tried."""

    memory: Memory
    fraction: jax.Array


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
    and a shorter one is tried, or EM's, so the objective never decreases. Each move is measured
    from the current mixture, in units of its components (see `Chart`), so the path does not depend
    on the data's units. Like every method but EM, it may end at another optimum than EM would,
    which may be lower or higher.

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

    memory: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", checks.whole(self.memory, "memory", 1))

    def init(self, mixture: Mixture, statistics: Statistics) -> AutoState:
        """Return the state before the first move, which is EM's step."""
        zero = Chart.about(mixture).zero
        return AutoState(Memory.empty(self.memory, zero), jnp.ones((), mixture.dtype))

    def move(
        self,
        mixture: Mixture,
        state: AutoState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, AutoState, Statistics, int]:
        """Make EM's step or a quasi-Newton step, and one pass."""
        total = jnp.sum(statistics.mass)
        step = em_step(mixture, statistics, evaluate, prior)
        chart = Chart.about(mixture)
        ascent = chart.after(chart.zero, mixture, step)
        gradient = chart.gradient(chart.zero, mixture, statistics, prior) / total

        change = state.memory.direction(gradient, ascent)
        change *= state.fraction / jnp.maximum(chart.farthest(change) / FARTHEST, 1)
        ascends = jnp.sum(change * gradient) > 0
        takes_em = (state.fraction < LEAST_FRACTION) | ~state.memory.has_pairs | ~ascends
        change = jnp.where(takes_em, ascent, change)

        candidate = where(takes_em, step.apply_to(mixture), chart.mixture_at(change))
        sums = evaluate(candidate)
        there = chart.gradient(change, candidate, sums, prior) / total

        def point(length: float, at: Mixture, sums: Statistics, gradient: jax.Array) -> Point:
            value = objective_value(at, sums, prior) / total
            return Point(jnp.full_like(value, length), value, jnp.sum(gradient * change))

        begin = point(0, mixture, statistics, gradient)
        end = point(1, candidate, sums, there)
        slack = rounding_error(begin.value, begin.value.dtype)
        rises = end.value >= begin.value + SUFFICIENT * begin.slope - slack  # not if it is NaN
        accepted = takes_em | rises

        forgotten = Memory.empty(self.memory, chart.zero)
        forgets = (step.em_gain >= NEAR) | (state.fraction < LEAST_FRACTION)
        memory = where(forgets, forgotten, state.memory.after(change, gradient - there))
        shorter = AutoState(state.memory, state.fraction * next_length(begin, end, begin))
        one = jnp.ones_like(state.fraction)
        return *where(
            accepted,
            (candidate, AutoState(memory, one), sums),
            (mixture, shorter, statistics),
        ), 1
