"""Stacks of rotations: by skew matrices, and by plane rotations that diagonalize.

A rotation V near the identity is kept as its difference V − I, which keeps the digits of small
angles. Its coordinates are the r = d(d−1)/2 entries below the diagonal of a skew matrix Ω, with
V = (I + Ω/2)(I − Ω/2)⁻¹ (the Cayley transform).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import lapack
from .products import matmul
from .triangular import LOOPED, assemble, parts, transpose
from .unit_matrix import unit_matrix


def _unit(like: jax.Array) -> jax.Array:
    """Return the identity as (1, d, d)."""
    return unit_matrix(like.shape[-1], like.dtype)[None]


# ---- coordinates -------------------------------------------------------------------------------


def skew(turn: jax.Array, d: int) -> jax.Array:
    """Return the skew matrices (c, d, d) with these entries (c, r) below the diagonal."""
    lower = assemble(jnp.zeros((len(turn), d), turn.dtype), turn)
    return lower - transpose(lower)


def cayley(turn: jax.Array, d: int) -> jax.Array:
    """Return V − I (c, d, d) for the rotations with coordinates (c, r)."""
    return cayley_of_skew(skew(turn, d))


def cayley_of_skew(omega: jax.Array) -> jax.Array:
    """Return V − I (c, d, d) for skew matrices Ω."""
    return matmul(omega, _inverse_of_shifted(-omega / 2))


def cayley_inverse(change: jax.Array) -> jax.Array:
    """Return the coordinates (c, r) of orthogonal V, up to the signs of V's columns.

    Every orthogonal matrix is a rotation without half turns once the signs of its columns are
    chosen. A sign that changes makes no difference to principal axes.

    Args:
      change: V − I (c, d, d).
    """
    unit = _unit(change)
    inverse, sign = _signed_inverse(change + unit)
    change = change * sign[:, None, :] + unit * (sign - 1)[:, None, :]
    omega = 2 * matmul(change, inverse)
    return parts((omega - transpose(omega)) / 2)[1]


@jax.custom_jvp
def _signed_inverse(rotation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (VS + I)⁻¹ for the signs S (c, d) with which no pivot is below 1, and the signs."""
    return _eliminate(rotation, choose_signs=True)


@_signed_inverse.defjvp
def _(primals, tangents):
    inverse, sign = _signed_inverse(primals[0])
    slope = -matmul(matmul(inverse, tangents[0] * sign[:, None, :]), inverse)
    return (inverse, sign), (slope, jnp.zeros_like(sign))


@jax.custom_jvp
def _inverse_of_shifted(matrix: jax.Array) -> jax.Array:
    """Return (A + I)⁻¹ for skew A (c, d, d)."""
    return _eliminate(matrix, choose_signs=False)[0]


@_inverse_of_shifted.defjvp
def _(primals, tangents):
    inverse = _inverse_of_shifted(primals[0])
    return inverse, -matmul(matmul(inverse, tangents[0]), inverse)


