"""Full and tied covariances: a lower-triangular whitening factor for each component, or for all."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from .covariance import Covariance, excess, logarithm, matmul

# Up to this many features a loop over columns, of all matrices at once, is faster than a call of
# LAPACK for each (150 µs against 550 for 512 inverses of 8×8).
LOOPED = 8


@functools.cache
def _layout(d: int):
    """Where each entry of a (d, d) factor lies in [diagonal, strict lower part, 0]."""
    rows, columns = (index.astype(np.int32) for index in np.tril_indices(d, -1))
    layout = np.full((d, d), d + len(rows), np.int32)
    layout[np.arange(d), np.arange(d)] = np.arange(d)
    layout[rows, columns] = d + np.arange(len(rows))
    return rows, columns, layout


@functools.cache
def _pairs(d: int):
    """The upper pairs (i, j) of d + 1 augmented features, and where (i, j) lies among them."""
    first, second = (index.astype(np.int32) for index in np.triu_indices(d + 1))
    place = np.zeros((d + 1, d + 1), np.int32)
    place[first, second] = place[second, first] = np.arange(len(first))
    return first, second, place


def _strict(matrix, d: int):
    rows, columns, _ = _layout(d)
    return matrix[..., rows, columns]


def _matrix(diagonal: jax.Array, lower: jax.Array, transposed: bool = False) -> jax.Array:
    d = diagonal.shape[-1]
    layout = _layout(d)[2].T if transposed else _layout(d)[2]
    entries = jnp.concatenate([diagonal, lower], axis=-1)
    if d <= LOOPED:  # a product with ones: XLA's CPU code gathers stacks of small matrices slowly
        places = np.eye(entries.shape[-1] + 1, dtype=entries.dtype)[:-1, layout.ravel()]
        return matmul(entries, places).reshape(*entries.shape[:-1], d, d)
    entries = jnp.concatenate([entries, jnp.zeros_like(diagonal[..., :1])], axis=-1)
    return entries[..., layout]


def _diagonal(matrix: jax.Array) -> jax.Array:
    return jnp.diagonal(matrix, axis1=-2, axis2=-1)


def _transpose(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)


def _inverse(factor: jax.Array, often: bool = True) -> jax.Array:
    """L⁻¹ of lower-triangular factors (c, d, d); unless `often`, by what compiles fastest."""
    d = factor.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(d, dtype=factor.dtype), factor.shape)
    if d > LOOPED or not often:
        return jax.lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True)

    def eliminate(j, inverse):
        column = jax.lax.dynamic_index_in_dim(factor, j, 2)
        pivot = jax.lax.dynamic_index_in_dim(column, j, 1)
        row = jax.lax.dynamic_index_in_dim(inverse, j, 1) / pivot
        below = (jnp.arange(d) > j)[None, :, None]
        inverse = inverse - jnp.where(below, column, 0) * row
        return jax.lax.dynamic_update_index_in_dim(inverse, row, j, 1)

    return jax.lax.fori_loop(0, d, eliminate, eye)


def _solve(factor: jax.Array, vectors: jax.Array, transposed: bool = False) -> jax.Array:
    """W⁻¹ v, or W⁻ᵀ v, for vectors (k, d) and lower-triangular factors (c, d, d)."""
    (k, d), dtype = vectors.shape, jnp.promote_types(factor.dtype, vectors.dtype)
    return jax.lax.linalg.triangular_solve(
        jnp.broadcast_to(factor, (k, d, d)).astype(dtype), vectors[..., None].astype(dtype),
        left_side=True, lower=True, transpose_a=transposed,
    )[..., 0]  # fmt: skip


def _symmetric(matrix: jax.Array) -> jax.Array:
    return (matrix + _transpose(matrix)) / 2


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
        return _matrix(jnp.exp(self.log_diagonal), self.lower)

    @property
    def factor_transposed(self) -> jax.Array:
        """Wᵀ as (c, d, d), laid out as such: products of stacks take transposed ones badly."""
        return _matrix(jnp.exp(self.log_diagonal), self.lower, transposed=True)

    @property
    def inverse_factor(self) -> jax.Array:
        """L = W⁻¹ as (c, d, d), the Cholesky factor of Σ."""
        return _inverse(self.factor)

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
        d = covariances.shape[-1]
        scale = xp.sqrt(xp.diagonal(covariances, axis1=-2, axis2=-1))
        correlation = covariances / (scale[..., :, None] * scale[..., None, :])
        factor = xp.linalg.inv(xp.linalg.cholesky(correlation)) / scale[..., None, :]
        return cls(xp.log(xp.diagonal(factor, axis1=-2, axis2=-1)), _strict(factor, d))

    def dense(self, d):
        inverse = self.inverse_factor
        return matmul(inverse, _transpose(inverse))

    def dense_precision(self, d):
        return matmul(self.factor_transposed, self.factor)

    @classmethod
    def n_parameters(cls, k, d):
        return k * (d * (d + 1) // 2)

    def whiten(self, vectors):
        return matmul(self.factor, vectors[..., None])[..., 0]

    def unwhiten(self, vectors):
        return _solve(self.factor, vectors)

    def unwhiten_transposed(self, vectors):
        return _solve(self.factor, vectors, transposed=True)

    def log_scales(self, d):
        return -self.log_diagonal

    def amplification(self, means):
        inverse = _inverse(self.factor, often=False)
        reach = jnp.abs(means) + jnp.sqrt(jnp.sum(inverse**2, axis=-1))
        precision = jnp.abs(self.dense_precision(means.shape[-1]))
        return jnp.sum(matmul(precision, reach[..., None])[..., 0] * reach, axis=-1)

    def residuals(self, means, x):
        # One product for all components; the rows are centred, so W x − W μ loses little.
        d, b = x.shape
        projected = matmul(self.factor.reshape(-1, d), x).reshape(-1, d, b)
        return projected - self.whiten(means)[..., None]

    def cross(self, share, y, x):
        k, d, b = y.shape
        return matmul((share[:, None] * y).reshape(k * d, b), x.T).reshape(k, d, d)

    def spread(self, cross, shift, means):
        # Σ w r y xᵀ Wᵀ − shift (W μ)ᵀ: one tall product in the loop instead of k small ones.
        moved = self.pool(shift[..., :, None] * self.whiten(means)[..., None, :])
        return _symmetric(matmul(cross, _transpose(self.factor)) - moved)

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
        return _symmetric(a[..., :, None] * b[..., None, :])

    @staticmethod
    def reduce(matrix):
        return matrix[None]

    def whiten_second(self, moment):
        factor = self.factor
        return _symmetric(matmul(matmul(factor, moment), _transpose(factor)))

    def quadratic(self, moment):
        factor = self.factor
        return jnp.sum(matmul(factor, moment) * factor, axis=(-2, -1))

    @classmethod
    def maximise(cls, moment, mass, d):
        root = jax.lax.linalg.cholesky(moment / mass[:, None, None], symmetrize_input=False)
        diagonal = _diagonal(root)
        # λ² − 1 − 2 log λ = 2 (λ − 1 − log λ) + (λ − 1)²: no totals are subtracted
        divergence = jnp.sum(2 * excess(diagonal) + (diagonal - 1) ** 2, axis=-1)
        divergence += jnp.sum(_strict(root, d) ** 2, axis=-1)
        return cls(-logarithm(diagonal), _strict(_inverse(root), d)), divergence

    def entries(self):
        return self.log_diagonal, self.lower

    def holding(self, diagonal, lower):
        return type(self)(diagonal, lower)

    def compose(self, base):
        lower = _strict(matmul(self.factor, base.factor), self.log_diagonal.shape[-1])
        return type(self)(self.log_diagonal + base.log_diagonal, lower)

    def relative_to(self, base):
        lower = _strict(matmul(self.factor, base.inverse_factor), self.log_diagonal.shape[-1])
        return type(self)(self.log_diagonal - base.log_diagonal, lower)

    def metric(self, weight, d):
        root = jnp.sqrt(weight)[:, None]
        return type(self)(
            jnp.broadcast_to(np.sqrt(2).astype(root.dtype) * root, self.log_diagonal.shape),
            jnp.broadcast_to(root, self.lower.shape),
        )

    def spread_from_gradient(self, gradient, mass, d):
        # ∂ℓ/∂W = tril((mass I − spread) W⁻ᵀ), hence tril(mass I − spread) = tril(∂ℓ/∂W Wᵀ).
        slope = _matrix(gradient.log_diagonal * jnp.exp(-self.log_diagonal), gradient.lower)
        missing = jnp.tril(matmul(slope, _transpose(self.factor)))
        missing = missing + _transpose(jnp.tril(missing, -1))
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
