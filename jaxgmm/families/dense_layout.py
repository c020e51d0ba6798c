"""A dense layout: a whitening matrix for each covariance."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics import lapack
from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.float64 import product_in_two_parts
from ..numerics.products import HIGHEST, SMALL_MATRIX, matmul
from ..numerics.triangular import log_determinant, symmetric, transpose
from ..numerics.unit_matrix import unit_matrix
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


class Dense(Layout):
    """Any invertible W (c, d, d), with its inverse L and its log-determinant.

    c is the number k of components, or 1 if they share the covariance. Second moments are matrices
    (c, d, d). A family of your own makes its layout by `Dense.of`, `Dense.of_precision` or
    `Dense.of_covariance`, whichever is closest to its leaves.

    Args:
      factor: W with Σ⁻¹ = WᵀW.
      inverse_factor: L = W⁻¹, so that Σ = LLᵀ.
      log_determinant: log |det W| as (c,).

    >>> layout = jaxgmm.Dense.of_covariance(jnp.array([[[4.0, 0.0], [0.0, 1.0]]]))
    >>> layout.factor
    Array([[[0.5, 0. ],
            [0. , 1. ]]], dtype=float32)
    """

    def __init__(
        self, factor: jax.Array, inverse_factor: jax.Array, log_determinant: jax.Array
    ) -> None:
        super().__init__(factor.shape[-1], shared=len(factor) == 1)
        self._parts = factor, inverse_factor, log_determinant

    @property
    def double_pays(self) -> bool:
        """Whether components share a covariance, so that its quadratic form is computed once."""
        return self.shared

    @classmethod
    def of(cls, factor: jax.Array) -> Dense:
        """Return the layout of whitening matrices W (c, d, d), which need not be triangular.

        Raises:
          ValueError: if `factor` does not have the shape of a stack of square matrices.
        """
        root = lapack.lower_root(_square(factor, "factor"))  # R with R Rᵀ = WᵀW
        inverse_root = lapack.inverse(root)
        inverse = matmul(transpose(inverse_root), matmul(inverse_root, transpose(factor)))
        return cls(factor, inverse, log_determinant(root))

    @classmethod
    def of_precision(cls, precision: jax.Array) -> Dense:
        """Return the layout of precisions Σ⁻¹ (c, d, d).

        Raises:
          ValueError: if `precision` does not have the shape of a stack of square matrices.
        """
        root, inverse_root = cholesky_and_inverse(_square(precision, "precision"))
        return cls(transpose(root), transpose(inverse_root), log_determinant(root))

    @classmethod
    def of_covariance(cls, covariance: jax.Array) -> Dense:
        """Return the layout of covariances Σ (c, d, d).

        Raises:
          ValueError: if `covariance` does not have the shape of a stack of square matrices.
        """
        root, inverse_root = cholesky_and_inverse(_square(covariance, "covariance"))
        return cls(inverse_root, root, -log_determinant(root))

    @property
    def factor(self) -> jax.Array:
        """W as (c, d, d)."""
        return self._parts[0]

    @property
    def factor_transposed(self) -> jax.Array:
        """Wᵀ as (c, d, d)."""
        return transpose(self.factor)

    @property
    def inverse_factor(self) -> jax.Array:
        """L = W⁻¹ as (c, d, d)."""
        return self._parts[1]

    @property
    def log_determinant(self):
        return self._parts[2]

    def whiten(self, vectors):
        return matmul(self.factor, vectors[..., None])[..., 0]

    def unwhiten(self, vectors):
        return matmul(self.inverse_factor, vectors[..., None])[..., 0]

    def unwhiten_transposed(self, vectors):
        return matmul(transpose(self.inverse_factor), vectors[..., None])[..., 0]

    def resolved(self, noise):
        # Every residual has variance 1, and its rounding errors must have less.
        return jnp.all(matmul(self.factor**2, noise[..., None])[..., 0] < 1, axis=-1)

    @property
    def dense(self):
        root = self.inverse_factor
        return matmul(root, transpose(root))

    @property
    def dense_precision(self):
        return matmul(self.factor_transposed, self.factor)

    def amplification(self, means):
        return amplification_of(self, self.inverse_factor, means)

    def project(self, axes):
        return projection_of(self, axes)

    def residuals(self, means, x):
        # W x is one product for all components. Its rounding errors differ from row to row, and
        # average out. That of W μ would be the same for all rows.
        high, low = product_in_two_parts(self.factor, means[..., None])
        return self._products(x) - high - low

    def _products(self, x: jax.Array) -> jax.Array:
        """Return W x as (c, d, b), for rows x (d, b)."""
        return matmul(self.factor.reshape(-1, self.d), x).reshape(-1, *x.shape)

    def cross(self, weighted, y):
        # Σ w r y xᵀ would be one product for all components. Of narrow ones, the digits cancel.
        return self.pool(matmul(weighted[:, None] * y, transpose(y)))

    def spread(self, cross):
        return symmetric(cross)

    def features(self, x):
        augmented = jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)])
        if self.shared:
            return augmented, x
        first, second, _ = _pairs(len(augmented))
        return augmented[first] * augmented[second], None

    def common_form(self, common, features):
        # −½ |W x|², in a quarter of the time of the same form in products of features.
        return -jnp.sum(matmul(common, features) ** 2, axis=0, keepdims=True) / 2

    def common_sums(self, weight, features):
        return matmul(weight * features, features.T)

    def natural(self, means, constants):
        # The log-joint is −½ xᵀPx + (Pμ)ᵀx + constant − ½|Wμ|². Products of different entries of
        # x occur twice in the quadratic form and once among the features.
        d = self.d
        shifted = self.whiten(means)
        linear = matmul(self.factor_transposed, shifted[..., None])
        corner = (constants - jnp.sum(shifted**2, axis=-1) / 2)[:, None, None]
        if self.shared:
            return jnp.concatenate([linear, corner], axis=1)[..., 0], self.factor[0]
        # The features are products of entries of [x, 1]; the linear form is not halved.
        first, second, _ = _pairs(d + 1)
        top = jnp.concatenate([-self.dense_precision / 2, linear], axis=2)
        form = jnp.concatenate([top, jnp.pad(corner, ((0, 0), (0, 0), (d, 0)))], axis=1)
        twice = np.where((first == second) | (second == d), 1, 2).astype(form.dtype)
        if d < SMALL_MATRIX:
            # XLA would compute the form again for every entry that is taken from it.
            choice = np.zeros((d + 1, d + 1, len(twice)), form.dtype)
            choice[first, second, np.arange(len(twice))] = twice
            return matmul(form.reshape(len(form), -1), choice.reshape(-1, len(twice))), None
        return form[:, first, second] * twice[None], None

    def statistics(self, sums, common, means):
        d = self.d
        if self.shared:
            first, mass, second = sums[..., :d], sums[..., d], jnp.sum(common, axis=0)[None]
        else:
            position = _pairs(d + 1)[2]
            matrix = jnp.sum(sums, axis=0)[:, position]
            second, first, mass = matrix[:, :d, :d], matrix[None, :, :d, d], matrix[None, :, d, d]
            if len(sums) > 1:
                first, mass = sums[..., position[d, :d]], sums[..., position[d, d]]
        moved = first - mass[..., None] * means
        # Σ (x − μ)(x − μ)ᵀ = Σ x xᵀ − Σ x μᵀ − μ Σ (x − μ)ᵀ
        second = second - symmetric(self._cross_products(first + moved, means))
        return (
            jnp.sum(mass, axis=0),
            self.whiten(jnp.sum(moved, axis=0)),
            self.whiten_stack(second),
        )

    def _cross_products(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the sums (c, d, d) of a bᵀ over origins and the components of each covariance."""
        if self.shared:
            return matmul(a.reshape(-1, self.d).T, b.reshape(-1, self.d))[None]
        if len(a) == 1:
            return a[0][..., :, None] * b[0][..., None, :]
        return jnp.einsum("oki,okj->kij", a, b, precision=HIGHEST)

    def outer(self, a, b):
        return self.pool(_outer(a, b))

    def whiten_stack(self, matrices):
        return symmetric(matmul(matmul(self.factor, matrices), self.factor_transposed))

    def pull(self, mass, matrices):
        root = self.inverse_factor
        moments = symmetric(matmul(matmul(transpose(root), self.pool(matrices)), root))
        return self.pool(mass)[:, None, None] * unit_matrix(self.d, root.dtype)[None] + moments

    def quadratic(self, matrix):
        return quadratic_form(self.factor, matrix[None])

    def trace(self, moments):
        # This takes a fifth of the time that jnp.trace takes to trace.
        entries = moments.reshape(*moments.shape[:-2], self.d**2)
        return jnp.sum(jax.lax.slice_in_dim(entries, 0, None, self.d + 1, axis=-1), axis=-1)

    def largest(self, matrix):
        moments = self.whiten_second(matrix)

        # Repeated squaring of a matrix of trace 1 converges to the projector on its main axes.
        def square(_: jax.Array, matrix: jax.Array) -> jax.Array:
            matrix = matmul(matrix, matrix)
            return matrix / jnp.where(total > 0, self.trace(matrix), 1)[:, None, None]

        total = self.trace(moments)
        unit = moments / jnp.where(total > 0, total, 1)[:, None, None]
        return jnp.sum(moments * jax.lax.fori_loop(0, 5, square, unit), axis=(-2, -1))

    def relative(self, new: Dense) -> jax.Array:
        """Return T = W_new L (c, d, d), which turns this layout's factors into those of `new`."""
        return matmul(new.factor, self.inverse_factor)

    def restate(self, moments, new):
        turned = self.relative(new)
        return symmetric(matmul(matmul(turned, moments), transpose(turned)))

    def expected(self, new, moments, mass):
        return mass * new.log_determinant - quadratic_form(self.relative(new), moments) / 2

    def gain(self, change, bend, moments, mass):
        count = mass[:, None, None]
        rest = moments / count - unit_matrix(self.d, moments.dtype)[None]
        first = jnp.sum(change * rest, axis=(-2, -1))
        return 2 * (bend - first) - quadratic_form(change, moments / count)


