"""Stacks of rotations: by skew matrices, and by plane rotations that diagonalize.

A rotation V near the identity is kept as its difference V − I, which keeps the digits of small
angles. Its coordinates are the r = d(d−1)/2 entries below the diagonal of a skew matrix Ω, with
V = (I + Ω/2)(I − Ω/2)⁻¹ (the Cayley transform).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from . import lapack
from .products import matmul
from .triangular import assemble, parts, transpose


def _unit(like: jax.Array) -> jax.Array:
    """Return the identity as (1, d, d)."""
    return jnp.eye(like.shape[-1], dtype=like.dtype)[None]


# ---- coordinates -------------------------------------------------------------------------------


def skew(turn: jax.Array, d: int) -> jax.Array:
    """Return the skew matrices (c, d, d) with these entries (c, r) below the diagonal."""
    lower = assemble(jnp.zeros((len(turn), d), turn.dtype), turn)
    return lower - transpose(lower)


def cayley(turn: jax.Array, d: int) -> jax.Array:
    """Return V − I (c, d, d) for the rotations with coordinates (c, r)."""
    omega = skew(turn, d)
    return matmul(omega, _inverse(_unit(omega) - omega / 2))


def cayley_inverse(change: jax.Array) -> jax.Array:
    """Return the coordinates (c, r) of orthogonal V, up to the signs of V's columns.

    Every orthogonal matrix is a rotation without half turns once the signs of its columns are
    chosen. A sign that changes makes no difference to principal axes.

    Args:
      change: V − I (c, d, d).
    """
    sign = _signs(jax.lax.stop_gradient(change))
    change = change * sign[:, None, :] + _unit(change) * (sign - 1)[:, None, :]
    omega = 2 * matmul(change, _inverse(2 * _unit(change) + change))
    return parts((omega - transpose(omega)) / 2)[1]


def _eliminate(matrix: jax.Array, j: jax.Array) -> jax.Array:
    """Return the matrices after elimination of column j, by which the next pivots change."""
    column = jax.lax.dynamic_index_in_dim(matrix, j, 2)
    row = jax.lax.dynamic_index_in_dim(matrix, j, 1)
    pivot = jax.lax.dynamic_index_in_dim(row, j, 2)
    return matrix - column * row / pivot


def _signs(change: jax.Array) -> jax.Array:
    """Return the signs (c, d) of columns for which no pivot of V + I is below 1.

    The pivot of column j is 1 + v, where v is an entry of V after the elimination of the columns
    before it. The sign of the column makes v positive (Evard & Uhlig 1992, Linear Algebra Appl.
    160, sec. 3, for the existence of such signs).
    """
    rotation = change + _unit(change)

    def choose(j: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        matrix, signs = state
        here = (jnp.arange(matrix.shape[-1]) == j).astype(matrix.dtype)
        entry = jnp.sum(matrix * here[None, :, None] * here[None, None, :], axis=(1, 2))
        sign = jnp.where(entry < 0, -1, 1).astype(matrix.dtype)
        signs = signs + here[None] * (sign - 1)[:, None]
        matrix = matrix * (1 + here[None, None, :] * (sign - 1)[:, None, None])
        corner = here[:, None] * here[None, :]
        return _eliminate(matrix + corner[None], j), signs

    ones = jnp.ones(change.shape[:2], change.dtype)
    return jax.lax.fori_loop(0, change.shape[-1], choose, (rotation, ones))[1]


@jax.custom_jvp
def _inverse(matrix: jax.Array) -> jax.Array:
    """Return the inverse of matrices (c, d, d) whose elimination needs no pivoting."""

    def eliminate(j: jax.Array, matrix: jax.Array) -> jax.Array:
        # Gauss-Jordan elimination in place.
        here = (jnp.arange(matrix.shape[-1]) == j).astype(matrix.dtype)
        column = jax.lax.dynamic_index_in_dim(matrix, j, 2)
        row = jax.lax.dynamic_index_in_dim(matrix, j, 1)
        pivot = jax.lax.dynamic_index_in_dim(row, j, 2)
        unit_row, unit_column = here[None, None, :], here[None, :, None]
        rest = matrix * (1 - unit_row) * (1 - unit_column)
        outside = column * (1 - unit_column) * row * (1 - unit_row) / pivot
        scaled = unit_column * row * (1 - unit_row) / pivot
        negative = column * (1 - unit_column) * unit_row / pivot
        return rest - outside + scaled - negative + unit_column * unit_row / pivot

    return jax.lax.fori_loop(0, matrix.shape[-1], eliminate, matrix)


@_inverse.defjvp
def _(primals, tangents):
    inverted = _inverse(primals[0])
    return inverted, -matmul(matmul(inverted, tangents[0]), inverted)


def compose(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return UV − I of U − I and V − I."""
    return first + second + matmul(first, second)


