"""Over-relaxed EM: EM with lengthened steps."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..mixture.relative_coordinates import Relative
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import em_step
from .protocol import Evaluate
from .safeguard import try_extrapolation


@dataclasses.dataclass(frozen=True)
class OverrelaxedEM:
    """EM with steps that are lengthened by a factor η.

    After each step that does not lower the objective, η is multiplied by `growth`. A step that
    lowers the objective is rejected, and the next step is EM's own (η = 1), so the objective never
    decreases. Each move makes one pass. Steps are lengthened in coordinates relative to the current
    mixture (see `Relative`).

    Args:
      growth: the factor by which η grows after an accepted step.

    Raises:
      ValueError: if `growth` is less than 1.

    Source: Salakhutdinov & Roweis 2003, ICML, "Adaptive overrelaxed bound optimization methods",
    fig. 2.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.OverrelaxedEM())
    >>> bool(found.converged)
    True
    """

    growth: float = 1.1

    def __post_init__(self) -> None:
        checks.at_least_one(self.growth, "growth")
        object.__setattr__(self, "growth", float(self.growth))

    def init(self, mixture: Mixture, statistics: Statistics) -> jax.Array:
        """Return η = 1."""
        return jnp.ones((), mixture.dtype)

    def move(
        self,
        mixture: Mixture,
        state: jax.Array,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, jax.Array, Statistics, int]:
        """Make one lengthened step."""
        coordinates, length = Relative(), state
        step = em_step(mixture, statistics, evaluate, prior)
        offsets = coordinates.offsets_of(mixture, step.local)
        offsets = jax.tree.map(lambda leaf: length * leaf, offsets)
        candidate = coordinates.place(mixture, coordinates.local(mixture, offsets))
        # At η = 1 this is EM's own step, which is always accepted.
        candidate = where(length > 1, candidate, step.after)
        moved, sums, accepted = try_extrapolation(
            candidate, mixture, statistics, evaluate, prior, always=length <= 1
        )
        return moved, jnp.where(accepted, length * self.growth, 1), sums, 1