def _eliminate(matrix: jax.Array, choose_signs: bool) -> tuple[jax.Array, jax.Array]:
    """Return (AS + I)⁻¹ by Gauss–Jordan elimination in place, and the signs S (c, d).

    No pivoting is needed. The pivot of column j is 1 + a, where a is the entry of A after the
    elimination of the columns before it. If A is orthogonal, the sign of the column makes a
    positive (Evard & Uhlig 1992, Linear Algebra Appl. 160, for the existence of such signs). If A
    is skew, a is never negative.
    """
    c, d, _ = matrix.shape

    def eliminate(j: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        matrix, signs = state
        here = (jnp.arange(d) == j).astype(matrix.dtype)
        column = jax.lax.dynamic_index_in_dim(matrix, j, 2)
        row = jax.lax.dynamic_index_in_dim(matrix, j, 1)
        entry = jax.lax.dynamic_index_in_dim(column, j, 1)
        if choose_signs:
            sign = jnp.where(entry < 0, -1, 1).astype(matrix.dtype)
            column, entry = sign * column, sign * entry
            signs = jax.lax.dynamic_update_index_in_dim(signs, sign[:, :, 0], j, 1)
        above = here[None, :, None]
        column = column / (1 + entry) - above * entry / (1 + entry)  # without its pivot row
        row = (1 - here)[None, None, :] * row + here[None, None, :]
        others = matrix * (1 - here)[None, None, :]
        scaled = above * row / (1 + entry)
        matrix = others * (1 - above) - column * row + scaled
        return matrix, signs

    return jax.lax.fori_loop(0, d, eliminate, (matrix, jnp.ones((c, d), matrix.dtype)))


def compose(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return UV − I of U − I and V − I."""
    return first + second + matmul(first, second)


def _length(column: jax.Array) -> jax.Array:
    """Return the lengths (c, 1, 1) of columns (c, d, 1)."""
    return jnp.sqrt(jnp.sum(column**2, axis=1, keepdims=True))


@jax.custom_jvp
def orthonormal(matrix: jax.Array) -> jax.Array:
    """Return the orthonormal columns D (c, d, d) that Gram–Schmidt makes of the columns of A.

    The result is not finite for singular A.
    """

    def add_column(j: jax.Array, columns: jax.Array) -> jax.Array:
        column = jax.lax.dynamic_index_in_dim(matrix, j, 2)
        noise = 4 * matrix.shape[-1] * jnp.finfo(matrix.dtype).eps * _length(column)
        for _ in range(2):  # the second time removes the rounding errors of the first one
            along = jnp.sum(columns * column, axis=1, keepdims=True)
            column = column - jnp.sum(columns * along, axis=2, keepdims=True)
        length = _length(column)
        column = column / jnp.where(length > noise, length, 0)
        return jax.lax.dynamic_update_index_in_dim(columns, column, j, 2)

    return jax.lax.fori_loop(0, matrix.shape[-1], add_column, jnp.zeros_like(matrix))


@orthonormal.defjvp
def _(primals, tangents):
    # With A = D R, the derivative of D is D times a skew matrix, whose part below the diagonal is
    # that of Dᵀ dA R⁻¹.
    columns = orthonormal(primals[0])
    root = transpose(matmul(transpose(columns), primals[0]))
    inside = matmul(matmul(transpose(columns), tangents[0]), transpose(lapack.inverse(root)))
    lower = jnp.tril(inside, -1)
    return columns, matmul(columns, lower - transpose(lower))


# ---- plane rotations ---------------------------------------------------------------------------


@functools.cache
def rounds(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounds in which each pair of d axes meets once.

    Returns:
      Tables (rounds, d) of each axis's partner in a round, and of its side: 1 or −1, and 0 for the
      axis that has no partner in it, which is its own.
    """
    even = d + d % 2
    circle = list(range(even))
    partners = np.tile(np.arange(d, dtype=np.int32), (even - 1, 1))
    sides = np.zeros((even - 1, d))
    for number in range(even - 1):
        for i in range(even // 2):
            p, q = sorted((circle[i], circle[even - 1 - i]))
            if q < d:
                partners[number, [p, q]] = q, p
                sides[number, [p, q]] = 1, -1
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return partners, sides


class _Round:
    """A round of disjoint pairs, of which each axis has one partner.

    Up to `LOOPED` axes, products with a permutation are faster than gathers, as for triangular
    matrices.
    """

    def __init__(self, number: jax.Array, d: int, dtype: Any) -> None:
        partners, sides = rounds(d)
        self.side = jnp.asarray(sides, dtype)[number]
        self.partner = jnp.asarray(partners)[number]
        self.permutation = None
        if d <= LOOPED:
            self.permutation = jnp.asarray(np.eye(d)[partners], dtype)[number]

    def partners(self, values: jax.Array) -> jax.Array:
        """Return for each entry of the last axis that of its partner."""
        if self.permutation is not None:
            return matmul(values, self.permutation)
        return jnp.take(values, self.partner, axis=-1, mode="clip")

    def beside(self, matrices: jax.Array) -> jax.Array:
        """Return the entries (k, d) of matrices (k, d, d) at each axis and its partner."""
        if self.permutation is not None:
            return jnp.sum(matrices * self.permutation[None], axis=-1)
        return jnp.diagonal(self.partners(matrices), axis1=1, axis2=2)


def sweep(
    moments: jax.Array, precision: jax.Array, change: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rotate every pair of axes once, to lower Σ_k Σ_j a_kj (VᵀS_kV)_jj.

    The best angle of a pair is known in closed form. Pairs of one round do not share an axis, so
    they rotate at once. Axes with equal precisions do not turn, and small moments off the diagonal
    make small angles.

    Args:
      moments: S (k, d, d) about the present axes.
      precision: a (k, d).
      change: V − I (c, d, d) so far; c = 1 if all components turn together, and c = k otherwise.

    Returns:
      The moments about the new axes, the new V − I, and half of the sum by which the objective
      fell, as (c,).
    """
    d, together = moments.shape[-1], len(change) == 1
    fall = jnp.zeros(len(change), moments.dtype)
    if d == 1:
        return moments, change, fall
    unit = _unit(change)

    def rotate(number: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        moments, change, fall = state
        pairs = _Round(number, d, moments.dtype)
        cosine_less_one, sine, gain = _angles(moments, precision, pairs, together)

        def turned(columns: jax.Array) -> jax.Array:
            """Return what a rotation of the columns adds to them."""
            added = sine[:, None, :] * pairs.partners(columns)
            return cosine_less_one[:, None, :] * columns + added

        moments = transpose(moments + turned(moments))
        moments = moments + turned(moments)
        return moments, change + turned(change + unit), fall + gain

    return jax.lax.fori_loop(0, len(rounds(d)[0]), rotate, (moments, change, fall))


def _angles(
    moments: jax.Array, precision: jax.Array, pairs: _Round, together: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return cos θ − 1 and ± sin θ (c, d) for each axis, and half the fall of the objective (c,).

    The objective of a pair is X cos 2θ + Y sin 2θ plus a constant. Both axes of a pair compute the
    same X and Y.
    """
    diagonal = jnp.diagonal(moments, axis1=1, axis2=2)
    contrast = precision - pairs.partners(precision)
    x = contrast * (diagonal - pairs.partners(diagonal)) / 2
    y = contrast * pairs.beside(moments) * pairs.side[None]
    if together:
        x, y = (jnp.sum(value, axis=0, keepdims=True) for value in (x, y))
    # Where nothing can be gained, the derivative of the angle is not defined, and it is 0.
    turns = x**2 + y**2 > 0
    x, y = jnp.where(turns, x, -1), jnp.where(turns, y, 0)
    length = jnp.sqrt(x**2 + y**2)
    angle = jnp.arctan2(-y, -x) / 2
    gain = jnp.where(x > 0, length + x, y**2 / (length - jnp.minimum(x, 0)))
    half = jnp.sin(angle / 2)
    # Each pair is counted twice here.
    return -2 * half**2, jnp.sin(angle) * pairs.side[None], jnp.sum(gain, axis=1) / 4