def orthonormal(matrix: jax.Array) -> jax.Array:
    """Return the orthonormal columns (c, d, d) that Gram–Schmidt makes of the columns of A.

    The result is A R⁻ᵀ with R Rᵀ = AᵀA. The second turn removes the rounding errors of the first
    one. It has derivatives, and is not finite for singular A.
    """
    for _ in range(2):
        size = jnp.sqrt(jnp.sum(matrix**2, axis=1, keepdims=True))
        matrix = matrix / size
        root = lapack.cholesky(matmul(transpose(matrix), matrix))
        matrix = matmul(matrix, transpose(lapack.inverse(root)))
    return matrix


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
    partners, sides = [], []
    for _ in range(even - 1):
        partner, side = np.arange(d, dtype=np.int32), np.zeros(d)
        for i in range(even // 2):
            p, q = sorted((circle[i], circle[even - 1 - i]))
            if q < d:
                partner[p], partner[q], side[p], side[q] = q, p, 1, -1
        partners.append(partner)
        sides.append(side)
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return np.array(partners, np.int32).reshape(-1, d), np.array(sides).reshape(-1, d)


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
      The moments about the new axes, the new V − I, and the sum by which the objective fell, as
      (c,).
    """
    d, together = moments.shape[-1], len(change) == 1
    if d == 1:
        return moments, change, jnp.zeros(len(change), moments.dtype)
    partners, sides = rounds(d)
    unit = _unit(change)

    def rotate(number: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        moments, change, fall = state
        partner = jnp.asarray(partners)[number]
        side = jnp.asarray(sides, moments.dtype)[number]
        cosine_less_one, sine, gain = _angles(moments, precision, partner, side, together)

        def turn(columns: jax.Array) -> jax.Array:
            """Return what a rotation adds to the last axis."""
            other = jnp.take(columns, partner, axis=-1)
            return cosine_less_one[:, None, :] * columns + sine[:, None, :] * other

        moments = moments + turn(moments)
        moments = transpose(moments)
        moments = transpose(moments + turn(moments))
        return moments, change + turn(change) + turn(unit), fall + gain

    fall = jnp.zeros(len(change), moments.dtype)
    return jax.lax.fori_loop(0, len(partners), rotate, (moments, change, fall))


def _angles(
    moments: jax.Array, precision: jax.Array, partner: jax.Array, side: jax.Array, together: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return cos θ − 1 and ± sin θ (c, d) for each axis, and the fall of the objective (c,).

    The objective of a pair is X cos 2θ + Y sin 2θ plus a constant.
    """
    diagonal = jnp.diagonal(moments, axis1=1, axis2=2)
    beside = jnp.take(moments, partner, axis=2)
    between = jnp.diagonal(beside, axis1=1, axis2=2)
    contrast = precision - jnp.take(precision, partner, axis=1)
    # Both axes of a pair compute the same X and Y, since each contrast only changes its sign.
    x = contrast * (diagonal - jnp.take(diagonal, partner, axis=1)) / 2
    y = contrast * between * side[None]
    if together:
        x, y = (jnp.sum(value, axis=0, keepdims=True) for value in (x, y))
    turns = x**2 + y**2 > 0
    safe_x, safe_y = jnp.where(turns, x, -1), jnp.where(turns, y, 0)
    length = jnp.sqrt(safe_x**2 + safe_y**2)
    angle = jnp.arctan2(-safe_y, -safe_x) / 2
    gain = jnp.where(safe_x > 0, length + safe_x, safe_y**2 / (length - jnp.minimum(safe_x, 0)))
    sine = jnp.sin(angle)
    cosine_less_one = -2 * jnp.sin(angle / 2) ** 2
    return cosine_less_one, sine * side[None], jnp.sum(gain, axis=1) / 2
