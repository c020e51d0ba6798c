"""EM as an algorithm."""

from __future__ import annotations

import dataclasses

from ..mixture.mixture import Mixture
from ..objective.m_step import Step, m_step_from
from ..objective.prior import Prior
from ..objective.statistics import Statistics


@dataclasses.dataclass(frozen=True)
class EM:
    """Expectation–maximization: each step is one M-step and one pass over the rows, and the
    objective never falls. (Dempster, Laird & Rubin 1977, theorem 1.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2), jaxgmm.EM())
    >>> bool(found.converged), bool((found.history[1:] - found.history[:-1] > -1e-2).all())
    (True, True)
    """

    def init(self, mixture: Mixture, statistics: Statistics) -> tuple:
        """No state."""
        return ()

    def move(self, mixture: Mixture, state: tuple, statistics: Statistics, evaluate, prior):
        """The M-step, then one pass."""
        moved = em_step(mixture, statistics, evaluate, prior).taken_from(mixture)
        return moved, state, evaluate(moved), 1


def em_step(mixture: Mixture, statistics: Statistics, evaluate, prior: Prior | None) -> Step:
    """EM's step from `mixture`: the one that `evaluate` brings, where the stopping rule made it."""
    known = getattr(evaluate, "em_step", None)
    return m_step_from(mixture, statistics, prior) if known is None else known
