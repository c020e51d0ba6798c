"""SQUAREM: EM, extrapolated along its own path."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.coordinates import Relative
from ..mixture.mixture import Mixture
from ..objective.statistics import Statistics
from .em import em_step
from .safeguard import try_extrapolation


class _SquaremState(NamedTuple):
    """The cycle's first mixture, EM's first step from it (as seen from it), whether the next move
    extrapolates, and how far it may."""

    origin: Mixture
    first: Mixture
    extrapolates: jax.Array
    longest: jax.Array


@dataclasses.dataclass(frozen=True)
class SQUAREM:
    """EM accelerated by squared extrapolation (Varadhan & Roland 2008, Scand. J. Statist. 35,
    scheme S3), with one pass for each move:

    from θ₀, an EM step to θ₁ = M(θ₀); there θ₂ = M(θ₁) is known without another pass, and the next
    move tries θ' = θ₀ + 2αr + α²v with r = θ₁ − θ₀, v = (θ₂ − θ₁) − r, α = |r|/|v| ≥ 1. If the
    objective at θ' is not below that at θ₁, θ' is where the next cycle begins; if it is, the fit
    stays at θ₁ and an EM step is next. So the objective never falls.

    Differences are taken in coordinates relative to θ₀ (see `Relative`), which makes the path
    independent of the data's units.

    Args:
      growth: an extrapolation that goes as far as is allowed and is taken lets the next α be so
        many times larger (the first is allowed α = 1, two EM steps); one that is refused keeps the
        next to so many times less than its own, since a path may be long, straight and wrong.

    Raises:
      ValueError: for a growth of less than 1.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.SQUAREM())
    >>> bool(found.converged)
    True
    """

    growth: float = 4.0

    def __post_init__(self):
        checks.at_least_one(self.growth, "growth")
        object.__setattr__(self, "growth", float(self.growth))

    def init(self, mixture: Mixture, statistics: Statistics) -> _SquaremState:
        """The first move is an EM step."""
        still = jax.tree.map(jnp.zeros_like, mixture)
        return _SquaremState(mixture, still, jnp.array(False), jnp.ones((), mixture.dtype))

    def move(self, mixture: Mixture, state: _SquaremState, statistics: Statistics, evaluate, prior):
        """An EM step, or an extrapolation over the last EM step and the one that would be next."""
        step = em_step(mixture, statistics, evaluate, prior)
        farther, reach = _extrapolate(state, mixture, step.local)
        tried = where(state.extrapolates, farther, step.taken_from(mixture))
        moved, sums, accepted = try_extrapolation(
            tried, mixture, statistics, evaluate, prior, ~state.extrapolates
        )
        state = _SquaremState(
            *where(state.extrapolates, (state.origin, state.first), (mixture, step.local)),
            ~state.extrapolates,
            jnp.where(state.extrapolates, self._allowed(reach, accepted, state), state.longest),
        )
        return moved, state, sums, 1

    def _allowed(self, reach, accepted, state):
        """How far the next extrapolation may reach, after one of `reach`."""
        farther = jnp.where(reach >= state.longest, state.longest * self.growth, state.longest)
        return jnp.where(accepted, farther, jnp.maximum(reach / self.growth, 1))


def _extrapolate(
    state: _SquaremState, after_first: Mixture, second: Mixture
) -> tuple[Mixture, jax.Array]:
    """Return θ' and α, from the mixture after EM's first step and the local of the second one."""
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


def _square(tree) -> jax.Array:
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))