def _square(matrices: jax.Array, name: str) -> jax.Array:
    """Return the matrices, or raise ValueError for another shape than (c, d, d)."""
    shape = jnp.shape(matrices)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(
            f"{name} has shape {shape}: pass (k, d, d), or (1, d, d) for a common matrix."
        )
    return matrices


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return (a bᵀ + b aᵀ) / 2 of vectors (k, d), one matrix for each component."""
    return symmetric(a[..., :, None] * b[..., None, :])


def quadratic_form(factor: jax.Array, matrices: jax.Array) -> jax.Array:
    """Return tr W M Wᵀ of stacks of matrices."""
    return jnp.sum(matmul(factor, matrices) * factor, axis=(-2, -1))


def amplification_of(layout: Dense, root: jax.Array, means: jax.Array) -> jax.Array:
    """Return `Layout.amplification` from the inverse factors L (c, d, d)."""
    squares = (jnp.abs(means) + jnp.sqrt(jnp.sum(root**2, axis=-1))) ** 2
    scaled = matmul(layout.dense_precision**2, squares[..., None])[..., 0]
    return jnp.sqrt(jnp.sum(squares * scaled, axis=-1))


def projection_of(layout: Layout, axes: jax.Array) -> Dense:
    """Return `Layout.project`, by way of A W⁻¹, a root (c, m, d) of A Σ Aᵀ."""
    shape = len(layout.log_determinant), layout.d
    solve = lambda axis: layout.unwhiten_transposed(jnp.broadcast_to(axis, shape))
    root = jnp.moveaxis(jax.vmap(solve)(axes), 0, 1)
    return Dense.of_covariance(matmul(root, transpose(root)))
