"""Coordinates relative to a base mixture's own components.

Most of the library uses `Relative`. `Augmented` is for Riemannian optimization. For the table of
all coordinates see `coordinates.py`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..families.full import Full
from .mixture import Mixture

# Offsets are scaled as if every weight were at least this fraction of 1/k.
LEAST_WEIGHT = 1e-3


@dataclasses.dataclass(frozen=True)
class Relative:
    """Offsets in units of the base's own components.

    Means move in standard deviations, and covariances by factors near the identity. Each offset is
    scaled by the square root of its Fisher information for separated components. A gradient step of
    1 is then a natural gradient step, whatever the units of the data.
    """

    follow: ClassVar[bool] = True  # the base is replaced by the current mixture from time to time
    transports: ClassVar[bool] = False  # or at every step, and L-BFGS keeps its memory

    def zero(self, base: Mixture) -> Mixture:
        """Return the offsets of the base itself."""
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(self.scale, base))

    def scale(self, base: Mixture) -> Mixture:
        """Return the numbers that offsets are divided by."""
        k, d, present = base.n_components, base.n_features, base.present
        weights = jnp.maximum(base.weights, LEAST_WEIGHT / jnp.sum(present))
        mass = base.frame.pool(jnp.where(present, weights, 0))
        metric = base.covariance.metric(mass, d)
        root = jnp.sqrt(jnp.where(present, weights, 1))
        return Mixture(root, jnp.broadcast_to(root[:, None], (k, d)), metric)

    def local(self, base: Mixture, offsets: Mixture) -> Mixture:
        """Return the local mixture: means in standard deviations, and relative factors."""
        scaled = jax.tree.map(jnp.divide, offsets, self.scale(base))
        covariance = base.covariance.local_at(scaled.covariance)
        return Mixture(base.logits + scaled.logits, scaled.means, covariance)

    def place(self, base: Mixture, local: Mixture) -> Mixture:
        """Return the mixture that a local mixture describes."""
        means = base.means + base.frame.unwhiten(local.means)
        return Mixture(local.logits, means, base.covariance.moved(local.covariance))

    def offsets_of(self, base: Mixture, local: Mixture) -> Mixture:
        """Return the offsets of a local mixture: the inverse of `local`.

        The offsets of absent components' logits are 0.
        """
        logits = jnp.where(base.present, local.logits - base.logits, 0)
        coordinates = base.covariance.coordinates(local.covariance)
        difference = Mixture(logits, local.means, coordinates)
        return jax.tree.map(jnp.multiply, difference, self.scale(base))

    def offsets(self, base: Mixture, mixture: Mixture) -> Mixture:
        """Return the offsets that describe `mixture`."""
        means = base.frame.whiten(mixture.means - base.means)
        covariance = base.covariance.between(mixture.covariance)
        return self.offsets_of(base, Mixture(mixture.logits, means, covariance))

    def local_gradient(self, base: Mixture, offsets: Mixture, gradient: Mixture) -> Mixture:
        """Return the gradient with respect to the local mixture, from that of the offsets."""
        return jax.tree.map(jnp.multiply, gradient, self.scale(base))


@dataclasses.dataclass(frozen=True)
class Augmented(Relative):
    """Offsets of one matrix per component, in its affine-invariant metric.

    The mean and the covariance of a component are one matrix S = [1 μᵀ; μ Σ + μμᵀ] of SPD(d + 1).
    Its metric is ⟨ξ, η⟩ = tr(S⁻¹ξS⁻¹η) / 2, which is the Fisher information of one component. The
    logits have the Euclidean metric. The metric does not depend on the weights, unlike that of
    `Relative`, and this is the only difference between the two at the base.

    Offsets are a tangent vector in the orthonormal frame of L, where S = LLᵀ and L = [1 0; μ L_Σ].
    The retraction multiplies L by a triangular factor from the right. The base is replaced at every
    step, and an optimizer's memory keeps its entries in the frame. That is an isometric transport,
    which takes the place of the parallel transport of the papers.

    Hosseini & Sra leave the corner S₀₀ = s free. It adds c(s) = (1 − log s − 1/s) / 2 to the
    log-density of its component. For any means and covariances, the likelihood is then greatest at
    s = 1, with slope 0. A gradient at s = 1 has no part along s, and this retraction leaves s as it
    is. Every iterate therefore has s = 1, and the objective is the likelihood itself. (The
    exponential map would leave s = 1 between optima.)

    Source: Hosseini & Sra 2015, NeurIPS 28; 2020, Math. Programming 181. That the map to S keeps
    the metric: Calvo & Oller 1990, J. Multivariate Analysis 35.
    """

    follow: ClassVar[bool] = False
    transports: ClassVar[bool] = True

    def zero(self, base: Mixture) -> Mixture:
        """Return the offsets of the base itself; raise ValueError unless the family is "full"."""
        if type(base.covariance) is not Full:
            raise ValueError(
                "coordinates 'augmented' describe each mean and covariance by one free matrix, and "
                f"family {base.family!r} does not have one per component: use family 'full', or "
                "coordinates 'relative'."
            )
        return super().zero(base)

    def scale(self, base: Mixture) -> Mixture:
        """Return the numbers that offsets are divided by: those of components of weight 1."""
        ones = jnp.ones_like(base.logits)
        metric = base.covariance.metric(ones, base.n_features)
        return Mixture(ones, jnp.ones_like(base.means), metric)
