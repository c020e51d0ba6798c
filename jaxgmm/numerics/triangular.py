"""Stacks of lower-triangular matrices: their parts, inverses and solutions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from . import lapack
from .products import matmul

# Up to this many features a loop over columns, of all matrices at once, is faster than a call of
# LAPACK for each (150 µs against 550 for 512 inverses of 8×8).
LOOPED = 8
# Beyond so many features LAPACK's solver starts threads, and on a busy machine they wait for one
# another (350 ms against 0.4 for 16 inverses of 32×32).
UNTHREADED = 16


@functools.cache
def _positions(d: int) -> np.ndarray:
    """Where [diagonal, strict lower part row by row] lie in a (d, d) factor, row by row."""
    rows, columns = np.tril_indices(d, -1)
    return np.concatenate([np.arange(d) * (d + 1), rows * d + columns]).astype(np.int32)


@functools.cache
def _places(d: int, dtype, transposed: bool = False) -> np.ndarray:
    """Ones (d (d + 1)/2, d²): a product with them puts [diagonal, strict lower part] in place.

    (XLA's CPU code gathers stacks of small matrices slowly. Made once, so that equal products are
    seen to be equal.)"""
    positions = _positions(d)
    if transposed:
        positions = positions % d * d + positions // d
    return np.eye(d * d, dtype=dtype)[positions]


def parts(matrix):
    """The diagonals (..., d) and strict lower parts (..., d (d − 1)/2), row by row, of matrices
    (..., d, d), NumPy's or JAX's."""
    d = matrix.shape[-1]
    flat = matrix.reshape(*matrix.shape[:-2], d * d)
    if d <= LOOPED and isinstance(matrix, jax.Array):
        flat = matmul(flat, _places(d, matrix.dtype).T)
    else:
        flat = flat[..., _positions(d)]
    return flat[..., :d], flat[..., d:]


def assemble(diagonal: jax.Array, lower: jax.Array, transposed: bool = False) -> jax.Array:
    """The lower-triangular matrices with these `parts`; or their transposes, laid out as such."""
    d = diagonal.shape[-1]
    entries = jnp.concatenate([diagonal, lower], axis=-1)
    if d <= LOOPED:
        flat = matmul(entries, _places(d, entries.dtype, transposed))
        return flat.reshape(*entries.shape[:-1], d, d)
    layout = np.full(d * d, entries.shape[-1], np.int32)
    layout[_positions(d)] = np.arange(entries.shape[-1])
    layout = layout.reshape(d, d)
    entries = jnp.concatenate([entries, jnp.zeros_like(diagonal[..., :1])], axis=-1)
    return entries[..., layout.T if transposed else layout]


def transpose(matrix: jax.Array) -> jax.Array:
    """Mᵀ of a stack of matrices."""
    return jnp.swapaxes(matrix, -1, -2)


def inverse(factor: jax.Array, often: bool = True) -> jax.Array:
    """L⁻¹ of lower-triangular factors (c, d, d); unless `often`, by what compiles fastest."""
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

    unit = jnp.broadcast_to(jnp.eye(d, dtype=factor.dtype), factor.shape)
    return jax.lax.fori_loop(0, d, eliminate, unit)


def _by_halves(factor: jax.Array, often: bool) -> jax.Array:
    """[A 0; C B]⁻¹ = [A⁻¹ 0; −B⁻¹ C A⁻¹ B⁻¹], with A and B side by side as one stack."""
    c, d = factor.shape[:2]
    half = (d + 1) // 2
    even = jnp.broadcast_to(jnp.eye(2 * half, dtype=factor.dtype), (c, 2 * half, 2 * half))
    even = even.at[:, :d, :d].set(factor)
    corners = jnp.concatenate([even[:, :half, :half], even[:, half:, half:]])
    first, last = jnp.split(inverse(corners, often), 2)
    below = -matmul(matmul(last, even[:, half:, :half]), first)
    upper = jnp.concatenate([first, jnp.zeros_like(first)], axis=2)
    whole = jnp.concatenate([upper, jnp.concatenate([below, last], axis=2)], axis=1)
    return whole[:, :d, :d]


def solve(factor: jax.Array, vectors: jax.Array, transposed: bool = False) -> jax.Array:
    """W⁻¹ v, or W⁻ᵀ v, for vectors (k, d) and lower-triangular factors (c, d, d)."""
    (k, d), dtype = vectors.shape, jnp.promote_types(factor.dtype, vectors.dtype)
    factor, vectors = jnp.broadcast_to(factor, (k, d, d)).astype(dtype), vectors.astype(dtype)
    matrix = transpose(factor) if transposed else factor
    if d <= LOOPED:  # one kernel for all columns
        found = [None] * d
        for j in reversed(range(d)) if transposed else range(d):
            found[j] = vectors[:, j] / matrix[:, j, j]
            vectors = vectors - matrix[:, :, j] * found[j][:, None]
        return jnp.stack(found, axis=1)

    def substitute(i, found):
        j = d - 1 - i if transposed else i
        take = lambda array: jax.lax.dynamic_index_in_dim(array, j, 1, keepdims=False)
        row = take(matrix)
        value = (take(vectors) - jnp.sum(row * found, axis=1)) / take(row)
        return jax.lax.dynamic_update_index_in_dim(found, value, j, 1)

    return jax.lax.fori_loop(0, d, substitute, jnp.zeros_like(vectors))


def symmetric(matrix: jax.Array) -> jax.Array:
    """(M + Mᵀ) / 2 of a stack of matrices."""
    return (matrix + transpose(matrix)) / 2
