"""Coordinates in which a gradient method moves a mixture.

A gradient method updates *offsets*, a pytree with the structure of a Mixture that is zero at a base
mixture. Coordinates define which mixture an offset describes. They do so through a *local* mixture,
which describes a mixture relative to the base.

    name           class                 coordinates, in addition to the logits
    relative       Relative              means and factors in units of the base's own components
    augmented      Augmented             the same, in the metric of Riemannian optimization
    leaves         Leaves                μ; W lower triangular, Σ⁻¹ = WᵀW, by log-diagonal
    precision      PrecisionCholesky     μ; R lower triangular, Σ⁻¹ = RRᵀ, by log-diagonal
    covariance     CovarianceCholesky    μ; L lower triangular, Σ = LLᵀ, by log-diagonal
    square-root    SquareRoot            μ; S symmetric, Σ = S²

Only relative and augmented coordinates do not depend on the units of the data: see
`relative_coordinates.py`.
"leaves" is the parametrization of the ADBench objective; it equals "precision" with the features in
reverse order. In one dimension, and in the diagonal and spherical families, each factor is one
number. Then "leaves" and "precision" both use −log σ, "covariance" uses log σ, and "square-root"
uses σ itself.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, cast

import jax
import jax.numpy as jnp

from ..families.has_whitening_factor import HasWhiteningFactor
from ..numerics import lapack
from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, parts, transpose
from .mixture import Mixture
from .relative_coordinates import Augmented, Relative


class _Absolute(abc.ABC):
    """Offsets that are added to numbers describing the mixture itself.

    They depend on the units of the data. The local mixture is the mixture itself.
    """

    follow: ClassVar[bool] = False
    transports: ClassVar[bool] = False

    def zero(self, base: Mixture) -> Mixture:
        """Return the offsets of the base itself."""
        return jax.tree.map(jnp.zeros_like, base)

    @abc.abstractmethod
    def numbers(self, mixture: Mixture, near: Mixture | None = None) -> Mixture:
        """Return the numbers that describe a mixture, in a pytree of the same structure.

        If several sets of numbers describe it, the result is the one closest to `near`. The
        numbers have derivatives only if `near` is passed.
        """

    @abc.abstractmethod
    def mixture(self, numbers: Mixture) -> Mixture:
        """Return the mixture that these numbers describe."""

    def local(self, base: Mixture, offsets: Mixture) -> Mixture:
        """Return the mixture that the offsets describe."""
        return self.mixture(jax.tree.map(jnp.add, self.numbers(base), offsets))

    def place(self, base: Mixture, local: Mixture) -> Mixture:
        """Return `local`, which is the mixture itself."""
        return local

    def local_gradient(self, base: Mixture, offsets: Mixture, gradient: Mixture) -> Mixture:
        """Return the gradient with respect to the mixture's leaves, from that of the offsets.

        It is multiplied by the transposed derivative of the numbers with respect to the leaves.
        """
        at = jax.tree.map(jnp.add, self.numbers(base), offsets)
        pull_back = jax.vjp(lambda mixture: self.numbers(mixture, at), self.mixture(at))[1]
        return pull_back(gradient)[0]


@dataclasses.dataclass(frozen=True)
class Leaves(_Absolute):
    """The mixture's leaves: the whitening factor W, lower triangular, Σ⁻¹ = WᵀW.

    W is described by its log-diagonal and its strict lower part. This is the parametrization of the
    ADBench objective (Šrajer, Kukelova & Fitzgibbon 2018).
    """

    def numbers(self, mixture: Mixture, near: Mixture | None = None) -> Mixture:
        return mixture

    def mixture(self, numbers: Mixture) -> Mixture:
        return numbers


class _Factored(_Absolute):
    """The logits and means themselves, and another factor than W for each covariance."""

    @abc.abstractmethod
    def describe(self, whitening: jax.Array, near: jax.Array | None) -> jax.Array:
        """Return the factors (s, m, m) of covariances with whitening factors W.

        If several factors describe them, `near` selects among them, see `numbers`.
        """

    @abc.abstractmethod
    def whitening(self, factor: jax.Array) -> jax.Array:
        """Return W, lower triangular with a positive diagonal, from the factors."""

    # Whether the factor's diagonal is positive and is described by its logarithm.
    logarithmic: ClassVar[bool] = True

    def zero(self, base: Mixture) -> Mixture:
        if not isinstance(base.covariance, HasWhiteningFactor):
            name = next(name for name, known in COORDINATES.items() if known is self)
            raise ValueError(
                f"coordinates {name!r} describe a factor of the covariance, and family "
                f"{base.family!r} does not store one: use 'relative' or 'leaves'."
            )
        return super().zero(base)

    def _matrix(self, numbers: Mixture) -> jax.Array:
        diagonal, lower = _entries(numbers)
        return assemble(jnp.exp(diagonal) if self.logarithmic else diagonal, lower)

    def numbers(self, mixture: Mixture, near: Mixture | None = None) -> Mixture:
        diagonal, lower = _entries(mixture)
        factor = self.describe(
            assemble(jnp.exp(diagonal), lower), None if near is None else self._matrix(near)
        )
        diagonal, lower = parts(factor)
        return _with_entries(mixture, jnp.log(diagonal) if self.logarithmic else diagonal, lower)

    def mixture(self, numbers: Mixture) -> Mixture:
        diagonal, lower = parts(self.whitening(self._matrix(numbers)))
        return _with_entries(numbers, jnp.log(diagonal), lower)


def _entries(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return the covariance's `HasWhiteningFactor.entries`: diagonals and strict lower parts."""
    return cast(HasWhiteningFactor, mixture.covariance).entries()


