"""Coordinates in which a gradient method moves a mixture.

A gradient method sees *offsets*, a pytree shaped like a Mixture, zero at a base mixture.
Coordinates say which mixture an offset means, through a *local* mixture: the mixture as seen from
the base.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from .mixture import Mixture

# Components lighter than this share of an even weight are scaled as if they had it.
LEAST_SHARE = 1e-3


@dataclasses.dataclass(frozen=True)
class Relative:
    """Offsets in units of the base's own components: means move in standard deviations, covariances
    by factors near the identity, each scaled by the root of its Fisher information for separated
    components, so that a step of 1 is a natural step whatever the data's units."""

    follow: ClassVar[bool] = True  # taken anew about the current mixture from time to time

    def scale(self, base: Mixture) -> Mixture:
        """What offsets are divided by."""
        k, d, present = base.n_components, base.n_features, base.present
        share = jnp.maximum(base.weights, LEAST_SHARE / jnp.sum(present))
        held = base.covariance.pool(jnp.where(present, share, 0))
        metric = base.covariance.metric(jnp.where(held > 0, held, 1), d)
        root = jnp.sqrt(jnp.where(present, share, 1))
        return Mixture(root, jnp.broadcast_to(root[:, None], (k, d)), metric)

    def local(self, base: Mixture, offsets: Mixture) -> Mixture:
        """The mixture in the base's frames: means in standard deviations, relative factors."""
        scaled = jax.tree.map(jnp.divide, offsets, self.scale(base))
        return dataclasses.replace(scaled, logits=base.logits + scaled.logits)

    def offsets(self, base: Mixture, local: Mixture) -> Mixture:
        """The offsets of a local mixture: what `local` turns into it."""
        moved = jnp.where(base.present, local.logits - base.logits, 0)
        moved = dataclasses.replace(local, logits=moved)
        return jax.tree.map(jnp.multiply, moved, self.scale(base))

    def place(self, base: Mixture, local: Mixture) -> Mixture:
        """A local mixture in the data's coordinates."""
        means = base.means + base.covariance.unwhiten(local.means)
        return Mixture(local.logits, means, local.covariance.compose(base.covariance))

    def local_gradient(self, base: Mixture, gradient: Mixture) -> Mixture:
        """The gradient with respect to the local mixture's leaves, from that of the offsets."""
        return jax.tree.map(jnp.multiply, gradient, self.scale(base))


@dataclasses.dataclass(frozen=True)
class Leaves:
    """Offsets added to the mixture's leaves as they are. Depends on the units of the data."""

    follow: ClassVar[bool] = False

    def local(self, base: Mixture, offsets: Mixture) -> Mixture:
        """The mixture itself."""
        return jax.tree.map(jnp.add, base, offsets)

    def place(self, base: Mixture, local: Mixture) -> Mixture:
        """The mixture itself."""
        return local

    def local_gradient(self, base: Mixture, gradient: Mixture) -> Mixture:
        """The gradient itself."""
        return gradient


COORDINATES = {"relative": Relative(), "leaves": Leaves()}
