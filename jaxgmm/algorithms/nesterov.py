"""EM with Nesterov's momentum, restarted when the objective falls."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .coordinate_chart import Chart
from .em import em_step
from .protocol import Evaluate
from .safeguard import try_extrapolation


class _NesterovState(NamedTuple):
    """`position` is that of the current mixture y, and `last` that of the last M(y).

    `momentum` is Nesterov's t, from which β follows, and `takes_em` says that the next move is EM's
    step.
    """

    chart: Chart
    position: jax.Array
    last: jax.Array
    momentum: jax.Array
    takes_em: jax.Array


@dataclasses.dataclass(frozen=True)
class NesterovEM:
    """EM with Nesterov's momentum and adaptive restarts.

    Let M be EM's map. A move from y leads to M(y) + β (M(y) − M(y')), where y' is the mixture
    before y, and makes one pass. β = (t − 1)/t' grows from 0 towards 1, with
    t' = (1 + √(1 + 4t²))/2. A move that lowers the objective is rejected. The next one is then EM's
    step, and the momentum starts again with β = 0. The objective therefore never decreases.

    Differences are taken in a chart about the mixture of the last restart (see `Chart`), so the
    path does not depend on the data's units.

    Source: Nesterov 1983; Beck & Teboulle 2009, SIAM J. Imaging Sci. 2 (the sequence t); O'Donoghue
    & Candès 2015, Found. Comput. Math. 15, sec. 3.2 (restarts); d'Aspremont, Scieur & Taylor 2021.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.NesterovEM())
    >>> bool(found.converged)
    True
    """

    def init(self, mixture: Mixture, statistics: Statistics) -> _NesterovState:
        """Return the start of the momentum, whose first move is EM's step."""
        return _start(mixture)

    def move(
        self,
        mixture: Mixture,
        state: _NesterovState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, _NesterovState, Statistics, int]:
        """Make EM's step with momentum."""
        step = em_step(mixture, statistics, evaluate, prior)
        target = state.chart.after(state.position, mixture, step)
        momentum = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
        beta = jnp.where(state.takes_em, 0, (state.momentum - 1) / momentum)
        reached = target + beta * (target - state.last)
        candidate = where(state.takes_em, step.after, state.chart.mixture_at(reached))
        moved, sums, accepted = try_extrapolation(
            candidate, mixture, statistics, evaluate, prior, always=state.takes_em
        )
        after = _NesterovState(state.chart, reached, target, momentum, jnp.array(False))
        return moved, where(accepted, after, _start(mixture)), sums, 1


def _start(mixture: Mixture) -> _NesterovState:
    chart = Chart.about(mixture)
    one = jnp.ones((), mixture.dtype)
    return _NesterovState(chart, chart.zero, chart.zero, one, jnp.array(True))
