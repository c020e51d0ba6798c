"""SQUAREM: EM accelerated by extrapolation along its path."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.m_step import Step
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .coordinate_chart import Chart, length
from .em import em_step
from .protocol import Evaluate
from .safeguard import try_extrapolation


class _SquaremState(NamedTuple):
    """The current cycle of two moves.

    The origin of `chart` is the cycle's first mixture, and `first` (p,) is the position after EM's
    first step. `extrapolates` is true if the next move extrapolates, and `longest` is the largest α
    that it may use.
    """

    chart: Chart
    first: jax.Array
    extrapolates: jax.Array
    longest: jax.Array


@dataclasses.dataclass(frozen=True)
class SQUAREM:
    """EM accelerated by squared extrapolation.

    A cycle has two moves of one pass each. The first move is an EM step from θ₀ to θ₁ = M(θ₀). The
    statistics at θ₁ give θ₂ = M(θ₁) without another pass. The second move tries
    θ' = θ₀ + 2αr + α²v with r = θ₁ − θ₀, v = (θ₂ − θ₁) − r and α = |r|/|v| ≥ 1. If the objective at
    θ' is not below the objective at θ₁, the next cycle begins at θ'. Otherwise it begins at θ₁. The
    objective therefore never decreases.

    Differences are taken in a chart about θ₀ (see `Chart`), which makes the path independent of the
    data's units.

    Args:
      growth: the factor by which the largest allowed α changes. It starts at 1, which is two EM
        steps. If an extrapolation with the largest allowed α is accepted, the limit is multiplied
        by `growth`. If an extrapolation is rejected, the limit becomes its α divided by `growth`,
        because a long and straight path may still lead in the wrong direction.

    Raises:
      ValueError: if `growth` is less than 1.

    Source: Varadhan & Roland 2008, Scand. J. Statist. 35, scheme S3.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.SQUAREM())
    >>> bool(found.converged)
    True
    """

    growth: float = 4.0

    def __post_init__(self) -> None:
        checks.at_least_one(self.growth, "growth")
        object.__setattr__(self, "growth", float(self.growth))

    def init(self, mixture: Mixture, statistics: Statistics) -> _SquaremState:
        """Return the start of a cycle, with an EM step as the first move."""
        chart = Chart.about(mixture)
        return _SquaremState(
            chart=chart,
            first=chart.zero,
            extrapolates=jnp.array(False),
            longest=jnp.ones((), mixture.dtype),
        )

    def move(
        self,
        mixture: Mixture,
        state: _SquaremState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, _SquaremState, Statistics, int]:
        """Make an EM step, or extrapolate over the last EM step and the next one."""
        step = em_step(mixture, statistics, evaluate, prior)
        extrapolated, alpha = _extrapolate(state, mixture, step)
        candidate = where(state.extrapolates, extrapolated, step.after)
        moved, sums, accepted = try_extrapolation(
            candidate, mixture, statistics, evaluate, prior, always=~state.extrapolates
        )
        begun = Chart.about(mixture)
        chart, first = where(
            state.extrapolates,
            (state.chart, state.first),
            (begun, begun.after(begun.zero, mixture, step)),
        )
        longest = jnp.where(
            state.extrapolates, self._next_limit(alpha, accepted, state), state.longest
        )
        return moved, _SquaremState(chart, first, ~state.extrapolates, longest), sums, 1

    def _next_limit(self, alpha: jax.Array, accepted: jax.Array, state: _SquaremState) -> jax.Array:
        """Return the largest α that the next extrapolation may use, after one with `alpha`."""
        longer = jnp.where(alpha >= state.longest, state.longest * self.growth, state.longest)
        return jnp.where(accepted, longer, jnp.maximum(alpha / self.growth, 1))


def _extrapolate(
    state: _SquaremState, after_first: Mixture, second: Step
) -> tuple[Mixture, jax.Array]:
    """Return θ' and α, from the mixture after EM's first step and the second step."""
    r = state.first
    v = state.chart.after(r, after_first, second) - 2 * r
    alpha = jnp.clip(length(r) / length(v), 1, state.longest)
    return state.chart.mixture_at(alpha * (2 * r + alpha * v)), alpha
