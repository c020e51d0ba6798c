"""Full and tied covariances: a lower-triangular whitening factor for each component, or for all."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics import lapack
from ..numerics.logarithms import logarithm_and_excess
from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, parts, solve, symmetric, transpose
from .base import Covariance


@functools.cache
def _pairs(d: int):
    """The upper pairs (i, j) of d + 1 augmented features, and where (i, j) lies among them."""
    first, second = (index.astype(np.int32) for index in np.triu_indices(d + 1))
    place = np.zeros((d + 1, d + 1), np.int32)
    place[first, second] = place[second, first] = np.arange(len(first))
    return first, second, place


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Full(Covariance):
    """A covariance matrix of its own for each component.

    log_diagonal "k d" and lower "k d(d−1)/2": the logarithms of the diagonal, and the strict lower
    part row by row, of W (lower triangular, Σ⁻¹ = WᵀW)."""

    log_diagonal: jax.Array
    lower: jax.Array

    @property
    def factor(self) -> jax.Array:
        """W as (c, d, d)."""
        return assemble(jnp.exp(self.log_diagonal), self.lower)

    @property
    def factor_transposed(self) -> jax.Array:
        """Wᵀ as (c, d, d), laid out as such: products of stacks take transposed ones badly."""
        return assemble(jnp.exp(self.log_diagonal), self.lower, transposed=True)

    @property
    def inverse_factor(self) -> jax.Array:
        """L = W⁻¹ as (c, d, d), the Cholesky factor of Σ."""
        return inverse(self.factor)

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(jnp.zeros((k, d), dtype), jnp.zeros((k, d * (d - 1) // 2), dtype))

    @classmethod
    def shape(cls, k, d):
        return (k, d, d)

    @classmethod
    def own(cls, covariances):
        return covariances

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return covariances

    @classmethod
    def from_own(cls, covariances, xp):
        # Features are first brought to unit variance, so that a tiny column loses no digits.
        scale = xp.sqrt(xp.diagonal(covariances, axis1=-2, axis2=-1))
        correlation = covariances / (scale[..., :, None] * scale[..., None, :])
        if xp is np:
            factor = np.linalg.inv(np.linalg.cholesky(correlation))
        else:
            factor = lapack.inverse(lapack.cholesky(correlation))
        factor = factor / scale[..., None, :]
        diagonal, lower = parts(factor)
        return cls(xp.log(diagonal), lower)

    @classmethod
    def of_scales(cls, scales, k):
        unit = cls.identity(k, len(scales), scales.dtype)
        return cls(unit.log_diagonal - jnp.log(scales)[None], unit.lower)

    def dense(self, d):
        root = self.inverse_factor
        return matmul(root, transpose(root))

    def dense_precision(self, d):
        return matmul(self.factor_transposed, self.factor)

    @classmethod
    def n_parameters(cls, k, d):
        return k * (d * (d + 1) // 2)

    def whiten(self, vectors):
        return matmul(self.factor, vectors[..., None])[..., 0]

    def unwhiten(self, vectors):
        return solve(self.factor, vectors)

    def unwhiten_transposed(self, vectors):
        return solve(self.factor, vectors, transposed=True)

    def log_scales(self, d):
        return -self.log_diagonal

    def amplification(self, means):
        root = inverse(self.factor, often=False)
        reach = jnp.abs(means) + jnp.sqrt(jnp.sum(root**2, axis=-1))
        scaled = self.dense_precision(means.shape[-1]) * reach[:, :, None] * reach[:, None, :]
        return jnp.sqrt(jnp.sum(scaled**2, axis=(1, 2)))

    def residuals(self, means, x):
        # One product for all components; the rows are centered, so W x − W μ loses little.
        d, b = x.shape
        projected = matmul(self.factor.reshape(-1, d), x).reshape(-1, d, b)
        return projected - self.whiten(means)[..., None]

    def cross(self, share, y, x):
        k, d, b = y.shape
        return matmul((share[:, None] * y).reshape(k * d, b), x.T).reshape(k, d, d)

    def spread(self, cross, shift, means):
        # Σ w r y xᵀ Wᵀ − shift (W μ)ᵀ: one tall product in the loop instead of k small ones.
        moved = self.pool(shift[..., :, None] * self.whiten(means)[..., None, :])
        return symmetric(matmul(cross, transpose(self.factor)) - moved)

    @staticmethod
    def features(x):
        first, second, _ = _pairs(len(x))
        augmented = jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)])
        return augmented[first] * augmented[second]

    def natural(self, means, constants):
        # log-joint = −½ xᵀPx + (Pμ)ᵀx + constant − ½|Wμ|², over the upper pairs of [x, 1]
        k, d = means.shape
        first, second, _ = _pairs(d)
        precision = jnp.broadcast_to(self.dense_precision(d), (k, d, d))
        shifted = self.whiten(means)
        linear = matmul(self.factor_transposed, shifted[..., None])
        corner = (constants - jnp.sum(shifted**2, axis=-1) / 2)[:, None, None]
        top = jnp.concatenate([-precision / 2, linear], axis=2)
        form = jnp.concatenate([top, jnp.pad(corner, ((0, 0), (0, 0), (d, 0)))], axis=1)
        twice = np.where((first == second) | (second == d), 1, 2).astype(form.dtype)
        return form[:, first, second] * twice[None]

    @staticmethod
    def moments(sums, d):
        matrix = sums[:, _pairs(d)[2]]
        return matrix[:, d, d], matrix[:, d, :d], matrix[:, :d, :d]

    @staticmethod
    def outer(a, b):
        return symmetric(a[..., :, None] * b[..., None, :])

    @staticmethod
    def reduce(matrix):
        return matrix[None]

    @staticmethod
    def trace(moment):
        return jnp.trace(moment, axis1=-2, axis2=-1)

    @classmethod
    def largest(cls, moment, d):
        # The square of a matrix of trace 1, again and again, is the projector on its main axes.
        def squared(_, matrix):
            matrix = matmul(matrix, matrix)
            return matrix / jnp.where(total > 0, cls.trace(matrix), 1)[:, None, None]

        total = cls.trace(moment)
        unit = moment / jnp.where(total > 0, total, 1)[:, None, None]
        return jnp.sum(moment * jax.lax.fori_loop(0, 5, squared, unit), axis=(-2, -1))

    def whiten_second(self, moment):
        factor = self.factor
        return symmetric(matmul(matmul(factor, moment), transpose(factor)))

    def quadratic(self, moment):
        factor = self.factor
        return jnp.sum(matmul(factor, moment) * factor, axis=(-2, -1))

    @classmethod
    def maximize(cls, moment, mass, d):
        root = lapack.cholesky(moment / mass[:, None, None])
        diagonal, lower = parts(root)
        # λ² − 1 − 2 log λ = 2 (λ − 1 − log λ) + (λ − 1)²: no totals are subtracted
        logarithm, excess = logarithm_and_excess(diagonal)
        divergence = jnp.sum(2 * excess + (diagonal - 1) ** 2, axis=-1)
        divergence += jnp.sum(lower**2, axis=-1)
        return cls(-logarithm, parts(inverse(root))[1]), divergence

    def entries(self):
        return self.log_diagonal, self.lower

    def holding(self, diagonal, lower):
        return type(self)(diagonal, lower)

    def compose(self, base):
        lower = parts(matmul(self.factor, base.factor))[1]
        return type(self)(self.log_diagonal + base.log_diagonal, lower)

    def relative_to(self, base):
        lower = parts(matmul(self.factor, base.inverse_factor))[1]
        return type(self)(self.log_diagonal - base.log_diagonal, lower)

    def metric(self, weight, d):
        root = jnp.sqrt(weight)[:, None]
        return type(self)(
            jnp.broadcast_to(np.sqrt(2).astype(root.dtype) * root, self.log_diagonal.shape),
            jnp.broadcast_to(root, self.lower.shape),
        )

    def spread_from_gradient(self, gradient, mass, d):
        # ∂ℓ/∂W = tril((mass I − spread) W⁻ᵀ), hence tril(mass I − spread) = tril(∂ℓ/∂W Wᵀ).
        slope = assemble(gradient.log_diagonal * jnp.exp(-self.log_diagonal), gradient.lower)
        missing = jnp.tril(matmul(slope, transpose(self.factor)))
        missing = missing + transpose(jnp.tril(missing, -1))
        return mass[:, None, None] * jnp.eye(d, dtype=missing.dtype)[None] - missing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tied(Full):
    """One covariance matrix that all components share: the leaves of `Full`, with k = 1."""

    @classmethod
    def identity(cls, k, d, dtype):
        return super().identity(1, d, dtype)

    @classmethod
    def shape(cls, k, d):
        return (d, d)

    @classmethod
    def own(cls, covariances):
        return covariances[0]

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return xp.broadcast_to(covariances, (k, d, d))

    @classmethod
    def from_own(cls, covariances, xp):
        return super().from_own(covariances[None], xp)

    @classmethod
    def n_parameters(cls, k, d):
        return super().n_parameters(1, d)

    def cross(self, share, y, x):
        # Pooled before the product: the components share W.
        return matmul(jnp.sum(share[:, None] * y, axis=0), x.T)[None]

    @staticmethod
    def pool(values):
        return jnp.sum(values, axis=0, keepdims=True)

    def taken(self, sources):
        return self
