"""A diagonal layout: one scale for each feature of a covariance, or one for all of them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.products import matmul
from ..numerics.unit_matrix import unit_matrix
from .layout import Layout, wider_than


@functools.cache
def _pairs(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (i, j) of augmented features whose products are the natural features.

    The augmented features are d features and a last one, which is 1. The pairs are the last one
    with each, then every feature with itself.
    """
    each, last = np.arange(d + 1, dtype=np.int32), np.full(d + 1, d, np.int32)
    return np.concatenate([each, each[:-1]]), np.concatenate([last, each[:-1]])


class DiagonalLayout(Layout):
    """Diagonal W, stored as the logarithms of its entries.

    These are (c, d), or (c, 1) if all features share one scale. Second moments have the same shape.
    Those of a shared scale are sums over its features.
    """

    # The double kernel takes six tenths of the whitened one's time at d = k = 16, and four tenths
    # at d = 64, k = 256.
    double_pays = True
    whitens_by_products = False
    uncorrelated = True

    def __init__(self, log_diagonal: jax.Array, d: int, shared: bool = False):
        super().__init__(d, shared)
        self.log_diagonal = log_diagonal
        self.scale = jnp.exp(log_diagonal)

    @property
    def _scales(self) -> int:
        """The number of scales of a covariance: d, or 1 if its features share one."""
        return self.log_diagonal.shape[-1]

    def _fold(self, values: jax.Array) -> jax.Array:
        """Sum values (..., d), one for each feature, into one for each scale."""
        return sum_features(values, self._scales)

    def _fold_rows(self, values: jax.Array) -> jax.Array:
        """Sum values (d, b) of each row, one for each feature, into one for each scale."""
        return values if self._scales == self.d else jnp.sum(values, axis=0, keepdims=True)

    def whiten(self, vectors):
        return self.scale * vectors

    def unwhiten(self, vectors):
        return vectors / self.scale

    def unwhiten_transposed(self, vectors):
        return vectors / self.scale

    @property
    def log_scales(self) -> jax.Array:  # type: ignore[override]
        return -jnp.broadcast_to(self.log_diagonal, (len(self.log_diagonal), self.d))

    @property
    def log_determinant(self):
        return -jnp.sum(self.log_scales, axis=-1)

    def resolved(self, noise):
        return wider_than(self.log_scales, noise)

    @property
    def dense(self):
        unit = unit_matrix(self.d, self.scale.dtype)[None]
        return jnp.exp(2 * self.log_scales)[..., None] * unit

    @property
    def dense_precision(self):
        unit = unit_matrix(self.d, self.scale.dtype)[None]
        return jnp.exp(-2 * self.log_scales)[..., None] * unit

    def amplification(self, means):
        return jnp.sqrt(jnp.sum((jnp.abs(means) * self.scale + 1) ** 4, axis=-1))

    @property
    def averaging(self) -> float:
        # A moment has the errors of one feature alone. That of a shared scale is a mean over
        # features. The errors of log-densities limit the factor.
        features = self.d // self._scales
        return 2 * min(features**0.5, 2.0)

    def project(self, axes):
        # The axes are features, so that they are uncorrelated too.
        return DiagonalLayout(matmul(-self.log_scales, axes.T), len(axes), self.shared)

    def residuals(self, means, x):
        return self.scale[..., None] * (x[None] - means[..., None])

    def cross(self, weighted, y):
        return self.pool(self._fold(jnp.sum(weighted[:, None] * y**2, axis=-1)))

    def features(self, x):
        augmented = jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)])
        if self.shared:
            return augmented, self._fold_rows(x**2)
        if self._scales == 1:
            return jnp.concatenate([augmented, self._fold_rows(x**2)]), None
        # One product of gathered rows, because XLA's CPU code concatenates arrays slowly (5 ms
        # against 1.4 ms for 10⁵ rows of 16 features).
        first, second = _pairs(len(x))
        return augmented[first] * augmented[second], None

    def natural(self, means, constants):
        precision = jnp.exp(2 * self.log_diagonal)
        linear = precision * means
        constant = constants - jnp.sum(linear * means, axis=-1) / 2
        own = jnp.concatenate([linear, constant[:, None]], axis=-1)
        if self.shared:
            return own, -precision / 2
        return jnp.concatenate([own, -precision / 2], axis=-1), None

    def statistics(self, sums, common, means):
        d = self.d
        first, mass = sums[..., :d], sums[..., d]
        second = jnp.sum(common if self.shared else sums[..., d + 1 :], axis=0)
        moved = first - mass[..., None] * means
        # Σ (x − μ)² = Σ x² − μ (Σ x + Σ (x − μ))
        products = jnp.sum((first + moved) * means, axis=0)
        spread = jnp.exp(2 * self.log_diagonal) * (second - self.pool(self._fold(products)))
        return jnp.sum(mass, axis=0), self.whiten(jnp.sum(moved, axis=0)), spread

    def outer(self, a, b):
        return self.pool(self._fold(a * b))

    def whiten_stack(self, matrices):
        variances = jnp.diagonal(matrices, axis1=1, axis2=2)
        return jnp.exp(2 * self.log_diagonal) * self._fold(variances)

    def pull(self, mass, matrices):
        variances = self.pool(jnp.diagonal(matrices, axis1=1, axis2=2))
        moments = jnp.exp(2 * self.log_scales) * variances
        return self._fold(self.pool(mass)[:, None] + moments)

    def restate(self, moments, new):
        return jnp.exp(2 * (new.log_diagonal - self.log_diagonal)) * moments

    def quadratic(self, matrix):
        return self.trace(self.whiten_second(matrix))

    def trace(self, moments):
        return jnp.sum(moments, axis=-1)

    def largest(self, matrix):
        moments = self.whiten_second(matrix)
        # The moment of a shared scale is a sum over its features.
        return jnp.max(moments, axis=-1) / (self.d // moments.shape[-1])

    def expected(self, new, moments, mass):
        square = jnp.exp(2 * (new.log_diagonal - self.log_diagonal)) * moments
        return mass * new.log_determinant - jnp.sum(square, axis=-1) / 2

    def gain(self, change, bend, moments, mass):
        count = mass[:, None]
        rest = moments / count - self.d // moments.shape[-1]
        return 2 * (bend - jnp.sum(change * rest, axis=-1)) - jnp.sum(
            change**2 * (moments / count), axis=-1
        )


def sum_features(values: jax.Array, scales: int) -> jax.Array:
    """Sum values (..., d), one for each feature, into (..., scales), where scales is d or 1."""
    return values if values.shape[-1] == scales else jnp.sum(values, axis=-1, keepdims=True)