def _with_entries(mixture: Mixture, diagonal: jax.Array, lower: jax.Array) -> Mixture:
    """Return the mixture with these entries of the covariance."""
    covariance = cast(HasWhiteningFactor, mixture.covariance).with_entries(diagonal, lower)
    return dataclasses.replace(mixture, covariance=covariance)


@dataclasses.dataclass(frozen=True)
class PrecisionCholesky(_Factored):
    """The Cholesky factor R of the precision, Σ⁻¹ = RRᵀ, by log-diagonal and strict lower part."""

    def describe(self, whitening: jax.Array, near: jax.Array | None) -> jax.Array:
        return lapack.lower_root(whitening)

    def whitening(self, factor: jax.Array) -> jax.Array:
        # WᵀW = RRᵀ. With the features in reverse order, Wᵀ is the Cholesky factor of RRᵀ.
        return _reverse(lapack.lower_root(_reverse(transpose(factor)))).swapaxes(-1, -2)


@dataclasses.dataclass(frozen=True)
class CovarianceCholesky(_Factored):
    """The Cholesky factor L of the covariance, Σ = LLᵀ, by log-diagonal and strict lower part.

    See Pinheiro & Bates (1996), Statistics and Computing 6, sec. 2.2.
    """

    def describe(self, whitening: jax.Array, near: jax.Array | None) -> jax.Array:
        return inverse(whitening, often=False)

    def whitening(self, factor: jax.Array) -> jax.Array:
        return inverse(factor, often=False)


@dataclasses.dataclass(frozen=True)
class SquareRoot(_Factored):
    """The symmetric square root S of the covariance, Σ = S², by diagonal and strict lower part.

    A fit begins at the positive definite root, and may reach any symmetric S that is not singular.
    In one dimension, and for diagonal and spherical covariances, S is the standard deviation. See
    Pinheiro & Bates (1996), Statistics and Computing 6, sec. 2.4, who use the matrix logarithm.
    """

    logarithmic: ClassVar[bool] = False

    def describe(self, whitening: jax.Array, near: jax.Array | None) -> jax.Array:
        factor = inverse(whitening, often=False)
        if near is not None:
            root = _mirror(near)
            return _root_near(matmul(factor, transpose(factor)), root)
        left, scale, _ = lapack.svd(factor)
        return matmul(left * scale[..., None, :], transpose(left))

    def whitening(self, factor: jax.Array) -> jax.Array:
        return inverse(lapack.lower_root(_mirror(factor)), often=False)


COORDINATES: dict[str, Relative | Leaves | _Factored] = {
    "relative": Relative(),
    "augmented": Augmented(),
    "leaves": Leaves(),
    "precision": PrecisionCholesky(),
    "covariance": CovarianceCholesky(),
    "square-root": SquareRoot(),
}


# ---- stacks of small matrices (s, m, m) -------------------------------------------------------


def _reverse(matrix: jax.Array) -> jax.Array:
    """Return matrices with their rows and columns in reverse order."""
    return matrix[:, ::-1, ::-1]


def _mirror(lower: jax.Array) -> jax.Array:
    """Return the symmetric matrices with these lower triangles."""
    return lower + transpose(jnp.tril(lower, -1))


@jax.custom_jvp
def _root_near(square: jax.Array, root: jax.Array) -> jax.Array:
    """Return `root`, with the derivatives of a square root of `square`: S dS + dS S = d(S²)."""
    return root


@_root_near.defjvp
def _root_near_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    root, (tangent, _) = primals[1], tangents
    values, vectors = lapack.eigh(root)
    rotated = matmul(matmul(transpose(vectors), tangent), vectors)
    rotated = rotated / (values[..., :, None] + values[..., None, :])
    return root, matmul(matmul(vectors, rotated), transpose(vectors))
