"""Over-relaxed EM: EM's step, lengthened for as long as that pays."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.coordinates import Relative
from ..mixture.mixture import Mixture
from ..objective.statistics import Statistics
from .em import em_step
from .safeguard import try_extrapolation


@dataclasses.dataclass(frozen=True)
class OverrelaxedEM:
    """EM with its step lengthened by a factor η, one pass for each move (Salakhutdinov & Roweis
    2003, ICML, "Adaptive overrelaxed bound optimization methods", fig. 2).

    η grows by `growth` with every step that does not lower the objective. A step that does is not
    taken, and EM's own step (η = 1) is next: the objective never falls. Steps are lengthened in
    coordinates relative to the current mixture (see `Relative`).

    Args:
      growth: factor of η after a step that was taken.

    Raises:
      ValueError: for a growth of less than 1.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.OverrelaxedEM())
    >>> bool(found.converged)
    True
    """

    growth: float = 1.1

    def __post_init__(self):
        checks.at_least_one(self.growth, "growth")
        object.__setattr__(self, "growth", float(self.growth))

    def init(self, mixture: Mixture, statistics: Statistics) -> jax.Array:
        """η = 1."""
        return jnp.ones((), mixture.dtype)

    def move(self, mixture: Mixture, state: jax.Array, statistics: Statistics, evaluate, prior):
        """One lengthened step."""
        coordinates, length = Relative(), state
        step = em_step(mixture, statistics, evaluate, prior)
        offsets = coordinates.offsets_of(mixture, step.local)
        offsets = jax.tree.map(lambda leaf: length * leaf, offsets)
        tried = coordinates.place(mixture, coordinates.local(mixture, offsets))
        # At η = 1 it is EM's own step, and always taken.
        tried = where(length > 1, tried, step.taken_from(mixture))
        moved, sums, accepted = try_extrapolation(
            tried, mixture, statistics, evaluate, prior, length <= 1
        )
        return moved, jnp.where(accepted, length * self.growth, 1), sums, 1
