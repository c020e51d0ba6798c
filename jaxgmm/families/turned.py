"""Locals of families with principal axes: scales, and a rotation of the axes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..numerics.logarithms import exponential_excess
from ..numerics.triangular import transpose
from ..numerics.unit_matrix import unit_matrix
from .scales import Scales


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
    unit = unit_matrix(d, scale.dtype)[None]
    change = ratio * transpose(local.change) + jnp.expm1(logarithm)[:, :, None] * unit
    along = jnp.diagonal(local.change, axis1=1, axis2=2) * jnp.exp(logarithm)
    return change, -jnp.sum(exponential_excess(logarithm) + along, axis=-1)


class Coordinates(NamedTuple):
    """The coordinates of a local, with those of V, (1|k, d(d−1)/2), in place of V − I."""

    volume: jax.Array
    shape: jax.Array
    turn: jax.Array
