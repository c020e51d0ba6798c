"""Covariances of which either volumes or the rest is common: VEE and EVV.

The whitening factor is W = exp(volume) U, where U is lower triangular with determinant 1. Such U
form a group, so a common U stays common when it is multiplied by another one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.fixed_points import fixed_point
from ..numerics.host_factors import assemble_on_host, factors_of_axes
from ..numerics.logarithms import exponential_excess, logarithm_and_excess
from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, parts, transpose
from ..numerics.unit_matrix import unit_matrix
from .full import Full
from .lettered_family import Lettered, member
from .scales import Scales, of_leaf, split
from .triangular_layout import TriangularLayout


@member
class Triangular(Lettered):
    """A volume, and a triangular factor U of determinant 1, one of them common.

    `volume` (1|k, 1) is log |W| / d, and `shape` (1|k, d−1) are the contrasts of the log-diagonal
    of U (see `Scales`). `lower` (1|k, d(d−1)/2) is the strict lower part of U, row by row. A local
    has the same form, and describes the factor T that turns W into T W.
    """

    volume: jax.Array
    shape: jax.Array
    lower: jax.Array

    @classmethod
    def identity(cls, k, d, dtype):
        volume, shape = cls.unit_scales(k, d, dtype)
        return cls(volume, shape, jnp.zeros((len(shape), d * (d - 1) // 2), dtype))

    def frame(self, d):
        return TriangularLayout(self.scales.logarithms(d), jnp.exp(self.volume) * self.lower)

    @classmethod
    def n_parameters(cls, k, d):
        factors = k if cls.own_orientation else 1
        return cls.n_scales(k, d) + factors * (d * (d - 1) // 2)

    def _unit_factor(self, d: int) -> jax.Array:
        """Return U as (1|k, d, d)."""
        logarithm = Scales(jnp.zeros_like(self.volume[:1]), self.shape).logarithms(d)
        return assemble(jnp.exp(logarithm), self.lower)

    def moved(self, local):
        d = self.shape.shape[-1] + 1
        product = matmul(local._unit_factor(d), self._unit_factor(d))
        volume, shape = local.volume + self.volume, local.shape + self.shape
        return type(self)(volume, shape, parts(product)[1])

    def between(self, other):
        d = self.shape.shape[-1] + 1
        product = matmul(other._unit_factor(d), inverse(self._unit_factor(d)))
        volume, shape = other.volume - self.volume, other.shape - self.shape
        return type(self)(volume, shape, parts(product)[1])

    def combine(self, first, second):
        return first.moved(second)

    def change(self, local, d):
        logarithm = local.scales.logarithms(d)
        change = assemble(jnp.expm1(logarithm), jnp.exp(local.volume) * local.lower)
        return change, -jnp.sum(exponential_excess(logarithm), axis=-1)

    def metric(self, mass, d):
        volume, shape = self.metric_of_scales(mass, d)
        lower = jnp.sqrt(of_leaf(mass, self.lower))[:, None]
        return type(self)(volume, shape, jnp.broadcast_to(lower, self.lower.shape))

    @classmethod
    def from_own(cls, covariances, xp):
        full = Full.from_own(covariances, xp)
        volume, _ = split(full.log_diagonal, True, True)
        lower = full.lower * xp.exp(-volume)
        if not cls.own_orientation:
            lower = lower.mean(axis=0, keepdims=True)
        return cls(*split(full.log_diagonal, cls.own_volume, cls.own_shape), lower)

    @classmethod
    def of_scales(cls, scales, k):
        unit = cls.identity(k, len(scales), scales.dtype)
        return cls(*cls.even(scales, k), unit.lower)

    @classmethod
    def of_axes(cls, log_scales, axes, first):
        log_diagonal, lower = factors_of_axes(log_scales, axes)
        lower = lower * np.exp(-log_diagonal.mean(axis=-1, keepdims=True))
        scales = cls.scales_of_batch(log_diagonal, first)
        return cls(*scales, lower if cls.own_orientation else first(lower))

    def factor_on_host(self, d):
        logarithm = self.scales_on_host(d)
        lower = np.exp(np.asarray(self.volume, np.float64)) * np.asarray(self.lower, np.float64)
        return assemble_on_host(np.exp(logarithm), lower)


@member
class VEE(Triangular):
    """Own volumes, a common shape, a common orientation."""

    def maximize(self, moments, mass, d):
        used = mass[:, None] > 0
        count = jnp.where(used, mass[:, None], 1)[..., None]
        unit = unit_matrix(d, moments.dtype)[None]
        data = (
            jnp.where(used[..., None], moments, unit * count) / count,
            jnp.where(used, mass[:, None] / jnp.sum(mass), 0),
        )
        start = jnp.trace(data[0], axis1=1, axis2=2)[:, None] / d
        variance = fixed_point(_next_volume, start, data)
        diagonal, lower = parts(_common_factor(variance, data))
        logarithm = logarithm_and_excess(diagonal)[0]
        center = jnp.mean(logarithm, axis=1, keepdims=True)
        volume = center - logarithm_and_excess(variance)[0] / 2
        shape = split(logarithm, False, False).shape
        local = type(self)(volume, shape, lower * jnp.exp(-center))
        return local, self.gain(local, moments, mass, d)


def _common_factor(variance: jax.Array, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Return T (1, d, d) of the likeliest common factor, given volumes v (k, 1)."""
    covariances, share = data
    weighted = (share / variance)[..., None] * covariances
    return cholesky_and_inverse(jnp.sum(weighted, axis=0, keepdims=True))[1]


def _next_volume(variance: jax.Array, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    factor = _common_factor(variance, data)
    precision = matmul(transpose(factor), factor)
    return jnp.sum(precision * data[0], axis=(1, 2))[:, None] / data[0].shape[-1]


@member
class EVV(Triangular):
    """A common volume, own shapes, own orientations."""

    def maximize(self, moments, mass, d):
        used = mass[:, None] > 0
        count = jnp.where(used, mass[:, None], 1)
        unit = unit_matrix(d, moments.dtype)[None]
        covariances = jnp.where(used[..., None], moments / count[..., None], unit)
        root, inverse_root = cholesky_and_inverse(covariances)
        logarithm = logarithm_and_excess(parts(root)[0])[0]
        # The common volume is the mean of the own ones.
        own = jnp.mean(logarithm, axis=1, keepdims=True)
        share = jnp.where(used, mass[:, None] / jnp.sum(mass), 0)
        excess = jnp.sum(share * jnp.expm1(2 * own), axis=0, keepdims=True)
        local = type(self)(
            -jnp.log1p(excess) / 2,
            split(-logarithm, False, True).shape,
            parts(inverse_root)[1] * jnp.exp(own),
        )
        return local, self.gain(local, moments, mass, d)
