"""Diagonal and spherical covariances, each component's own or common to all of them.

There is a variance for each feature, or one for all of them. The families that mclust calls VVI,
VII, EEI and EII are in this module.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.pytrees import pytree
from ..numerics.logarithms import logarithm_and_excess
from .diagonal_layout import DiagonalLayout, sum_features
from .has_whitening_factor import HasWhiteningFactor
from .uncorrelated_family import Uncorrelated


@pytree
@dataclasses.dataclass(frozen=True)
class Diagonal(Uncorrelated, HasWhiteningFactor):
    """A variance for each component and feature.

    `log_diagonal` (k, d) contains the logarithms of the inverse standard deviations, which are the
    diagonal of W. A local has the same form, and is added to them.
    """

    log_diagonal: jax.Array
    letters: ClassVar[str] = "VVI"
    spherical: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    log_leaf: ClassVar[str] = "log_diagonal"

    @classmethod
    def _scales(cls, d: int) -> int:
        """Return the number of scales of a component."""
        return 1 if cls.spherical else d

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(jnp.zeros((1 if cls.shared else k, cls._scales(d)), dtype))

    def frame(self, d):
        return DiagonalLayout(self.log_diagonal, d, self.shared)

    @classmethod
    def n_parameters(cls, k, d):
        return (1 if cls.shared else k) * cls._scales(d)

    def maximize(self, moments, mass, d):
        features = d // self._scales(d)  # the number of features of each scale
        mass = jnp.where(mass > 0, mass, 1)
        logarithm, excess = logarithm_and_excess(moments, features * mass[:, None])
        return type(self)(-logarithm / 2), features * jnp.sum(excess, axis=-1)

    def moved(self, local):
        return type(self)(local.log_diagonal + self.log_diagonal)

    def between(self, other):
        return type(self)(other.log_diagonal - self.log_diagonal)

    def combine(self, first, second):
        return first.moved(second)

    def gradient(self, moments, mass, d):
        return type(self)((d // self._scales(d)) * mass[:, None] - moments)

    def metric(self, mass, d):
        mass = jnp.where(mass > 0, mass, 1)
        root = jnp.sqrt(2 * (d // self._scales(d)) * mass)[:, None]
        return type(self)(jnp.broadcast_to(root, self.log_diagonal.shape))

    @classmethod
    def from_own(cls, covariances, xp):
        return cls(-xp.log(covariances) / 2)

    @classmethod
    def of_scales(cls, scales, k):
        d = len(scales)
        variance = sum_features(scales**2, cls._scales(d)) / (d // cls._scales(d))
        c = 1 if cls.shared else k
        return cls(jnp.broadcast_to(-jnp.log(variance) / 2, (c, len(variance))))

    @classmethod
    def of_axes(cls, log_scales, axes, first):
        scales = log_scales.mean(axis=-1, keepdims=True) if cls.spherical else log_scales
        return cls(first(scales) if cls.shared else scales)

    def factor_on_host(self, d):
        scale = np.exp(np.asarray(self.log_diagonal, np.float64))
        return np.broadcast_to(scale, (len(scale), d))

    def entries(self):
        diagonal = self.log_diagonal.reshape(-1, 1)
        return diagonal, np.zeros((len(diagonal), 0), diagonal.dtype)

    def with_entries(self, diagonal, lower):
        return type(self)(diagonal.reshape(self.log_diagonal.shape))

    def spread_from_gradient(self, gradient, mass, d):
        return (d // self._scales(d)) * mass[:, None] - gradient.log_diagonal


@pytree
@dataclasses.dataclass(frozen=True)
class Spherical(Diagonal):
    """One variance for each component.

    The leaf is that of `Diagonal`, with shape (k, 1).
    """

    letters: ClassVar[str] = "VII"
    spherical: ClassVar[bool] = True

    @classmethod
    def array_shape(cls, k, d):
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


@pytree
@dataclasses.dataclass(frozen=True)
class EEI(Diagonal):
    """A variance for each feature, which all components share.

    The leaf is that of `Diagonal` with k = 1.
    """

    letters: ClassVar[str] = "EEI"
    shared: ClassVar[bool] = True

    @classmethod
    def array_shape(cls, k, d):
        return (d,)

    @classmethod
    def own(cls, covariances):
        return covariances[0].diagonal()

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return xp.broadcast_to(xp.diag(covariances), (k, d, d))

    @classmethod
    def from_own(cls, covariances, xp):
        return super().from_own(covariances[None], xp)


@pytree
@dataclasses.dataclass(frozen=True)
class EII(Diagonal):
    """One variance, for all features and components.

    The leaf is that of `Diagonal`, with shape (1, 1).
    """

    letters: ClassVar[str] = "EII"
    spherical: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    @classmethod
    def array_shape(cls, k, d):
        return ()

    @classmethod
    def own(cls, covariances):
        return covariances[0, 0, 0]

    @classmethod
    def expand(cls, covariances, k, d, xp):
        unit = xp.eye(d, dtype=covariances.dtype)
        return xp.broadcast_to(covariances * unit, (k, d, d))

    @classmethod
    def from_own(cls, covariances, xp):
        return super().from_own(covariances.reshape(1, 1), xp)
