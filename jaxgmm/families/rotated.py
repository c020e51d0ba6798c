"""Covariances with principal axes: EVE and VVE share them, EEV and VEV do not.

Σ_k = D_k diag(w_k)⁻² D_kᵀ with scales w as in `Scales`. The M-step alternates between the scales,
which have a closed form, and turns of the axes. A turn is a sweep of plane rotations, which rotates
every pair of axes by the best angle of that pair (as the algorithm of Flury & Gautschi 1986, SIAM
J. Sci. Stat. Comput. 7, does). Near their best, common axes are turned by Newton's method instead.
No turn that lowers the objective is kept, and the axes keep their order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics import lapack
from ..numerics.host_factors import lower_factor
from ..numerics.products import matmul
from ..numerics.rotations import (
    cayley,
    cayley_inverse,
    cayley_of_skew,
    compose,
    orthonormal,
    sweep,
)
from ..numerics.triangular import transpose
from ..numerics.unit_matrix import unit_matrix
from .common_axes import newton_step, turn_moments
from .dense_layout import Dense
from .lettered_family import Lettered, member
from .scales import Scales, likeliest_scales, split
from .turned import Coordinates, Turned, change_of_factors

# The turns of an M-step end when they gain nothing but rounding. Sweeps converge quadratically for
# a component's own axes, in 3 or 4 near the end of a fit. For common axes they converge linearly,
# and Newton's steps quadratically, in 2 or 3. The numbers of turns below are reached only where
# common axes stay far from any that fit, as for data of many features that have none.
MOST_TURNS, MOST_TURNS_OF_STARTS = 30, 300
# After a step of Newton's method with gain g, another one is expected to gain at most this number
# squared times g², both per unit of mass.
LOSS_OF_DIGITS = 20.0
# The information of a rotation is at least this fraction of the mass, because it is 0 where two
# scales are equal.
LEAST_INFORMATION = 1e-2


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
        return jnp.broadcast_to(unit_matrix(d, dtype), (k if cls.own_orientation else 1, d, d))

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
        local = self._climb(turning, mass, d, MOST_TURNS)
        return local, self.gain(local, moments, mass, d)

    def likeliest(self, moments, mass, d):
        # Rotations start at the principal axes of each component, or of all rows together.
        unscaled = self._unscaled(moments, d)
        unit = unit_matrix(d, moments.dtype)[None]
        counted = jnp.where(mass[:, None, None] > 0, unscaled, unit)
        if not self.own_orientation:
            counted = jnp.sum(counted, axis=0, keepdims=True)
        finite = jnp.all(jnp.isfinite(counted), axis=(1, 2), keepdims=True)
        counted = jax.lax.stop_gradient(jnp.where(finite, counted, unit))
        axes = lapack.eigh(counted)[1][..., ::-1]
        turning = _Turning(_turned(unscaled, axes), axes - unit)
        return self._climb(turning, mass, d, MOST_TURNS_OF_STARTS)

    def _unscaled(self, moments: jax.Array, d: int) -> jax.Array:
        """Return moments (k, d, d) in residual units in the units of the data, about the axes."""
        scale = jnp.exp(self.scales.logarithms(d))
        return moments / (scale[:, :, None] * scale[:, None, :])

    def _climb(self, turning: _Turning, mass: jax.Array, d: int, most: int) -> Turned:
        """Return the local after at most `most` turns of the axes, each with the best scales."""
        used, total = mass > 0, jnp.sum(mass)
        eps = jnp.finfo(turning.moments.dtype).eps
        moments = jnp.where(used[:, None, None], turning.moments, 0)

        def unfinished(state: _Climbing) -> jax.Array:
            return (state.number < most) & (state.remaining > (16 * eps) ** 2 * total)

        def improve(state: _Climbing) -> _Climbing:
            turning, remaining = self._turn(state, mass, d)
            scales = self._best_scales(turning.moments, mass, d)
            # The log-likelihood of the best scales is d Σ N_k volume_k plus a constant. A sweep
            # never lowers it. Newton's step is undone if it does, and sweeps are made instead.
            rise = jnp.sum(mass[:, None] * (scales.volume - state.scales.volume))
            worse = state.newton & (rise < -16 * eps * total)
            number = state.number + 1
            after = _Climbing(number, turning, scales, remaining, state.newton)
            before = state._replace(number=number, newton=jnp.zeros((), bool))
            return jax.lax.cond(worse, lambda: before, lambda: after)

        scales = self._best_scales(moments, mass, d)
        infinite = jnp.full((), jnp.inf, moments.dtype)
        turning = _Turning(moments, turning.change)
        newton = jnp.full((), d > 1 and not self.own_orientation)
        begin = _Climbing(jnp.int32(0), turning, scales, infinite, newton)
        end = jax.lax.while_loop(unfinished, improve, begin)
        return Turned(*end.scales, end.turning.change)

    def _best_scales(self, moments: jax.Array, mass: jax.Array, d: int) -> Scales:
        """Return the local scales that are likeliest for moments about the axes."""
        scale = jnp.exp(self.scales.logarithms(d))
        variances = scale**2 * jnp.diagonal(moments, axis1=1, axis2=2)
        return likeliest_scales(variances, mass, self.own_volume, self.own_shape)

    def _turn(self, state: _Climbing, mass: jax.Array, d: int) -> tuple[_Turning, jax.Array]:
        """Return moments about better axes, and about what further turns would gain."""
        moments, change = state.turning
        precision = jnp.exp(2 * (self.scales.logarithms(d) + state.scales.logarithms(d)))
        precision = jnp.where(mass[:, None] > 0, precision, 1)

        def by_sweep() -> tuple[_Turning, jax.Array]:
            swept, changed, gain = sweep(moments, precision, change)
            return _Turning(swept, changed), jnp.sum(gain)

        def by_newton() -> tuple[_Turning, jax.Array]:
            turn = cayley_of_skew(step.turn)
            turned = _Turning(turn_moments(moments, turn), compose(change, turn))
            return turned, (LOSS_OF_DIGITS * step.gain) ** 2 / jnp.sum(mass)

        if self.own_orientation or d == 1:
            return by_sweep()
        step = newton_step(moments, precision, self.own_volume)
        return jax.lax.cond(state.newton & step.usable, by_newton, by_sweep)

    # ---- locals -------------------------------------------------------------------------------

    def moved(self, local):
        axes = orthonormal(self.axes)
        axes = axes + matmul(axes, local.change)
        return type(self)(local.volume + self.volume, local.shape + self.shape, axes)

    def between(self, other):
        turned = matmul(transpose(orthonormal(self.axes)), orthonormal(other.axes))
        change = turned - unit_matrix(turned.shape[-1], turned.dtype)[None]
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


class _Climbing(NamedTuple):
    """The state of the M-step's loop.

    Attributes:
      number: () of turns.
      turning: the moments, and the rotation so far.
      scales: the likeliest ones for these moments.
      remaining: () about what more turns would gain.
      newton: () whether turns may be Newton's steps.
    """

    number: jax.Array
    turning: _Turning
    scales: Scales
    remaining: jax.Array
    newton: jax.Array


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
