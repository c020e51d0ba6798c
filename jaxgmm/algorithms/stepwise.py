"""Stepwise EM: EM with a step size."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import statistics_of_gradient
from ..objective.m_step import m_step_from
from ..objective.prior import Prior, log_prior
from ..objective.statistics import Statistics
from .protocol import Evaluate


@dataclasses.dataclass(frozen=True)
class StepwiseEM:
    """EM with running averages of the statistics.

    Before each M-step, the current statistics s̄ are averaged with the earlier ones s:
    s ← (1 − γ) s + γ s̄, with γ = (t + 2)^(−decay) at move t. Over minibatches,
    `Stochastic(StepwiseEM(), batch_rows=…)`, this is online EM. With decay = 0 it is EM.

    The earlier statistics s are not stored. They are recovered from the mixture, as the statistics
    whose M-step would not change it. In the expectation parameters, a move is a natural gradient
    step of length γ.

    Args:
      decay: the exponent of the step size. Convergence over minibatches needs a value above 0.5 and
        at most 1.

    Raises:
      ValueError: if `decay` is not in [0, 1].

    Source: Cappé & Moulines 2009, J. R. Statist. Soc. B 71, eq. 11; the step size, Liang & Klein
    2009, NAACL, sec. 3.
    """

    decay: float = 0.6

    def __post_init__(self) -> None:
        checks.between(self.decay, "decay", 0, 1)
        object.__setattr__(self, "decay", float(self.decay))

    def init(self, mixture: Mixture, statistics: Statistics) -> jax.Array:
        """Return the number of moves so far, 0."""
        return jnp.int32(0)

    def move(
        self,
        mixture: Mixture,
        state: jax.Array,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, jax.Array, Statistics, int]:
        """Make an M-step from the averaged statistics, then one pass."""
        size = (state + 2).astype(mixture.dtype) ** -self.decay
        # An M-step does not change the mixture if the objective's gradient is 0, that is, if the
        # log-likelihood's gradient cancels the prior's.
        gradient = jax.tree.map(jnp.negative, jax.grad(log_prior)(mixture, prior))
        earlier = statistics_of_gradient(mixture, gradient, jnp.sum(statistics.mass))
        average = jax.tree.map(lambda e, s: (1 - size) * e + size * s, earlier, statistics)
        moved = m_step_from(mixture, average, prior).apply_to(mixture)
        return moved, state + 1, evaluate(moved), 1
