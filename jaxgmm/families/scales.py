"""Scales with a common or own volume, and a common or own shape.

A covariance is λ D A Dᵀ: a volume λ, a shape A (diagonal, with determinant 1), and an orientation
D. The scales w = (λ A)^(−½) along the axes are linear in two free leaves,

    log w = volume + shape Hᵀ

where `volume` is (1|k, 1), `shape` is (1|k, d−1), and H (d, d−1) are orthonormal contrasts. A leaf
has a leading axis of 1 if the components share it. A product of members' scales is a member again,
so the M-step can work with *relative variances* e, those of the new member in units of the present
one, and has the same form at every member.

The M-step maximizes −Σ_k [N_k Σ_j log e_kj + Σ_j s_kj / e_kj], from the diagonals s of the moments
and the masses N (Celeux & Govaert 1995, Pattern Recognition 28, sec. 3).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..numerics.fixed_points import fixed_point
from ..numerics.logarithms import logarithm_and_excess
from ..numerics.products import matmul


class Scales(NamedTuple):
    """The leaves `volume` (1|k, 1) and `shape` (1|k, d−1) of a member, or of a local."""

    volume: jax.Array
    shape: jax.Array

    def logarithms(self, d: int) -> jax.Array:
        """Return log w as (1|k, d)."""
        return self.volume + matmul(self.shape, contrasts(d, self.shape.dtype).T)


@functools.cache
def contrasts(d: int, dtype: DTypeLike) -> np.ndarray:
    """Return Helmert's orthonormal contrasts H (d, d−1), whose columns sum to 0."""
    matrix = np.zeros((d, d - 1))
    for j in range(1, d):
        matrix[:j, j - 1] = 1 / np.sqrt(j * (j + 1))
        matrix[j, j - 1] = -j / np.sqrt(j * (j + 1))
    return matrix.astype(dtype)


def split(log_scales: jax.Array, own_volume: bool, own_shape: bool) -> Scales:
    """Return the leaves of scales (k, d), which must be a member's.

    Rows that should be equal are averaged. The arrays may be those of NumPy.
    """
    h = contrasts(log_scales.shape[-1], log_scales.dtype)
    volume = log_scales.mean(axis=1, keepdims=True)
    shape = log_scales @ h if isinstance(log_scales, np.ndarray) else matmul(log_scales, h)
    common = lambda leaf, own: leaf if own else leaf.mean(axis=0, keepdims=True)
    return Scales(common(volume, own_volume), common(shape, own_shape))


def likeliest_scales(
    moments: jax.Array, mass: jax.Array, own_volume: bool, own_shape: bool
) -> Scales:
    """Return the local scales that the M-step moves to.

    Args:
      moments: s (k, d), the diagonals of the second moments in the present units.
      mass: N (k,); components of mass 0 do not count, and their own leaves are arbitrary.
      own_volume: whether each component has a volume of its own.
      own_shape: whether each component has a shape of its own.
    """
    used = mass[:, None] > 0
    count = jnp.where(used, mass[:, None], 1)
    moments = jnp.where(used, moments, count)
    share = jnp.where(used, mass[:, None] / jnp.sum(mass), 0)
    if own_volume and not own_shape:
        return _with_common_shape(moments / count, share)
    if not own_shape:  # volume and shape are common: one row of variances
        pooled = jnp.sum(share * (moments / count), axis=0, keepdims=True)
        return split(-logarithm_and_excess(pooled)[0] / 2, False, False)
    logarithm = logarithm_and_excess(moments, count)[0]
    own = split(-logarithm / 2, True, True)
    if own_volume:
        return own
    # The common volume is the mean of the own ones, Σ_k N_k |e_k|^(1/d) / n.
    excess = jnp.sum(share * jnp.expm1(-2 * own.volume), axis=0, keepdims=True)
    return Scales(-jnp.log1p(excess) / 2, own.shape)


def _with_common_shape(variances: jax.Array, share: jax.Array) -> Scales:
    """Return the local for e_kj = v_k b_j, whose factors are found in turn.

    Args:
      variances: s_kj / N_k (k, d).
      share: N_k / n (k, 1).
    """
    volume = fixed_point(
        _next_volume, jnp.mean(variances, axis=1, keepdims=True), (variances, share)
    )
    shape = _shape_for(volume, variances, share)
    volume_log, shape_log = (logarithm_and_excess(part)[0] for part in (volume, shape))
    center = jnp.mean(shape_log, axis=1, keepdims=True)
    return Scales(-(volume_log + center) / 2, split(-shape_log / 2, False, False).shape)


def _shape_for(volume: jax.Array, variances: jax.Array, share: jax.Array) -> jax.Array:
    """Return the likeliest b (1, d) for volumes v (k, 1)."""
    return jnp.sum(share * variances / volume, axis=0, keepdims=True)


def _next_volume(volume: jax.Array, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    return jnp.mean(data[0] / _shape_for(volume, *data), axis=1, keepdims=True)


def of_leaf(mass: jax.Array, leaf: jax.Array) -> jax.Array:
    """Return the mass (c,) of each covariance, or their sum (1,) if they share the leaf.

    0 is replaced by 1, so that results for covariances without rows are finite.
    """
    total = mass if len(leaf) == len(mass) else jnp.sum(mass, keepdims=True)
    return jnp.where(total > 0, total, 1)
