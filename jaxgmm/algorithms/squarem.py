"""SQUAREM: EM accelerated by extrapolation along its path."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..mixture.relative import Relative
from ..objective.m_step import Step
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import em_step
from .protocol import Evaluate
from .safeguard import try_extrapolation


class _SquaremState(NamedTuple):
    """The current cycle of two moves.

    `origin` is the cycle's first mixture, `first` EM's first step as a local mixture relative to
    `origin`. `extrapolates` is true if the next move extrapolates, and `longest` is the largest α
    that it may use.
    """

    origin: Mixture
    first: Mixture
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

    Differences are taken in coordinates relative to θ₀ (see `Relative`), which makes the path
    independent of the data's units.

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
        return _SquaremState(
            origin=mixture,
            first=Step.zero(mixture).local,
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
        extrapolated, alpha = _extrapolate(state, mixture, step.local)
        candidate = where(state.extrapolates, extrapolated, step.apply_to(mixture))
        moved, sums, accepted = try_extrapolation(
            candidate, mixture, statistics, evaluate, prior, always=~state.extrapolates
        )
        origin, first = where(
            state.extrapolates, (state.origin, state.first), (mixture, step.local)
        )
        longest = jnp.where(
            state.extrapolates, self._next_limit(alpha, accepted, state), state.longest
        )
        return moved, _SquaremState(origin, first, ~state.extrapolates, longest), sums, 1

    def _next_limit(self, alpha: jax.Array, accepted: jax.Array, state: _SquaremState) -> jax.Array:
        """Return the largest α that the next extrapolation may use, after one with `alpha`."""
        longer = jnp.where(alpha >= state.longest, state.longest * self.growth, state.longest)
        return jnp.where(accepted, longer, jnp.maximum(alpha / self.growth, 1))


def _extrapolate(
    state: _SquaremState, after_first: Mixture, second: Mixture
) -> tuple[Mixture, jax.Array]:
    """Return θ' and α, from the mixture after EM's first step and the second step's local."""
    first, origin, coordinates = state.first, state.origin, Relative()
    after_both = Mixture(
        second.logits,
        first.means + origin.frame.whiten(after_first.frame.unwhiten(second.means)),
        origin.covariance.combine(first.covariance, second.covariance),
    )
    r = coordinates.offsets_of(origin, first)
    both = coordinates.offsets_of(origin, after_both)
    v = jax.tree.map(lambda b, a: b - 2 * a, both, r)
    alpha = jnp.clip(jnp.sqrt(_square(r) / _square(v)), 1, state.longest)
    offsets = jax.tree.map(lambda r, v: alpha * (2 * r + alpha * v), r, v)
    return coordinates.place(origin, coordinates.local(origin, offsets)), alpha


def _square(tree: Any) -> Any:
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))
