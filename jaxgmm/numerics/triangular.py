"""Stacks of lower-triangular matrices: their parts, inverses and solutions."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from . import lapack
from .products import matmul
from .unit_matrix import unit_matrix

# Up to this many features, a loop over columns that handles all matrices at once is faster than a
# LAPACK call for each matrix (150 µs against 550 µs for 512 inverses of 8×8).
LOOPED = 8
# With more features than this, LAPACK's solver starts threads, which wait for one another on a busy
# machine (350 ms against 0.4 ms for 16 inverses of 32×32).
UNTHREADED = 16
# Up to this many rows, `small_cholesky` and `small_inverse` compute entry by entry.
UNROLLED = 4


@functools.cache
def _positions(d: int) -> np.ndarray:
    """Return the positions of diagonal and strict lower part in a flattened (d, d) factor."""
    rows, columns = np.tril_indices(d, -1)
    return np.concatenate([np.arange(d) * (d + 1), rows * d + columns]).astype(np.int32)


@functools.cache
def _scatter_matrix(d: int, dtype: DTypeLike, transposed: bool = False) -> np.ndarray:
    """Return a 0-1 matrix (d (d + 1)/2, d²) that maps [diagonal, strict lower part] to a factor.

    A product with it is faster than a gather, which XLA's CPU code does slowly for stacks of small
    matrices. The result is cached, so that XLA recognizes equal products.
    """
    positions = _positions(d)
    if transposed:
        positions = positions % d * d + positions // d
    return np.eye(d * d, dtype=dtype)[positions]


def parts(matrix: Any) -> tuple[Any, Any]:
    """Return the diagonals (..., d) and strict lower parts (..., d (d − 1)/2) of matrices.

    Args:
      matrix: matrices (..., d, d), a NumPy or JAX array.

    Returns:
      Two arrays of the same kind; the entries of the lower part are in row-major order.
    """
    d = matrix.shape[-1]
    flat = matrix.reshape(*matrix.shape[:-2], d * d)
    if d <= LOOPED and isinstance(matrix, jax.Array):
        flat = matmul(flat, _scatter_matrix(d, matrix.dtype).T)
    else:
        flat = flat[..., _positions(d)]
    return flat[..., :d], flat[..., d:]


def assemble(diagonal: jax.Array, lower: jax.Array, transposed: bool = False) -> jax.Array:
    """Return the lower-triangular matrices (..., d, d) with these `parts`, or their transposes."""
    d = diagonal.shape[-1]
    entries = jnp.concatenate([diagonal, lower], axis=-1)
    if d <= LOOPED:
        flat = matmul(entries, _scatter_matrix(d, entries.dtype, transposed))
        return flat.reshape(*entries.shape[:-1], d, d)
    flat_layout = np.full(d * d, entries.shape[-1], np.int32)
    flat_layout[_positions(d)] = np.arange(entries.shape[-1])
    layout = flat_layout.reshape(d, d)
    entries = jnp.concatenate([entries, jnp.zeros_like(diagonal[..., :1])], axis=-1)
    return entries[..., layout.T if transposed else layout]


def transpose(matrix: jax.Array) -> jax.Array:
    """Return Mᵀ for each matrix of a stack."""
    return jnp.swapaxes(matrix, -1, -2)


def inverse(factor: jax.Array, often: bool = True) -> jax.Array:
    """Return L⁻¹ for lower-triangular factors L (c, d, d).

    Args:
      factor: the factors.
      often: whether the inverse is computed often; if not, the method compiles fastest.
    """
    d = factor.shape[-1]
    if d > UNTHREADED:
        return _by_halves(factor, often)
    if d > LOOPED or not often:
        return lapack.inverse(factor)

    def eliminate(j, inverse):
        column = jax.lax.dynamic_index_in_dim(factor, j, 2)
        pivot = jax.lax.dynamic_index_in_dim(column, j, 1)
        row = jax.lax.dynamic_index_in_dim(inverse, j, 1) / pivot
        below = (jnp.arange(d) > j)[None, :, None]
        inverse = inverse - jnp.where(below, column, 0) * row
        return jax.lax.dynamic_update_index_in_dim(inverse, row, j, 1)

    unit = jnp.broadcast_to(unit_matrix(d, factor.dtype), factor.shape)
    return jax.lax.fori_loop(0, d, eliminate, unit)


def _by_halves(factor: jax.Array, often: bool) -> jax.Array:
    """Invert by [A 0; C B]⁻¹ = [A⁻¹ 0; −B⁻¹ C A⁻¹ B⁻¹], where A and B make one stack."""
    c, d = factor.shape[:2]
    half = (d + 1) // 2
    even = jnp.broadcast_to(unit_matrix(2 * half, factor.dtype), (c, 2 * half, 2 * half))
    even = even.at[:, :d, :d].set(factor)
    corners = jnp.concatenate([even[:, :half, :half], even[:, half:, half:]])
    first, last = jnp.split(inverse(corners, often), 2)
    below = -matmul(matmul(last, even[:, half:, :half]), first)
    return join_halves(first, below, last)[:, :d, :d]


def join_halves(first: jax.Array, below: jax.Array, last: jax.Array) -> jax.Array:
    """Return the stack of matrices [first 0; below last]."""
    upper = jnp.pad(first, ((0, 0), (0, 0), (0, last.shape[-1])))
    return jnp.concatenate([upper, jnp.concatenate([below, last], axis=2)], axis=1)


def solve(factor: jax.Array, vectors: jax.Array, transposed: bool = False) -> jax.Array:
    """Return W⁻¹ v, or W⁻ᵀ v if transposed.

    Args:
      factor: lower-triangular W (c, d, d), c being k or 1.
      vectors: v (k, d).
      transposed: whether to solve with Wᵀ.
    """
    (k, d), dtype = vectors.shape, jnp.promote_types(factor.dtype, vectors.dtype)
    factor, vectors = jnp.broadcast_to(factor, (k, d, d)).astype(dtype), vectors.astype(dtype)
    matrix = transpose(factor) if transposed else factor
    if d <= LOOPED:  # one kernel for all columns
        columns: dict[int, jax.Array] = {}
        for j in reversed(range(d)) if transposed else range(d):
            columns[j] = vectors[:, j] / matrix[:, j, j]
            vectors = vectors - matrix[:, :, j] * columns[j][:, None]
        return jnp.stack([columns[j] for j in range(d)], axis=1)

    def substitute(i, solution):
        j = d - 1 - i if transposed else i
        take = lambda array: jax.lax.dynamic_index_in_dim(array, j, 1, keepdims=False)
        row = take(matrix)
        value = (take(vectors) - jnp.sum(row * solution, axis=1)) / take(row)
        return jax.lax.dynamic_update_index_in_dim(solution, value, j, 1)

    return jax.lax.fori_loop(0, d, substitute, jnp.zeros_like(vectors))


def symmetric(matrix: jax.Array) -> jax.Array:
    """Return (M + Mᵀ) / 2 for each matrix M of a stack."""
    return (matrix + transpose(matrix)) / 2


def log_determinant(factor: jax.Array) -> jax.Array:
    """Return log |det R| (c,) of triangular matrices R (c, d, d) with positive diagonals."""
    return jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)


def mirror_lower(matrix: jax.Array) -> jax.Array:
    """Return the symmetric matrices whose lower triangles are those of a stack (c, d, d)."""
    return jnp.tril(matrix) + transpose(jnp.tril(matrix, -1))


def small_cholesky(matrix: jax.Array) -> jax.Array:
    """Return the lower-triangular L with L Lᵀ = A, for stacks of matrices (c, d, d) of few rows.

    Up to `UNROLLED` rows it is computed entry by entry for all matrices at once, which compiles
    faster than a LAPACK call and than a loop.
    """
    d = matrix.shape[-1]
    if d > UNROLLED:
        return lapack.cholesky(matrix)
    entry: dict[tuple[int, int], jax.Array] = {}
    for j in range(d):
        for i in range(j, d):
            left = matrix[..., i, j]
            for m in range(j):
                left = left - entry[i, m] * entry[j, m]
            entry[i, j] = jnp.sqrt(left) if i == j else left / entry[j, j]
    return _from_entries(entry, matrix)


def small_inverse(factor: jax.Array) -> jax.Array:
    """Return L⁻¹ for lower-triangular factors L (c, d, d) of few rows: see `small_cholesky`."""
    d = factor.shape[-1]
    if d > UNROLLED:
        return inverse(factor)
    entry: dict[tuple[int, int], jax.Array] = {}
    for j in range(d):
        entry[j, j] = 1 / factor[..., j, j]
        for i in range(j + 1, d):
            terms = (factor[..., i, m] * entry[m, j] for m in range(j, i))
            entry[i, j] = -functools.reduce(jnp.add, terms) / factor[..., i, i]
    return _from_entries(entry, factor)


def _from_entries(entry: dict[tuple[int, int], jax.Array], like: jax.Array) -> jax.Array:
    """Return lower-triangular matrices of these entries, with the shape of others."""
    d, zero = like.shape[-1], jnp.zeros_like(like[..., 0, 0])
    flat = [entry.get((i, j), zero) for i in range(d) for j in range(d)]
    return jnp.stack(flat, axis=-1).reshape(like.shape)
