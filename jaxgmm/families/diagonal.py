"""Diagonal and spherical covariances: one scale for each feature, or one for all of them."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.logarithms import logarithm_and_excess
from .base import Covariance


@functools.cache
def _pairs(d: int):
    """The pairs (i, j) of d + 1 augmented features whose products are the natural features: every
    feature with itself, then the last, which is 1, with each."""
    each, last = np.arange(d + 1, dtype=np.int32), np.full(d + 1, d, np.int32)
    return np.concatenate([each[:-1], each]), np.concatenate([each[:-1], last])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Diagonal(Covariance):
    """A variance for each component and feature.

    log_diagonal "k d": logarithms of the inverse standard deviations, the diagonal of W."""

    log_diagonal: jax.Array

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(jnp.zeros((k, d), dtype))

    @classmethod
    def shape(cls, k, d):
        return (k, d)

    @classmethod
    def own(cls, covariances):
        return covariances.diagonal(axis1=-2, axis2=-1)

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return covariances[:, :, None] * xp.eye(d, dtype=covariances.dtype)[None]

    @classmethod
    def from_own(cls, covariances, xp):
        return cls(-xp.log(covariances) / 2)

    @classmethod
    def of_scales(cls, scales, k):
        variance = cls.fold(scales**2) / cls.features_per_scale(len(scales))
        return cls(jnp.broadcast_to(-jnp.log(variance) / 2, (k, len(variance))))

    @staticmethod
    def fold(values: jax.Array) -> jax.Array:
        """Values (..., d), one for each feature, summed into one for each scale."""
        return values

    @staticmethod
    def features_per_scale(d: int) -> int:
        """How many features share a scale."""
        return 1

    @property
    def _scale(self):
        return jnp.exp(self.log_diagonal)

    def dense(self, d):
        return (
            jnp.exp(2 * self.log_scales(d))[..., None] * jnp.eye(d, dtype=self._scale.dtype)[None]
        )

    def dense_precision(self, d):
        return (
            jnp.exp(-2 * self.log_scales(d))[..., None] * jnp.eye(d, dtype=self._scale.dtype)[None]
        )

    @classmethod
    def n_parameters(cls, k, d):
        return k * (d // cls.features_per_scale(d))

    def whiten(self, vectors):
        return self._scale * vectors

    def unwhiten(self, vectors):
        return vectors / self._scale

    def unwhiten_transposed(self, vectors):
        return vectors / self._scale

    def log_scales(self, d):
        return -jnp.broadcast_to(self.log_diagonal, (len(self.log_diagonal), d))

    def amplification(self, means):
        return jnp.sqrt(jnp.sum((jnp.abs(means) * self._scale + 1) ** 4, axis=-1))

    def residuals(self, means, x):
        return self._scale[..., None] * (x[None] - means[..., None])

    def cross(self, share, y, x):
        return self.fold(jnp.sum(share[:, None] * y**2, axis=-1))

    def spread(self, cross, shift, means):
        return cross

    @staticmethod
    def features(x):
        # One product of gathered rows: XLA's CPU code concatenates pieces slowly (5 ms against 1.4
        # for 10⁵ rows of 16).
        first, second = _pairs(len(x))
        augmented = jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)])
        return augmented[first] * augmented[second]

    def natural(self, means, constants):
        precision = jnp.broadcast_to(jnp.exp(2 * self.log_diagonal), means.shape)
        linear = precision * means
        constant = constants - jnp.sum(linear * means, axis=-1) / 2
        return jnp.concatenate([-precision / 2, linear, constant[:, None]], axis=-1)

    @classmethod
    def moments(cls, sums, d):
        return sums[:, 2 * d], sums[:, d : 2 * d], cls.fold(sums[:, :d])

    @classmethod
    def outer(cls, a, b):
        return cls.fold(a * b)

    @classmethod
    def reduce(cls, matrix):
        return cls.fold(jnp.diagonal(matrix)[None])

    @staticmethod
    def trace(moment):
        return jnp.sum(moment, axis=-1)

    @staticmethod
    def largest(moment, d):
        return jnp.max(moment, axis=-1)

    def whiten_second(self, moment):
        return jnp.exp(2 * self.log_diagonal) * moment

    def quadratic(self, moment):
        return self.trace(self.whiten_second(moment))

    @classmethod
    def maximize(cls, moment, mass, d):
        share = cls.features_per_scale(d)
        mass = share * mass[:, None]
        logarithm, excess = logarithm_and_excess(moment, mass)
        return cls(-logarithm / 2), share * jnp.sum(excess, axis=-1)

    def entries(self):
        diagonal = self.log_diagonal.reshape(-1, 1)
        return diagonal, np.zeros((len(diagonal), 0), diagonal.dtype)

    def holding(self, diagonal, lower):
        return type(self)(diagonal.reshape(self.log_diagonal.shape))

    def compose(self, base):
        return type(self)(self.log_diagonal + base.log_diagonal)

    def relative_to(self, base):
        return type(self)(self.log_diagonal - base.log_diagonal)

    def metric(self, weight, d):
        root = jnp.sqrt(2 * self.features_per_scale(d) * weight)[:, None]
        return type(self)(jnp.broadcast_to(root, self.log_diagonal.shape))

    def spread_from_gradient(self, gradient, mass, d):
        return self.features_per_scale(d) * mass[:, None] - gradient.log_diagonal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spherical(Diagonal):
    """One variance for each component: the leaf of `Diagonal`, as "k 1"."""

    @classmethod
    def identity(cls, k, d, dtype):
        return super().identity(k, 1, dtype)

    @classmethod
    def shape(cls, k, d):
        return (k,)

    @classmethod
    def own(cls, covariances):
        return covariances[:, 0, 0]

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return covariances[:, None, None] * xp.eye(d, dtype=covariances.dtype)[None]

    @classmethod
    def from_own(cls, covariances, xp):
        return super().from_own(covariances[:, None], xp)

    @staticmethod
    def fold(values):
        return jnp.sum(values, axis=-1, keepdims=True)

    @staticmethod
    def features_per_scale(d):
        return d

    @staticmethod
    def largest(moment, d):
        return moment[:, 0] / d
