"""Coordinates in which a gradient method moves a mixture.

A gradient method sees *offsets*, a pytree shaped like a Mixture, zero at a base mixture.
Coordinates say which mixture an offset means, through a *local* mixture: the mixture as seen from
the base.

    name           class                 what moves, beside the logits
    relative       Relative              means and factors in units of the base's own components
    leaves         Leaves                μ; W lower triangular, Σ⁻¹ = WᵀW, by log-diagonal
    precision      PrecisionCholesky     μ; R lower triangular, Σ⁻¹ = RRᵀ, by log-diagonal
    covariance     CovarianceCholesky    μ; L lower triangular, Σ = LLᵀ, by log-diagonal
    square-root    SquareRoot            μ; S symmetric, Σ = S²

Only relative coordinates are free of the data's units. The leaves are the layout of the ADBench
objective, and R of the features in reverse order. In one dimension, and in the diagonal and
spherical families, each factor is one number: the leaves and "precision" are then the same, −log σ;
"covariance" moves log σ, and "square-root" σ itself.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..numerics import lapack
from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, parts, transpose
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
        held = base.frame.pool(jnp.where(present, share, 0))
        metric = base.covariance.metric(jnp.where(held > 0, held, 1), d)
        root = jnp.sqrt(jnp.where(present, share, 1))
        return Mixture(root, jnp.broadcast_to(root[:, None], (k, d)), metric)

    def local(self, base: Mixture, offsets: Mixture) -> Mixture:
        """The mixture in the base's frames: means in standard deviations, relative factors."""
        scaled = jax.tree.map(jnp.divide, offsets, self.scale(base))
        return dataclasses.replace(scaled, logits=base.logits + scaled.logits)

    def place(self, base: Mixture, local: Mixture) -> Mixture:
        """A local mixture in the data's coordinates."""
        means = base.means + base.frame.unwhiten(local.means)
        return Mixture(local.logits, means, base.covariance.moved(local.covariance))

    def offsets_of(self, base: Mixture, local: Mixture) -> Mixture:
        """The offsets that `local` turns into this local mixture; 0 for an absent component's
        logit."""
        moved = jnp.where(base.present, local.logits - base.logits, 0)
        moved = dataclasses.replace(local, logits=moved)
        return jax.tree.map(jnp.multiply, moved, self.scale(base))

    def offsets(self, base: Mixture, mixture: Mixture) -> Mixture:
        """The offsets that mean `mixture`."""
        means = base.frame.whiten(mixture.means - base.means)
        covariance = base.covariance.between(mixture.covariance)
        return self.offsets_of(base, Mixture(mixture.logits, means, covariance))

    def local_gradient(self, base: Mixture, offsets: Mixture, gradient: Mixture) -> Mixture:
        """The gradient with respect to the local mixture's leaves, from that of the offsets."""
        return jax.tree.map(jnp.multiply, gradient, self.scale(base))


class _Absolute(abc.ABC):
    """Offsets added to numbers that describe the mixture itself. Depends on the data's units."""

    follow: ClassVar[bool] = False

    @abc.abstractmethod
    def numbers(self, mixture: Mixture, near: Mixture | None = None) -> Mixture:
        """What describes `mixture`, in its shape. Differentiable where `near`, what this gives, is
        given too: it says which, if there are several."""

    @abc.abstractmethod
    def mixture(self, numbers: Mixture) -> Mixture:
        """The mixture that these numbers describe."""

    def local(self, base: Mixture, offsets: Mixture) -> Mixture:
        """The mixture itself."""
        return self.mixture(jax.tree.map(jnp.add, self.numbers(base), offsets))

    def place(self, base: Mixture, local: Mixture) -> Mixture:
        """The mixture itself."""
        return local

    def local_gradient(self, base: Mixture, offsets: Mixture, gradient: Mixture) -> Mixture:
        """The gradient with respect to the mixture's leaves, from that of the offsets: the
        derivative of the numbers by the leaves, transposed."""
        at = jax.tree.map(jnp.add, self.numbers(base), offsets)
        pull = jax.vjp(lambda mixture: self.numbers(mixture, at), self.mixture(at))[1]
        return pull(gradient)[0]


@dataclasses.dataclass(frozen=True)
class Leaves(_Absolute):
    """The mixture's leaves as they are: the whitening factor W, lower triangular, Σ⁻¹ = WᵀW, by
    log-diagonal and strict lower part (Šrajer, Kukelova & Fitzgibbon 2018, the ADBench objective).
    """

    def numbers(self, mixture, near=None):
        return mixture

    def mixture(self, numbers):
        return numbers


