"""Covariances with principal axes: EVE and VVE share them, EEV and VEV do not.

Σ_k = D_k diag(w_k)⁻² D_kᵀ with scales w as in `Scales`. The M-step alternates between the scales,
which have a closed form, and sweeps of plane rotations, which never lower the objective and keep
the axes in their order. Each sweep rotates every pair of axes by the best angle of that pair.
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
from .lettered import Lettered, member
from .scales import Scales, likeliest_scales, split

# Axes of a component's own are found to rounding. Common axes converge slowly, and EM gains nothing
# from sweeps that gain less than this fraction of the first.
MOST_SWEEPS = 30
WORTHWHILE, MOST_COMMON_SWEEPS = 0.01, 8
MOST_SWEEPS_TO_CONVERGENCE = 300
# The information of a rotation is at least this fraction of the mass, because it is 0 where two
# scales are equal.
LEAST_INFORMATION = 1e-2


class Turned(NamedTuple):
    """A local: scales to be added, and the axes' rotation by coordinates (1|k, d(d−1)/2)."""

    volume: jax.Array
    shape: jax.Array
    turn: jax.Array

    @property
    def scales(self) -> Scales:
        """The scales to be added, as `Scales`."""
        return Scales(self.volume, self.shape)


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
        scale = jnp.exp(self.scales.logarithms(d))
        raw = moments / (scale[:, :, None] * scale[:, None, :])
        c = len(self.axes)
        still = jnp.zeros((c, d, d), moments.dtype)
        most, worthwhile = (MOST_SWEEPS, 0.0) if self.own_orientation else (
            MOST_COMMON_SWEEPS, WORTHWHILE
        )  # fmt: skip
        local = self._climb(_Turning(raw, still), scale, mass, d, most, worthwhile)
        return local, self.gain(local, moments, mass, d)

    def likeliest(self, moments, mass, d):
        # Rotations start at the principal axes of each component, or of all rows together.
        scale = jnp.exp(self.scales.logarithms(d))
        raw = moments / (scale[:, :, None] * scale[:, None, :])
        counted = jnp.where(mass[:, None, None] > 0, raw, jnp.eye(d, dtype=raw.dtype)[None])
        if not self.own_orientation:
            counted = jnp.sum(counted, axis=0, keepdims=True)
        finite = jnp.all(jnp.isfinite(counted), axis=(1, 2), keepdims=True)
        counted = jnp.where(finite, counted, jnp.eye(d, dtype=raw.dtype)[None])
        change = (
            lapack.eigh(jax.lax.stop_gradient(counted))[1][..., ::-1]
            - jnp.eye(d, dtype=raw.dtype)[None]
        )
        seen = _seen(raw, change)
        return self._climb(_Turning(seen, change), scale, mass, d, MOST_SWEEPS_TO_CONVERGENCE, 0.0)

    def _climb(
        self,
        turning: _Turning,
        scale: jax.Array,
        mass: jax.Array,
        d: int,
        most: int,
        worthwhile: float,
    ) -> Turned:
        """Return the local after alternating between scales and sweeps of rotations.

        Args:
          turning: where rotations start.
          scale: w (1|k, d), the present scales.
          mass: N (k,).
          d: the number of features.
          most: the largest number of sweeps.
          worthwhile: the fraction of the first sweep's gain below which a sweep is the last.
        """
        used = mass > 0
        eps = jnp.finfo(turning.moments.dtype).eps
        floor = (16 * eps) ** 2 * jnp.sum(mass)
        moments = jnp.where(used[:, None, None], turning.moments, 0)

        def fit(moments: jax.Array) -> Scales:
            relative = scale**2 * jnp.diagonal(moments, axis1=1, axis2=2)
            return likeliest_scales(relative, mass, self.own_volume, self.own_shape)

        def unfinished(state: tuple[Any, ...]) -> jax.Array:
            number, _, _, first, last = state
            return (number < most) & (last > floor) & (last > worthwhile * first)

        def improve(state: tuple[Any, ...]) -> tuple[Any, ...]:
            number, turning, scales, first, _ = state
            precision = (scale * jnp.exp(scales.logarithms(d))) ** 2
            precision = jnp.where(used[:, None], precision, 1)
            moments, change, fall = sweep(turning.moments, precision, turning.change)
            gain = jnp.sum(fall)
            first = jnp.where(number == 0, gain, first)
            return number + 1, _Turning(moments, change), fit(moments), first, gain

        infinite = jnp.full((), jnp.inf, moments.dtype)
        begin = (
            jnp.int32(0),
            _Turning(moments, turning.change),
            fit(moments),
            jnp.zeros_like(infinite),
            infinite,
        )
        state = jax.lax.while_loop(unfinished, improve, begin)
        return Turned(*state[2], cayley_inverse(state[1].change))

    # ---- locals -------------------------------------------------------------------------------

    def moved(self, local):
        d = self.axes.shape[-1]
        axes = orthonormal(self.axes)
        axes = axes + matmul(axes, cayley(local.turn, d))
        return type(self)(local.volume + self.volume, local.shape + self.shape, axes)

    def between(self, other):
        d = self.axes.shape[-1]
        turned = matmul(transpose(orthonormal(self.axes)), orthonormal(other.axes))
        turn = cayley_inverse(turned - jnp.eye(d, dtype=turned.dtype)[None])
        return Turned(other.volume - self.volume, other.shape - self.shape, turn)

    def combine(self, first, second):
        d = self.axes.shape[-1]
        turn = cayley_inverse(compose(cayley(first.turn, d), cayley(second.turn, d)))
        return Turned(first.volume + second.volume, first.shape + second.shape, turn)

    def zero_local(self):
        d = self.axes.shape[-1]
        turn = jnp.zeros((len(self.axes), d * (d - 1) // 2), self.axes.dtype)
        return Turned(jnp.zeros_like(self.volume), jnp.zeros_like(self.shape), turn)

    def change(self, local, d):
        # T = diag(w') Vᵀ diag(w)⁻¹ for scales w, w' and the rotation V.
        logarithm = local.scales.logarithms(d)
        scale = jnp.exp(self.scales.logarithms(d))
        rotation = cayley(local.turn, d)
        ratio = (scale * jnp.exp(logarithm))[:, :, None] / scale[:, None, :]
        unit = jnp.eye(d, dtype=scale.dtype)[None]
        change = ratio * transpose(rotation) + jnp.expm1(logarithm)[:, :, None] * unit
        along = jnp.diagonal(rotation, axis1=1, axis2=2) * jnp.exp(logarithm)
        return change, -jnp.sum(exponential_excess(logarithm) + along, axis=-1)

    def metric(self, mass, d):
        logarithm = jnp.broadcast_to(self.scales.logarithms(d), (len(mass), d))
        rows, columns = np.tril_indices(d, -1)
        apart = logarithm[:, rows] - logarithm[:, columns]
        counted = jnp.where(mass > 0, mass, 1) if self.own_orientation else mass
        information = counted[:, None] * ((2 * jnp.sinh(apart)) ** 2 + LEAST_INFORMATION)
        if not self.own_orientation:
            information = jnp.sum(information, axis=0, keepdims=True)
        return Turned(*self.metric_of_scales(mass, d), jnp.sqrt(information))

    # ---- reading and writing ------------------------------------------------------------------

    @classmethod
    def from_own(cls, covariances, xp):
        k, d, _ = covariances.shape
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


def _seen(moments: jax.Array, change: jax.Array) -> jax.Array:
    """Return the moments about turned axes."""
    unit = jnp.eye(change.shape[-1], dtype=change.dtype)[None]
    return _turned(moments, change + unit)


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
