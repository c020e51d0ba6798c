"""Newton's steps for axes that all components share, in the M-steps of EVE and VVE.

The axes of the likeliest member minimize ½ Σ_k Σ_j a_kj (VᵀS_kV)_jj over rotations V, where the
precisions a are themselves those that are likeliest for VᵀSV. Sweeps of plane rotations at given
precisions converge linearly, with a rate that can be near 1 where components disagree about the
axes. Newton's steps converge quadratically, and their equations have one unknown for each pair of
axes (Flury 1984, J. Am. Stat. Assoc. 79, gives the criterion and its stationary equations).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.conjugate_gradients import conjugate_gradients
from ..numerics.products import matmul
from ..numerics.triangular import transpose

# Newton's steps are made where plane rotations would gain less than this, per unit of mass, and
# only if none of their angles is larger than this number of radians.
NEAR, LARGEST_ANGLE = 1e-2, 0.3
# If the equations need more products than this, a sweep is made instead.
MOST_PRODUCTS = 100


class NewtonStep(NamedTuple):
    """A step of Newton's method from the present axes.

    Attributes:
      turn: Ω (1, d, d), skew, of the rotation; NaN where the step should not be made.
      gain: () the amount by which it lowers the loss if that is a quadratic function.
    """

    turn: jax.Array
    gain: jax.Array

    @property
    def usable(self) -> jax.Array:
        """Whether the axes are near those of the minimum, the loss is convex, the step short."""
        return jnp.max(jnp.abs(self.turn)) <= LARGEST_ANGLE  # false for NaN


def newton_step(moments: jax.Array, precision: jax.Array, own_volume: bool) -> NewtonStep:
    """Return the step of Newton's method.

    Args:
      moments: S (k, d, d) about the present axes.
      precision: a (k, d), the likeliest precisions for these moments.
      own_volume: whether each component has a volume of its own.
    """
    variances = jnp.diagonal(moments, axis1=1, axis2=2)
    apart = lambda values: values[:, :, None] - values[:, None, :]
    # The derivatives by the angle of each pair of axes, the second ones at given precisions.
    slope = _slope(moments, precision)
    curvature = -jnp.sum(apart(precision) * apart(variances), axis=0, keepdims=True)
    root = jnp.where(curvature > 0, jax.lax.rsqrt(jnp.where(curvature > 0, curvature, 1)), 0)
    size = jnp.sum(precision * variances, axis=1, keepdims=True)
    share = size / jnp.sum(size)

    def product(turn: jax.Array) -> jax.Array:
        """Return the derivative of the slope along a rotation, both in scaled units."""
        turned = matmul(moments, root * turn)
        along = turned + transpose(turned)
        change = jnp.diagonal(along, axis1=1, axis2=2) / jnp.where(variances > 0, variances, 1)
        if not own_volume:  # each component's own shape keeps the common volume
            volume = jnp.mean(change, axis=1, keepdims=True)
            change = change - volume + jnp.sum(share * volume)
        return root * (_slope(along, precision) - _slope(moments, precision * change))

    # Each pair occurs twice in these sums. The sweep's gain is infinite where a pair is not convex.
    gain = jnp.where(slope != 0, slope**2 / jnp.maximum(curvature, 0), 0)
    near = jnp.sum(gain) < 4 * NEAR * jnp.sum(size) / moments.shape[-1]
    scaled = jnp.where(near, -root * slope, jnp.nan)
    turn = root * conjugate_gradients(product, scaled, most=MOST_PRODUCTS)
    return NewtonStep(turn, -jnp.sum(slope * turn) / 4)


def turn_moments(moments: jax.Array, change: jax.Array) -> jax.Array:
    """Return VᵀSV from S (k, d, d) and V − I (1, d, d), accurate for V near I."""
    moments = moments + matmul(moments, change)
    return moments + matmul(transpose(change), moments)


def _slope(moments: jax.Array, precision: jax.Array) -> jax.Array:
    """Return the derivatives of the loss by the angles, as a skew matrix (1, d, d)."""
    weighted = jnp.sum(moments * precision[:, None, :], axis=0, keepdims=True)
    return weighted - transpose(weighted)
