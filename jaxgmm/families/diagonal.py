"""Diagonal and spherical covariances: a variance for each feature, or one for all of them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.logarithms import logarithm_and_excess
from .diagonal_layout import DiagonalLayout, sum_features
from .family import HasFactor


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Diagonal(HasFactor):
    """A variance for each component and feature.

    `log_diagonal` (k, d) contains the logarithms of the inverse standard deviations, which are the
    diagonal of W. A local has the same form, and is added to them.
    """

    log_diagonal: jax.Array
    spherical: ClassVar[bool] = False

    @classmethod
    def _scales(cls, d: int) -> int:
        """Return the number of scales of a component."""
        return 1 if cls.spherical else d

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(jnp.zeros((k, cls._scales(d)), dtype))

    def frame(self, d):
        return DiagonalLayout(self.log_diagonal, d)

    @classmethod
    def n_parameters(cls, k, d):
        return k * cls._scales(d)

    def maximize(self, moments, mass, d):
        features = d // self._scales(d)  # the number of features of each scale
        logarithm, excess = logarithm_and_excess(moments, features * mass[:, None])
        return type(self)(-logarithm / 2), features * jnp.sum(excess, axis=-1)

    def moved(self, local):
        return type(self)(local.log_diagonal + self.log_diagonal)

    def between(self, other):
        return type(self)(other.log_diagonal - self.log_diagonal)

    def combine(self, first, second):
        return first.moved(second)

    def metric(self, mass, d):
        root = jnp.sqrt(2 * (d // self._scales(d)) * mass)[:, None]
        return type(self)(jnp.broadcast_to(root, self.log_diagonal.shape))

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
        d = len(scales)
        variance = sum_features(scales**2, cls._scales(d)) / (d // cls._scales(d))
        return cls(jnp.broadcast_to(-jnp.log(variance) / 2, (k, len(variance))))

    def entries(self):
        diagonal = self.log_diagonal.reshape(-1, 1)
        return diagonal, np.zeros((len(diagonal), 0), diagonal.dtype)

    def with_entries(self, diagonal, lower):
        return type(self)(diagonal.reshape(self.log_diagonal.shape))

    def spread_from_gradient(self, gradient, mass, d):
        return (d // self._scales(d)) * mass[:, None] - gradient.log_diagonal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spherical(Diagonal):
    """One variance for each component.

    The leaf is that of `Diagonal`, with shape (k, 1).
    """

    spherical: ClassVar[bool] = True

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
