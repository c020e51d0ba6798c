"""Covariances along the features whose volumes, or whose shapes, are common: VEI and EVI."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.logarithms import exponential_excess
from .diagonal_layout import DiagonalLayout
from .lettered_family import Lettered, member
from .scales import likeliest_scales, split
from .uncorrelated_family import Uncorrelated


@dataclasses.dataclass(frozen=True)
class Axes(Uncorrelated, Lettered):
    """Variances of the features: a volume and a shape, of which one is common.

    `volume` and `shape` are those of `Scales`. A local has the same form, and is added to them.
    """

    volume: jax.Array
    shape: jax.Array

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(*cls.unit_scales(k, d, dtype))

    def frame(self, d):
        return DiagonalLayout(self.scales.logarithms(d), d)

    @classmethod
    def n_parameters(cls, k, d):
        return cls.n_scales(k, d)

    def maximize(self, moments, mass, d):
        local = type(self)(*likeliest_scales(moments, mass, self.own_volume, self.own_shape))
        return local, self.gain(local, moments, mass, d)

    def change(self, local, d):
        logarithm = local.scales.logarithms(d)
        return jnp.expm1(logarithm), -jnp.sum(exponential_excess(logarithm), axis=-1)

    def metric(self, mass, d):
        return type(self)(*self.metric_of_scales(mass, d))

    @classmethod
    def from_own(cls, covariances, xp):
        return cls(*split(-xp.log(covariances) / 2, cls.own_volume, cls.own_shape))

    @classmethod
    def of_scales(cls, scales, k):
        return cls(*cls.even(scales, k))

    @classmethod
    def of_axes(cls, log_scales, axes, first):
        return cls(*cls.scales_of_batch(log_scales, first))

    def factor_on_host(self, d):
        return np.exp(self.scales_on_host(d))


@member
class VEI(Axes):
    """Own volumes, a common shape, along the features."""


@member
class EVI(Axes):
    """A common volume, own shapes, along the features."""
