"""A dense layout: one lower-triangular whitening matrix for each covariance."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, parts, solve, symmetric, transpose
from .layout import Layout


@functools.cache
def _pairs(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs i ≤ j of `size` numbers, and the position of (i, j) among the pairs.

    The positions are a symmetric matrix (size, size).
    """
    first, second = (index.astype(np.int32) for index in np.triu_indices(size))
    position = np.zeros((size, size), np.int32)
    position[first, second] = position[second, first] = np.arange(len(first))
    return first, second, position


class TriangularLayout(Layout):
    """Lower-triangular W (c, d, d), stored as its log-diagonal and its strict lower part.

    These are (c, d) and, row by row, (c, d(d−1)/2). Second moments are matrices (c, d, d).
    """

    def __init__(self, log_diagonal: jax.Array, lower: jax.Array, shared: bool = False):
        super().__init__(log_diagonal.shape[-1], shared)
        self.log_diagonal = log_diagonal
        self.lower = lower

    @property
    def factor(self) -> jax.Array:
        """W as (c, d, d)."""
        return assemble(jnp.exp(self.log_diagonal), self.lower)

    @property
    def factor_transposed(self) -> jax.Array:
        """Wᵀ as (c, d, d), stored as such: XLA multiplies stacks of transposed matrices slowly."""
        return assemble(jnp.exp(self.log_diagonal), self.lower, transposed=True)

    @property
    def inverse_factor(self) -> jax.Array:
        """L = W⁻¹ as (c, d, d), the Cholesky factor of Σ."""
        return inverse(self.factor)

    def whiten(self, vectors):
        return matmul(self.factor, vectors[..., None])[..., 0]

    def unwhiten(self, vectors):
        return solve(self.factor, vectors)

    def unwhiten_transposed(self, vectors):
        return solve(self.factor, vectors, transposed=True)

    @property
    def log_scales(self):
        return -self.log_diagonal

    @property
    def dense(self):
        root = self.inverse_factor
        return matmul(root, transpose(root))

    @property
    def dense_precision(self):
        return matmul(self.factor_transposed, self.factor)

    def amplification(self, means):
        root = inverse(self.factor, often=False)
        reach = jnp.abs(means) + jnp.sqrt(jnp.sum(root**2, axis=-1))
        scaled = self.dense_precision * reach[:, :, None] * reach[:, None, :]
        return jnp.sqrt(jnp.sum(scaled**2, axis=(1, 2)))

    def residuals(self, means, x):
        # One product for all components. Rows are centered, so W x − W μ loses few digits.
        d, b = x.shape
        projected = matmul(self.factor.reshape(-1, d), x).reshape(-1, d, b)
        return projected - self.whiten(means)[..., None]

    def cross(self, weighted, y, x):
        if self.shared:  # pooled before the product, since all components have the same W
            return matmul(jnp.sum(weighted[:, None] * y, axis=0), x.T)[None]
        k, d, b = y.shape
        return matmul((weighted[:, None] * y).reshape(k * d, b), x.T).reshape(k, d, d)

    def spread(self, cross, shift, means):
        # Σ w r y yᵀ = Σ w r y xᵀ Wᵀ − shift (W μ)ᵀ: the loop over blocks computes one tall product
        # for Σ w r y xᵀ instead of k small ones for Σ w r y yᵀ.
        moved = self.pool(shift[..., :, None] * self.whiten(means)[..., None, :])
        return symmetric(matmul(cross, transpose(self.factor)) - moved)

    def features(self, x):
        augmented = jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)])
        first, second, _ = _pairs(len(x) if self.shared else len(augmented))
        products = augmented[first] * augmented[second]
        return (augmented, products) if self.shared else (products, None)

    def natural(self, means, constants):
        # The log-joint is −½ xᵀPx + (Pμ)ᵀx + constant − ½|Wμ|². Products of different entries of
        # x occur twice in the quadratic form and once among the features.
        d = self.d
        shifted = self.whiten(means)
        linear = matmul(self.factor_transposed, shifted[..., None])
        corner = (constants - jnp.sum(shifted**2, axis=-1) / 2)[:, None, None]
        if self.shared:
            first, second, _ = _pairs(d)
            twice = np.where(first == second, 1, 2).astype(means.dtype)
            own = jnp.concatenate([linear, corner], axis=1)[..., 0]
            return own, -self.dense_precision[:, first, second] / 2 * twice[None]
        # The features are products of entries of [x, 1]; the linear form is not halved.
        first, second, _ = _pairs(d + 1)
        top = jnp.concatenate([-self.dense_precision / 2, linear], axis=2)
        form = jnp.concatenate([top, jnp.pad(corner, ((0, 0), (0, 0), (d, 0)))], axis=1)
        twice = np.where((first == second) | (second == d), 1, 2).astype(form.dtype)
        return form[:, first, second] * twice[None], None

    def statistics(self, sums, common, means):
        d = self.d
        if self.shared:
            mass, first, second = sums[:, d], sums[:, :d], common[:, _pairs(d)[2]]
        else:
            matrix = sums[:, _pairs(d + 1)[2]]
            mass, first, second = matrix[:, d, d], matrix[:, d, :d], matrix[:, :d, :d]
        moved = first - mass[:, None] * means
        # Σ (x − μ)(x − μ)ᵀ = Σ x xᵀ − Σ x μᵀ − μ Σ (x − μ)ᵀ
        products = symmetric(self._cross_products(first + moved, means))
        return mass, self.whiten(moved), self._whiten_stack(second - products)

    def _cross_products(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the sums (c, d, d) of a bᵀ over the components of each covariance."""
        return matmul(a.T, b)[None] if self.shared else a[..., :, None] * b[..., None, :]

    def outer(self, a, b):
        return self.pool(_outer(a, b))

    def whiten_second(self, matrix):
        return self._whiten_stack(matrix[None])

    def _whiten_stack(self, matrices: jax.Array) -> jax.Array:
        """Return W M Wᵀ of matrices (c, d, d)."""
        factor = self.factor
        return symmetric(matmul(matmul(factor, matrices), transpose(factor)))

    def quadratic(self, matrix):
        return _quadratic(self.factor, matrix[None])

    def trace(self, moments):
        return jnp.trace(moments, axis1=-2, axis2=-1)

    def largest(self, moments):
        # Repeated squaring of a matrix of trace 1 converges to the projector on its main axes.
        def square(_: jax.Array, matrix: jax.Array) -> jax.Array:
            matrix = matmul(matrix, matrix)
            return matrix / jnp.where(total > 0, self.trace(matrix), 1)[:, None, None]

        total = self.trace(moments)
        unit = moments / jnp.where(total > 0, total, 1)[:, None, None]
        return jnp.sum(moments * jax.lax.fori_loop(0, 5, square, unit), axis=(-2, -1))

    def expected(self, new, moments, mass):
        # T = W_new L. Its diagonal is computed from the logarithms, so that it is exactly 1 where
        # they agree.
        lower = parts(matmul(new.factor, self.inverse_factor))[1]
        relative = assemble(jnp.exp(new.log_diagonal - self.log_diagonal), lower)
        return mass * new.log_determinant - _quadratic(relative, moments) / 2


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return (a bᵀ + b aᵀ) / 2 of vectors (k, d), one matrix for each component."""
    return symmetric(a[..., :, None] * b[..., None, :])


def _quadratic(factor: jax.Array, matrices: jax.Array) -> jax.Array:
    """Return tr W M Wᵀ of stacks of matrices."""
    return jnp.sum(matmul(factor, matrices) * factor, axis=(-2, -1))
