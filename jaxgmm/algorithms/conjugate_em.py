"""Nonlinear conjugate gradients, preconditioned by EM's step."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.objective_value import objective_value
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .coordinate_chart import Chart
from .em import em_step
from .line_search import Point, search_line
from .protocol import Evaluate

# Accepted moves after which the method restarts in a chart about the current mixture.
REBASE_EVERY = 20


class _ConjugateState(NamedTuple):
    """The last direction, with what the next one needs of the point where it began.

    `gradient` (p,) and `inner` () are g and gᵀ(M(x) − x) there, `length` is the accepted length α,
    and `slope` gᵀd. `restarts` says that the next move is EM's step.
    """

    chart: Chart
    position: jax.Array
    direction: jax.Array
    gradient: jax.Array
    inner: jax.Array
    length: jax.Array
    moves: jax.Array
    restarts: jax.Array

    @classmethod
    def start(cls, mixture: Mixture) -> _ConjugateState:
        chart = Chart.about(mixture)
        zero, one = chart.zero, jnp.ones((), mixture.dtype)
        return cls(chart, zero, zero, zero, one, one, jnp.int32(0), jnp.array(True))


@dataclasses.dataclass(frozen=True)
class ConjugateEM:
    """Nonlinear conjugate gradients with EM's step in place of the gradient.

    With EM's map M, s = M(x) − x is the gradient g, preconditioned by the information of the
    complete data. The direction is d = s + β d', d' being the last one, with Polak and Ribière's
    β = sᵀ(g − g')/(s'ᵀg') or 0 if that is negative. Along d a line search looks for a point where
    the slope is at most 0.4 times that at x. The slopes are exact: they follow from the statistics
    of the trial, without another pass.

    A move makes a pass for each trial, most often one or two. When d does not ascend, when no trial
    raises the objective, and after every 20 accepted moves, the method restarts with EM's step. The
    objective never decreases. Positions are measured from the mixture of the last restart (see
    `Chart`), so the path does not depend on the data's units.

    Source: Jamshidian & Jennrich 1993, J. Am. Stat. Assoc. 88; Salakhutdinov, Roweis & Ghahramani
    2003, ICML, sec. 4; Nocedal & Wright 2006, algorithms 3.5 and 5.4 (the search, PR+).

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.ConjugateEM())
    >>> bool(found.converged)
    True
    """

    searches = True  # a move may make several passes

    def init(self, mixture: Mixture, statistics: Statistics) -> _ConjugateState:
        """Return the state before a restart."""
        return _ConjugateState.start(mixture)

    def move(
        self,
        mixture: Mixture,
        state: _ConjugateState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, _ConjugateState, Statistics, jax.Array]:
        """Search along the next direction."""
        chart = state.chart
        step = em_step(mixture, statistics, evaluate, prior)
        ascent = chart.after(state.position, mixture, step) - state.position
        gradient = chart.gradient(state.position, mixture, statistics, prior)

        beta = jnp.sum(ascent * (gradient - state.gradient)) / state.inner
        direction = ascent + jnp.maximum(beta, 0) * state.direction
        restarts = state.restarts | ~(jnp.sum(gradient * direction) > 0)
        direction = jnp.where(restarts, ascent, direction)
        slope = jnp.sum(gradient * direction)
        start = Point(jnp.zeros_like(slope), objective_value(mixture, statistics, prior), slope)

        def mixture_at(length: jax.Array) -> Mixture:
            placed = chart.mixture_at(state.position + length * direction)
            return where(restarts & (length == 1), step.after, placed)

        def try_length(length: jax.Array) -> tuple[Point, Statistics]:
            candidate = mixture_at(length)
            sums = evaluate(candidate)
            position = state.position + length * direction
            slope = jnp.sum(chart.gradient(position, candidate, sums, prior) * direction)
            return Point(length, objective_value(candidate, sums, prior), slope), sums

        first = jnp.where(restarts, 1, state.length)
        search = search_line(try_length, start, statistics, first, takes_first=restarts)
        found = search.low.length > 0
        moved = where(found, mixture_at(search.low.length), mixture)
        after = _ConjugateState(
            chart=chart,
            position=state.position + search.low.length * direction,
            direction=direction,
            gradient=gradient,
            inner=jnp.sum(gradient * ascent),
            length=search.low.length,
            moves=state.moves + 1,
            restarts=jnp.array(False),
        )
        keeps = found & (after.moves < REBASE_EVERY)
        return (
            moved,
            where(keeps, after, _ConjugateState.start(moved)),
            search.results,
            search.trials,
        )
