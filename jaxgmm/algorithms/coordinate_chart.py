"""A chart of mixtures: vectors that describe mixtures relative to an origin.

Algorithms that extrapolate along EM's path take differences of mixtures, which mean something only
in one set of coordinates. A chart provides them: a *position* is a vector (p,), and 0 is the
origin. The squared length of a small vector is about twice the Kullback–Leibler divergence of the
complete data, per unit of row weight (see `Relative`). Positions do not depend on the units of the
data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..mixture.mixture import Mixture
from ..mixture.relative_coordinates import Relative
from ..objective.local_gradient import local_gradient
from ..objective.log_likelihood import expected
from ..objective.m_step import Step
from ..objective.prior import Prior, log_prior
from ..objective.statistics import Statistics


class Chart(NamedTuple):
    """Positions relative to the mixture `origin`, whose logits are logarithms of its weights."""

    origin: Mixture

    @classmethod
    def about(cls, mixture: Mixture) -> Chart:
        """Return the chart in which `mixture` has the position 0."""
        return cls(dataclasses.replace(mixture, logits=mixture.log_weights))

    @property
    def zero(self) -> jax.Array:
        """The position (p,) of the origin."""
        return ravel_pytree(Relative().zero(self.origin))[0]

    def local_at(self, position: jax.Array) -> Mixture:
        """Return the mixture at a position, relative to the origin."""
        return Relative().local(self.origin, self._offsets_of(position))

    def mixture_at(self, position: jax.Array) -> Mixture:
        """Return the mixture at a position."""
        return Relative().place(self.origin, self.local_at(position))

    def after(self, position: jax.Array, mixture: Mixture, step: Step) -> jax.Array:
        """Return the position that EM's step leads to, from `mixture` at `position`.

        The step is combined with the position, which keeps more digits than the difference of the
        two mixtures.
        """
        origin, local = self.origin, self.local_at(position)
        moved = Mixture(
            step.after.logits,
            local.means + origin.frame.whiten(mixture.frame.unwhiten(step.means)),
            origin.covariance.combine(local.covariance, step.covariance),
        )
        return ravel_pytree(Relative().offsets_of(origin, moved))[0]

    def position_of(self, local: Mixture) -> jax.Array:
        """Return the position of a mixture relative to the origin: the inverse of `local_at`."""
        return ravel_pytree(Relative().offsets_of(self.origin, local))[0]

    def gradient_at_origin(self, sums: Statistics, prior: Prior | None) -> jax.Array:
        """Return the objective's gradient (p,) at the origin, from the statistics there.

        It is what `gradient` returns, by a formula that compiles faster.
        """
        local = local_gradient(self.origin, sums, prior)
        return ravel_pytree(jax.tree.map(jnp.divide, local, Relative().scale(self.origin)))[0]

    def gradient(
        self, position: jax.Array, mixture: Mixture, sums: Statistics, prior: Prior | None
    ) -> jax.Array:
        """Return the objective's gradient (p,) with respect to the position, without a pass.

        `mixture` and its statistics `sums` are those at the position.
        """

        def first_order(position: jax.Array) -> jax.Array:
            candidate = self.mixture_at(position)
            return expected(candidate, mixture, sums) + log_prior(candidate, prior)

        return jax.grad(first_order)(position)

    def farthest(self, position: jax.Array) -> jax.Array:
        """Return the largest displacement of any parameter, in units of its own component.

        A mean is displaced by 1 if it moves by a standard deviation, and a weight or a standard
        deviation by about 1 if it changes by a factor of e.
        """
        scaled = jax.tree.map(jnp.divide, self._offsets_of(position), Relative().scale(self.origin))
        return jnp.max(jnp.abs(ravel_pytree(scaled)[0]))

    @property
    def _offsets_of(self) -> Callable[[jax.Array], Mixture]:
        return ravel_pytree(Relative().zero(self.origin))[1]


def length(position: jax.Array) -> jax.Array:
    """Return the Euclidean length of a vector."""
    return jnp.sqrt(jnp.sum(position**2))


def push(vectors: jax.Array, vector: jax.Array) -> jax.Array:
    """Return vectors (m, p) with `vector` (p,) as the first, and without the last."""
    return jnp.concatenate([vector[None], vectors[:-1]])
