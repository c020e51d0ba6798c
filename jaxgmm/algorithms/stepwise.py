"""Stepwise EM: EM with a step size."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import statistics_of_gradient
from ..objective.m_step import m_step_from
from ..objective.prior import log_prior
from ..objective.statistics import Statistics


@dataclasses.dataclass(frozen=True)
class StepwiseEM:
    """EM on statistics that remember: before each M-step, those of the rows seen now are mixed with
    those that the mixture stands for, s ← (1 − γ) s + γ s̄, with γ = (t + 2)^(−decay) at move t.

    Over minibatches, `Stochastic(StepwiseEM(), batch_rows=…)`, this is online EM (Cappé & Moulines
    2009, J. R. Statist. Soc. B 71, eq. 11; the step size as in Liang & Klein 2009, NAACL, sec. 3).
    Nothing is stored for it: a mixture *is* its statistics, in the form of those at which an M-step
    would leave it where it is. In the expectation parameters it is a natural gradient step of
    length γ. decay = 0 is EM.

    Args:
      decay: over 0.5 and up to 1 for convergence over minibatches.

    Raises:
      ValueError: for a decay that is not in [0, 1].
    """

    decay: float = 0.6

    def __post_init__(self):
        checks.between(self.decay, "decay", 0, 1)
        object.__setattr__(self, "decay", float(self.decay))

    def init(self, mixture: Mixture, statistics: Statistics) -> jax.Array:
        """No move was made."""
        return jnp.int32(0)

    def move(self, mixture: Mixture, state: jax.Array, statistics: Statistics, evaluate, prior):
        """An M-step of the mixed statistics, then one pass."""
        size = (state + 2).astype(mixture.dtype) ** -self.decay
        # An M-step stays where the objective's gradient is 0.
        pull = jax.tree.map(jnp.negative, jax.grad(log_prior)(mixture, prior))
        own = statistics_of_gradient(mixture, pull, jnp.sum(statistics.mass))
        mixed = jax.tree.map(lambda o, s: (1 - size) * o + size * s, own, statistics)
        moved = m_step_from(mixture, mixed, prior).taken_from(mixture)
        return moved, state + 1, evaluate(moved), 1
