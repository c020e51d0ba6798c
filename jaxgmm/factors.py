"""Stacks of lower-triangular factors: their entries, inverses and solutions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from .covariance import matmul

# Up to this many features a loop over columns, of all matrices at once, is faster than a call of
# LAPACK for each (150 µs against 550 for 512 inverses of 8×8).
LOOPED = 8
# Beyond so many features LAPACK's solver starts threads, and on a busy machine they wait for one
# another (350 ms against 0.4 for 16 inverses of 32×32).
UNTHREADED = 16


@functools.cache
def _layout(d: int):
    """Where each entry of a (d, d) factor lies in [diagonal, strict lower part, 0]."""
    rows, columns = (index.astype(np.int32) for index in np.tril_indices(d, -1))
    layout = np.full((d, d), d + len(rows), np.int32)
    layout[np.arange(d), np.arange(d)] = np.arange(d)
    layout[rows, columns] = d + np.arange(len(rows))
    return rows, columns, layout


def strict(matrix, d: int):
    """The strict lower part (..., d(d−1)/2) of matrices (..., d, d), row by row."""
    rows, columns, _ = _layout(d)
    return matrix[..., rows, columns]


def assembled(diagonal: jax.Array, lower: jax.Array, transposed: bool = False) -> jax.Array:
    """Factors (..., d, d), or laid out as their transposes, from their diagonals (..., d) and
    strict lower parts."""
    d = diagonal.shape[-1]
    layout = _layout(d)[2].T if transposed else _layout(d)[2]
    entries = jnp.concatenate([diagonal, lower], axis=-1)
    if d <= LOOPED:  # a product with ones: XLA's CPU code gathers stacks of small matrices slowly
        places = np.eye(entries.shape[-1] + 1, dtype=entries.dtype)[:-1, layout.ravel()]
        return matmul(entries, places).reshape(*entries.shape[:-1], d, d)
    entries = jnp.concatenate([entries, jnp.zeros_like(diagonal[..., :1])], axis=-1)
    return entries[..., layout]


def transpose(matrix: jax.Array) -> jax.Array:
    """Mᵀ of a stack of matrices."""
    return jnp.swapaxes(matrix, -1, -2)


def inverse(factor: jax.Array, often: bool = True) -> jax.Array:
    """L⁻¹ of lower-triangular factors (c, d, d); unless `often`, by what compiles fastest."""
    d = factor.shape[-1]
    if d > UNTHREADED:
        return _by_halves(factor, often)
    eye = jnp.broadcast_to(jnp.eye(d, dtype=factor.dtype), factor.shape)
    if d > LOOPED or not often:
        return jax.lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True)

    def eliminate(j, inverse):
        column = jax.lax.dynamic_index_in_dim(factor, j, 2)
        pivot = jax.lax.dynamic_index_in_dim(column, j, 1)
        row = jax.lax.dynamic_index_in_dim(inverse, j, 1) / pivot
        below = (jnp.arange(d) > j)[None, :, None]
        inverse = inverse - jnp.where(below, column, 0) * row
        return jax.lax.dynamic_update_index_in_dim(inverse, row, j, 1)

    return jax.lax.fori_loop(0, d, eliminate, eye)


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
    return jax.lax.linalg.triangular_solve(
        jnp.broadcast_to(factor, (k, d, d)).astype(dtype), vectors[..., None].astype(dtype),
        left_side=True, lower=True, transpose_a=transposed,
    )[..., 0]  # fmt: skip


def symmetric(matrix: jax.Array) -> jax.Array:
    """(M + Mᵀ) / 2 of a stack of matrices."""
    return (matrix + transpose(matrix)) / 2
