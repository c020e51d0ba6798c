"""Rotations of the axes of `Universal`, and the code of its families, for all lanes together.

In this file, arrays have the axes (d, d, k, lanes) or (1|d, 1|k, lanes), and the numbers of a
`Code` are (1, 1, lanes).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..internal.one_cpu_function import as_one_cpu_function
from ..numerics.rotations import rounds
from ..numerics.short_axis_sums import fold
from ..numerics.unit_matrix import unit_matrix


class Code(NamedTuple):
    """What the three letters of a family say, as 0 or 1.

    Attributes:
      own_volume: whether each component has its own volume, or all have the same.
      own_shape: whether each component has its own shape.
      round: whether every shape is that of the unit matrix.
      own_axes: whether each component has its own axes.
      common_axes: whether all components have the same axes. Otherwise, without own axes, the
        features are the axes.
      to_the_end: whether an M-step repeats scales and rotations until they stand still, as that of
        a start does.
    """

    own_volume: Any
    own_shape: Any
    round: Any
    own_axes: Any
    common_axes: Any
    to_the_end: Any = 0

    @property
    def all_common(self) -> Any:
        """Whether all components have the same covariance."""
        return (self.own_volume + self.own_shape + self.own_axes) == 0

    @property
    def turns(self) -> Any:
        """Whether an M-step turns axes."""
        return self.own_axes + self.common_axes

    @property
    def coupled(self) -> Any:
        """Whether components have different covariances that share something."""
        all_own = self.own_shape * (1 - self.common_axes) + self.round
        return ~self.all_common & (self.own_volume * all_own == 0)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the matrix products a b of stacks (d, d, k, lanes)."""
    column = functools.partial(jax.lax.slice_in_dim, a, axis=1)
    row = functools.partial(jax.lax.slice_in_dim, b, axis=0)
    terms = (column(j, j + 1) * row(j, j + 1) for j in range(a.shape[1]))
    return functools.reduce(jnp.add, terms)


def total(values: jax.Array) -> jax.Array:
    """Return the sums (1, …) of values over their leading axis, which is short.

    A CPU adds slices with vectors. A reduction would be computed together with what it sums, one
    number at a time.
    """
    rows = (jax.lax.slice_in_dim(values, j, j + 1) for j in range(len(values)))
    return functools.reduce(jnp.add, rows)


def largest_of(values: jax.Array) -> jax.Array:
    """Return the largest absolute value (lanes,) of values (d, k, lanes)."""
    return fold(jnp.maximum, fold(jnp.maximum, jnp.abs(values), axis=0), axis=1)[0, 0]


def unit(like: jax.Array) -> jax.Array:
    """Return the unit matrix as (d, d, 1, 1), for matrices (d, d, k, lanes) like these."""
    return unit_matrix(len(like), like.dtype)[:, :, None, None]


def diagonal(matrices: jax.Array) -> jax.Array:
    """Return the diagonals (d, k, lanes) of matrices (d, d, k, lanes)."""
    d = len(matrices)
    return matrices.reshape(d * d, *matrices.shape[2:])[:: d + 1]


def move_axes(axes: jax.Array, change: jax.Array) -> jax.Array:
    """Return D V − D.

    A step of Newton and Schulz removes the rounding errors from orthonormal axes.
    """
    move = product(axes, change)
    turned = axes + move
    excess = product(jnp.swapaxes(turned, 0, 1), turned) - unit(axes)
    return move - product(turned, excess) / 2


def sweep(
    moments: jax.Array, precision: jax.Array, change: jax.Array, words: Code, n_rotations: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rotate every pair of axes once by its best angle, as `rotations.sweep` does.

    `n_rotations` is how many rotations of disjoint pairs are made: all or none. Angles are those of
    each component, of all components together, or 0, as the code says. Returns the moments, the
    rotation as V − I, and the largest sine (lanes,) of an angle.
    """
    d, largest = len(precision), jnp.zeros_like(moments[0, 0, 0])
    if d == 1:
        return moments, change, largest
    partners, sides = (jnp.asarray(table) for table in rounds(d))
    identity = unit(moments)

    def rotate(number: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        moments, change, largest = state
        partner = partners[number]
        side = sides[number].astype(moments.dtype)[:, None, None]

        x, y = _coefficients(moments, precision, partner, side)
        x, y = (
            jnp.where(words.own_axes > 0, own, words.common_axes * together)
            for own, together in zip((x, y), _sums(x, y), strict=True)
        )
        cosine_less_one, sine = _half_angle(x, y)
        largest = jnp.maximum(largest, largest_of(sine))
        sine = sine * side

        def turned(matrices: jax.Array, axis: int) -> jax.Array:
            """Return what the rotation adds to the rows or columns of matrices."""
            along = lambda values: jnp.expand_dims(values, 1 - axis)
            return along(cosine_less_one) * matrices + along(sine) * _take(matrices, partner, axis)

        moments = moments + turned(moments, 0)
        moments = moments + turned(moments, 1)
        return moments, change + turned(change + identity, 1), largest

    return jax.lax.fori_loop(0, n_rotations, rotate, (moments, change, largest))


def _take(values: jax.Array, partner: jax.Array, axis: int = 0) -> jax.Array:
    """Return each axis's partner in place of the axis."""
    return jnp.take(values, partner, axis=axis, mode="clip")


# Functions of their own, since XLA would compute the coefficients again in each term of their sums,
# and the sums again for each component.


@as_one_cpu_function
def _coefficients(
    moments: jax.Array, precision: jax.Array, partner: jax.Array, side: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the x and y (d, k, lanes) of `_half_angle`, of each component."""
    d, squares = len(precision), diagonal(moments)
    entries = moments.reshape(d * d, *moments.shape[2:])
    beside = jnp.take(entries, d * jnp.arange(d) + partner, axis=0, mode="clip")
    contrast = precision - _take(precision, partner)
    return contrast * (squares - _take(squares, partner)) / 2, contrast * beside * side


@as_one_cpu_function
def _sums(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the sums (d, 1, lanes) of x and of y over the components."""
    return fold(jnp.add, x, axis=1), fold(jnp.add, y, axis=1)


def _half_angle(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return cos θ − 1 and sin θ for the θ that minimizes x cos 2θ + y sin 2θ, |θ| ≤ π/2.

    Square roots take less time than angles, and lose no digits of small ones.
    """
    length = jnp.sqrt(x**2 + y**2)
    turns = length > 0
    length = jnp.where(turns, length, 1)
    cosine, sine = jnp.where(turns, -x / length, 1), jnp.where(turns, -y / length, 0)
    acute = cosine >= 0
    large = jnp.sqrt((1 + jnp.abs(cosine)) / 2)
    small = jnp.abs(sine) / (2 * large)
    sign = jnp.where(sine < 0, -1, 1)
    half_cosine = jnp.where(acute, large, small)
    half_sine = sign * jnp.where(acute, small, large)
    return -(half_sine**2) / (1 + half_cosine), half_sine
