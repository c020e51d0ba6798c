"""Covariances with principal axes: EVE and VVE share them, EEV and VEV do not.

Σ_k = D_k diag(w_k)⁻² D_kᵀ with scales w as in `Scales`. The M-step alternates between the scales,
which have a closed form, and sweeps of plane rotations, until both stand still. Neither ever lowers
the objective, and the axes keep their order. A sweep rotates every pair of axes by the best angle
of that pair (as the algorithm of Flury & Gautschi 1986, SIAM J. Sci. Stat. Comput. 7, does).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics import lapack
from ..numerics.host_factors import lower_factor
from ..numerics.logarithms import exponential_excess
from ..numerics.products import matmul
from ..numerics.rotations import cayley, cayley_inverse, compose, orthonormal, sweep
from ..numerics.triangular import transpose
from .dense_layout import Dense
from .lettered_family import Lettered, member
from .scales import Scales, likeliest_scales, split

# Sweeps in an M-step end when they gain nothing but rounding. A component's own axes converge
# quadratically, in 3 or 4 sweeps near the end of a fit; common axes linearly, by about a digit of
# the gain a sweep, so those of data that have none stop earlier, at a better point all the same.
MOST_SWEEPS, MOST_SWEEPS_OF_STARTS = 30, 300
# The information of a rotation is at least this fraction of the mass, because it is 0 where two
# scales are equal.
LEAST_INFORMATION = 1e-2


class Turned(NamedTuple):
    """A local: scales to be added, and the rotation V of the axes as V − I (1|k, d, d)."""

    volume: jax.Array
    shape: jax.Array
    change: jax.Array

    @property
    def scales(self) -> Scales:
        """The scales to be added, as `Scales`."""
        return Scales(self.volume, self.shape)


def change_of_factors(present: Scales, local: Turned, d: int) -> tuple[jax.Array, jax.Array]:
    """Return what `Family.change` does, for a member with these scales along its axes."""
    # T = diag(w') Vᵀ diag(w)⁻¹ for scales w, w'. The determinant of V is 1, even where its
    # columns have changed their signs.
    logarithm, scale = local.scales.logarithms(d), jnp.exp(present.logarithms(d))
    ratio = (scale * jnp.exp(logarithm))[:, :, None] / scale[:, None, :]
    unit = jnp.eye(d, dtype=scale.dtype)[None]
    change = ratio * transpose(local.change) + jnp.expm1(logarithm)[:, :, None] * unit
    along = jnp.diagonal(local.change, axis1=1, axis2=2) * jnp.exp(logarithm)
    return change, -jnp.sum(exponential_excess(logarithm) + along, axis=-1)


class Coordinates(NamedTuple):
    """The coordinates of a local, with those of V, (1|k, d(d−1)/2), in place of V − I."""

    volume: jax.Array
    shape: jax.Array
    turn: jax.Array


@member
class Rotated(Lettered):
    """A volume, a shape and principal axes for each component, some of them common.

    `volume` and `shape` are those of `Scales`. `axes` (1|k, d, d) is any invertible matrix: the
    axes are what Gram–Schmidt makes of its columns.
    """

    volume: jax.Array
    shape: jax.Array
    axes: jax.Array

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(*cls.unit_scales(k, d, dtype), cls._unit_axes(k, d, dtype))

    @classmethod
    def _unit_axes(cls, k: int, d: int, dtype: Any) -> jax.Array:
        return jnp.broadcast_to(jnp.eye(d, dtype=dtype), (k if cls.own_orientation else 1, d, d))

    def frame(self, d):
        logarithm, axes = self.scales.logarithms(d), orthonormal(self.axes)
        factor = jnp.exp(logarithm)[:, :, None] * transpose(axes)
        inverse = axes * jnp.exp(-logarithm)[:, None, :]
        c = len(factor)
        total = jnp.broadcast_to(jnp.sum(logarithm, axis=-1), (c,))
        return Dense(factor, inverse, total)

    @classmethod
    def n_parameters(cls, k, d):
        return cls.n_scales(k, d) + (k if cls.own_orientation else 1) * (d * (d - 1) // 2)

    # ---- the M-step ---------------------------------------------------------------------------

    def maximize(self, moments, mass, d):
        still = jnp.zeros((len(self.axes), d, d), moments.dtype)
        turning = _Turning(self._unscaled(moments, d), still)
        local = self._climb(turning, mass, d, MOST_SWEEPS)
        return local, self.gain(local, moments, mass, d)

    def likeliest(self, moments, mass, d):
        # Rotations start at the principal axes of each component, or of all rows together.
        unscaled = self._unscaled(moments, d)
        unit = jnp.eye(d, dtype=moments.dtype)[None]
        counted = jnp.where(mass[:, None, None] > 0, unscaled, unit)
        if not self.own_orientation:
            counted = jnp.sum(counted, axis=0, keepdims=True)
        finite = jnp.all(jnp.isfinite(counted), axis=(1, 2), keepdims=True)
        counted = jax.lax.stop_gradient(jnp.where(finite, counted, unit))
        axes = lapack.eigh(counted)[1][..., ::-1]
        turning = _Turning(_turned(unscaled, axes), axes - unit)
        return self._climb(turning, mass, d, MOST_SWEEPS_OF_STARTS)

    def _unscaled(self, moments: jax.Array, d: int) -> jax.Array:
        """Return moments (k, d, d) in residual units in the units of the data, about the axes."""
        scale = jnp.exp(self.scales.logarithms(d))
        return moments / (scale[:, :, None] * scale[:, None, :])

    def _climb(self, turning: _Turning, mass: jax.Array, d: int, most: int) -> Turned:
        """Return the local after alternating between scales and at most `most` sweeps."""
        used, scale = mass > 0, jnp.exp(self.scales.logarithms(d))
        eps = jnp.finfo(turning.moments.dtype).eps
        floor = (16 * eps) ** 2 * jnp.sum(mass)
        moments = jnp.where(used[:, None, None], turning.moments, 0)

        def unfinished(state: tuple[Any, ...]) -> jax.Array:
            number, _, _, gain = state
            return (number < most) & (gain > floor)

        def improve(state: tuple[Any, ...]) -> tuple[Any, ...]:
            number, turning, _, _ = state
            variances = scale**2 * jnp.diagonal(turning.moments, axis1=1, axis2=2)
            scales = likeliest_scales(variances, mass, self.own_volume, self.own_shape)
            precision = (scale * jnp.exp(scales.logarithms(d))) ** 2
            precision = jnp.where(used[:, None], precision, 1)
            moments, change, gain = sweep(turning.moments, precision, turning.change)
            return number + 1, _Turning(moments, change), scales, jnp.sum(gain)

        infinite = jnp.full((), jnp.inf, moments.dtype)
        still = Scales(jnp.zeros_like(self.volume), jnp.zeros_like(self.shape))
        begin = (jnp.int32(0), _Turning(moments, turning.change), still, infinite)
        _, turning, scales, _ = jax.lax.while_loop(unfinished, improve, begin)
        return Turned(*scales, turning.change)

    # ---- locals -------------------------------------------------------------------------------

    def moved(self, local):
        axes = orthonormal(self.axes)
        axes = axes + matmul(axes, local.change)
        return type(self)(local.volume + self.volume, local.shape + self.shape, axes)

    def between(self, other):
        turned = matmul(transpose(orthonormal(self.axes)), orthonormal(other.axes))
        change = turned - jnp.eye(turned.shape[-1], dtype=turned.dtype)[None]
        return Turned(other.volume - self.volume, other.shape - self.shape, change)

    def combine(self, first, second):
        change = compose(first.change, second.change)
        return Turned(first.volume + second.volume, first.shape + second.shape, change)

    def zero_local(self):
        return Turned(*jax.tree.map(jnp.zeros_like, (self.volume, self.shape, self.axes)))

    def coordinates(self, local):
        return Coordinates(local.volume, local.shape, cayley_inverse(local.change))

    def local_at(self, coordinates):
        change = cayley(coordinates.turn, self.axes.shape[-1])
        return Turned(coordinates.volume, coordinates.shape, change)

    def change(self, local, d):
        return change_of_factors(self.scales, local, d)

    def metric(self, mass, d):
        logarithm = jnp.broadcast_to(self.scales.logarithms(d), (len(mass), d))
        rows, columns = np.tril_indices(d, -1)
        apart = logarithm[:, rows] - logarithm[:, columns]
        counted = jnp.where(mass > 0, mass, 1) if self.own_orientation else mass
        information = counted[:, None] * ((2 * jnp.sinh(apart)) ** 2 + LEAST_INFORMATION)
        if not self.own_orientation:
            information = jnp.sum(information, axis=0, keepdims=True)
        return Coordinates(*self.metric_of_scales(mass, d), jnp.sqrt(information))

    # ---- reading and writing ------------------------------------------------------------------

    @classmethod
    def from_own(cls, covariances, xp):
        k = len(covariances)
        mixed = covariances
        if not cls.own_orientation:
            # The axes of members are those of every combination. These coefficients have no
            # pattern, so that no two of its eigenvalues are equal unless axes are arbitrary.
            size = xp.trace(covariances, axis1=1, axis2=2)
            share = (1 + np.modf(np.arange(1, k + 1) * np.sqrt(2))[0]).astype(covariances.dtype)
            mixed = (covariances * (share / size)[:, None, None]).sum(axis=0)[None]
        eigh = np.linalg.eigh if xp is np else lapack.eigh
        axes = eigh(mixed)[1][..., ::-1]
        turned = xp.swapaxes(axes, -1, -2) @ covariances @ axes if xp is np else _turned(
            covariances, axes
        )  # fmt: skip
        variances = xp.diagonal(turned, axis1=-2, axis2=-1)
        return cls(*split(-xp.log(variances) / 2, cls.own_volume, cls.own_shape), axes)

    @classmethod
    def of_scales(cls, scales, k):
        return cls(*cls.even(scales, k), cls._unit_axes(k, len(scales), scales.dtype))

    @classmethod
    def of_axes(cls, log_scales, axes, first):
        scales = cls.scales_of_batch(log_scales, first)
        return cls(*scales, axes if cls.own_orientation else first(axes))

    def factor_on_host(self, d):
        axes = np.asarray(self.axes, np.float64)
        orthogonal = axes @ np.linalg.inv(lower_factor(axes))
        scale = np.exp(self.scales_on_host(d))
        return lower_factor(scale[:, :, None] * np.swapaxes(orthogonal, 1, 2))


class _Turning(NamedTuple):
    """The moments (k, d, d) about turned axes, and the rotation less I (1|k, d, d)."""

    moments: jax.Array
    change: jax.Array


def _turned(matrices: jax.Array, axes: jax.Array) -> jax.Array:
    """Return VᵀSV."""
    return matmul(matmul(transpose(axes), matrices), axes)


@member
class EVE(Rotated):
    """A common volume, own shapes, common axes."""


@member
class VVE(Rotated):
    """Own volumes, own shapes, common axes."""


@member
class EEV(Rotated):
    """A common volume, a common shape, own axes."""


@member
class VEV(Rotated):
    """Own volumes, a common shape, own axes."""