class _Factored(_Absolute):
    """The covariances by another factor than W; logits and means as they are."""

    @abc.abstractmethod
    def describe(self, whitening: jax.Array, near: jax.Array | None) -> jax.Array:
        """The factors (s, m, m) from the whitening factors W."""

    @abc.abstractmethod
    def whitening(self, factor: jax.Array) -> jax.Array:
        """W from the factors; lower triangular, with a positive diagonal."""

    #: Whether the factor's diagonal is positive, and stands as its logarithm.
    logarithmic: ClassVar[bool] = True

    def _matrix(self, numbers: Mixture) -> jax.Array:
        diagonal, lower = numbers.covariance.entries()
        return assemble(jnp.exp(diagonal) if self.logarithmic else diagonal, lower)

    def numbers(self, mixture, near=None):
        diagonal, lower = mixture.covariance.entries()
        factor = self.describe(
            assemble(jnp.exp(diagonal), lower), None if near is None else self._matrix(near)
        )
        diagonal, lower = parts(factor)
        held = mixture.covariance.holding(
            jnp.log(diagonal) if self.logarithmic else diagonal, lower
        )
        return dataclasses.replace(mixture, covariance=held)

    def mixture(self, numbers):
        diagonal, lower = parts(self.whitening(self._matrix(numbers)))
        held = numbers.covariance.holding(jnp.log(diagonal), lower)
        return dataclasses.replace(numbers, covariance=held)


@dataclasses.dataclass(frozen=True)
class PrecisionCholesky(_Factored):
    """The Cholesky factor R of the precision, Σ⁻¹ = RRᵀ, by log-diagonal and strict lower part."""

    def describe(self, whitening, near):
        return lapack.lower_root(whitening)

    def whitening(self, factor):
        # WᵀW = RRᵀ; with the features in reverse order, Wᵀ is the Cholesky factor.
        return _reverse(lapack.lower_root(_reverse(transpose(factor)))).swapaxes(-1, -2)


@dataclasses.dataclass(frozen=True)
class CovarianceCholesky(_Factored):
    """The Cholesky factor L of the covariance, Σ = LLᵀ, by log-diagonal and strict lower part
    (Pinheiro & Bates 1996, Statistics and Computing 6, sec. 2.2)."""

    def describe(self, whitening, near):
        return inverse(whitening, often=False)

    def whitening(self, factor):
        return inverse(factor, often=False)


@dataclasses.dataclass(frozen=True)
class SquareRoot(_Factored):
    """The symmetric square root S of the covariance, Σ = S², by diagonal and strict lower part.
    Every symmetric S that is not singular will do; the positive definite one is where it starts.
    In one dimension, and for diagonal and spherical covariances, it is the standard deviation.
    (Pinheiro & Bates 1996, Statistics and Computing 6, sec. 2.4, without their logarithm.)"""

    logarithmic: ClassVar[bool] = False

    def describe(self, whitening, near):
        factor = inverse(whitening, often=False)
        if near is not None:
            near = _mirror(near)
            return _root_near(matmul(factor, transpose(factor)), near)
        left, scale, _ = lapack.svd(factor)
        return matmul(left * scale[..., None, :], transpose(left))

    def whitening(self, factor):
        return inverse(lapack.lower_root(_mirror(factor)), often=False)


COORDINATES = {
    "relative": Relative(),
    "leaves": Leaves(),
    "precision": PrecisionCholesky(),
    "covariance": CovarianceCholesky(),
    "square-root": SquareRoot(),
}


# ---- stacks of small matrices (s, m, m) -------------------------------------------------------


def _reverse(matrix: jax.Array) -> jax.Array:
    return matrix[:, ::-1, ::-1]


def _mirror(lower: jax.Array) -> jax.Array:
    """Symmetric matrices from their lower triangles."""
    return lower + transpose(jnp.tril(lower, -1))


@jax.custom_jvp
def _root_near(square: jax.Array, root: jax.Array) -> jax.Array:
    """`root`, as a function of its square: S dS + dS S = d(S²)."""
    return root


@_root_near.defjvp
def _root_near_jvp(primals, tangents):
    root, (along, _) = primals[1], tangents
    values, vectors = lapack.eigh(root)
    inside = matmul(matmul(transpose(vectors), along), vectors)
    inside = inside / (values[..., :, None] + values[..., None, :])
    return root, matmul(matmul(vectors, inside), transpose(vectors))
