"""Stepwise EM: EM with a step size."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..families.has_whitening_factor import HasWhiteningFactor
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
    s ← (1 − γ) s + γ s̄, with γ = scale · (t + 2)^(−decay) at move t. Over minibatches,
    `Stochastic(StepwiseEM(), batch_rows=…)`, this is online EM. With decay = 0 it is EM.

    The earlier statistics s are not stored. They are recovered from the mixture, as the statistics
    whose M-step would not change it. In the expectation parameters, a move is a natural gradient
    step of length γ.

    Args:
      decay: the exponent of the step size. Convergence over minibatches needs a value above 0.5 and
        at most 1.
      scale: the factor of the step size, which is the step size itself where decay = 0.

    Raises:
      ValueError: if `decay` or `scale` is not in [0, 1]; in `fit`, for families whose statistics
        do not follow from a gradient, unless the step size is always 1.

    Source: Cappé & Moulines 2009, J. R. Statist. Soc. B 71, eq. 11; the step size, Liang & Klein
    2009, NAACL, sec. 3.
    """

    decay: float = 0.6
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("decay", "scale"):
            checks.between(getattr(self, name), name, 0, 1)
            object.__setattr__(self, name, float(getattr(self, name)))

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
        average = statistics if self._is_em else self._average(mixture, state, statistics, prior)
        moved = m_step_from(mixture, average, prior).after
        return moved, state + 1, evaluate(moved), 1

    @property
    def _is_em(self) -> bool:
        """Whether the step size is always 1."""
        return self.decay == 0 and self.scale == 1

    def _average(
        self, mixture: Mixture, state: jax.Array, statistics: Statistics, prior: Prior | None
    ) -> Statistics:
        """Return the average of the statistics with the earlier ones."""
        if not isinstance(mixture.covariance, HasWhiteningFactor):
            raise ValueError(
                f"StepwiseEM needs statistics from a gradient, and those of family "
                f"{mixture.family!r} do not follow from it: use EM(), or decay=0 and scale=1."
            )
        size = self.scale * (state + 2).astype(mixture.dtype) ** -self.decay
        # An M-step does not change the mixture if the objective's gradient is 0, that is, if the
        # log-likelihood's gradient cancels the prior's.
        gradient = jax.tree.map(jnp.negative, jax.grad(log_prior)(mixture, prior))
        earlier = statistics_of_gradient(mixture, gradient, jnp.sum(statistics.mass))
        return jax.tree.map(lambda e, s: (1 - size) * e + size * s, earlier, statistics)
