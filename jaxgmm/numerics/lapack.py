"""Factorizations of stacks of matrices (c, d, d), by LAPACK calls that never wait for a thread.

Before version 0.12, jaxlib splits a large batched LAPACK call on a CPU among the threads of the
pool that runs the call itself, and the call waits for them. If as many calls wait at the same time
as the pool has threads (one on each CPU device, or one in each thread of the caller), no thread is
left to do the work, and none of the calls ever returns. The number of calls is not bounded by the
number of threads, so a larger pool does not prevent this deadlock. However, jaxlib does not split
calls of little work. This module therefore cuts every stack into pieces that are small enough.
(`jax.vmap` would join the pieces again, so its axis is merged with that of the stack before the
cut.)

The whole package factorizes matrices by this module. The derivatives are those of Giles 2008, "An
extended collection of matrix derivative results for forward and reverse mode algorithmic
differentiation".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
from jax.custom_batching import custom_vmap

from .products import matmul
from .unit_matrix import unit_matrix

Function = Callable[[jax.Array], Any]

# Whether LAPACK calls wait for other threads, and the number of operations from which on they do.
CALLS_WAIT = tuple(int(part) for part in jaxlib.__version__.split(".")[:2]) < (0, 12)
SPLIT_WORK = 200_000


def in_pieces(most_matrices: Callable[[int], int]) -> Callable[[Function], Function]:
    """Return a decorator that extends a function of one matrix (d, d) to stacks (c, d, d).

    Args:
      most_matrices: the number of matrices (d, d) that may be passed to LAPACK in one call, as a
        function of d.
    """

    def decorate(function: Function) -> Function:
        of_stack = jax.vmap(function)
        if not CALLS_WAIT:
            return of_stack

        def of_pieces(stack):
            most = max(1, most_matrices(stack.shape[-1]))
            if len(stack) <= most:
                return of_stack(stack)
            return jax.lax.map(function, stack, batch_size=most if most > 1 else None)

        @custom_vmap
        def call(stack):
            return jax.lax.platform_dependent(stack, cpu=of_pieces, default=of_stack)

        @call.def_vmap
        def _(size, _, stack):
            joined = call(stack.reshape(-1, *stack.shape[2:]))
            split = lambda leaf: leaf.reshape(size, -1, *leaf.shape[1:])
            return jax.tree.map(split, joined), jax.tree.map(lambda _: True, joined)

        return call

    return decorate


def widen_pool(devices: int) -> None:
    """Set the environment so that JAX starts with more threads than CPU devices.

    A thread is then left to do the work of batched LAPACK calls by other code than this package,
    one on each device. A larger number in the environment is kept. JAX must not have started yet.
    """
    if not CALLS_WAIT:
        return
    setting = os.environ.get("PJRT_NPROC", os.environ.get("NPROC", ""))
    threads = int(setting) if setting.isdecimal() else cores()
    if threads <= devices:
        os.environ["PJRT_NPROC"] = str(devices + 1)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@in_pieces(lambda d: (SPLIT_WORK - 1) // max(1, d**3 // 3))
def _cholesky(matrix: jax.Array) -> jax.Array:
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


@in_pieces(lambda d: (SPLIT_WORK - 1) // d**3)
def _inverse(factor: jax.Array) -> jax.Array:
    unit = unit_matrix(len(factor), factor.dtype)
    return jax.lax.linalg.triangular_solve(factor, unit, left_side=True, lower=True)


@in_pieces(lambda d: 1)
def _svd(matrix: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.linalg.svd(matrix))


@in_pieces(lambda d: 1)
def _qr(matrix: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.linalg.qr(matrix))


@in_pieces(lambda d: 1)
def _eigh(matrix: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.linalg.eigh(matrix))


def _transpose(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2)


def _halved_diagonal(matrix: jax.Array) -> jax.Array:
    """Return the lower-triangular X for which X + Xᵀ is the symmetric matrix."""
    half = unit_matrix(matrix.shape[-1], matrix.dtype)[None] / 2
    return jnp.tril(matrix) - matrix * half


@jax.custom_jvp
def cholesky(matrix: jax.Array) -> jax.Array:
    """Return the lower-triangular L with L Lᵀ = A, from the lower triangles of A (c, d, d)."""
    return _cholesky(matrix)


@cholesky.defjvp
def _(primals, tangents):
    ((matrix,), (tangent,)) = primals, tangents
    factor = cholesky(matrix)
    whitening = inverse(factor)
    tangent = (tangent + _transpose(tangent)) / 2
    inside = matmul(matmul(whitening, tangent), _transpose(whitening))
    return factor, matmul(factor, _halved_diagonal(inside))


@jax.custom_jvp
def inverse(factor: jax.Array) -> jax.Array:
    """Return L⁻¹ for lower-triangular L (c, d, d)."""
    return _inverse(factor)


@inverse.defjvp
def _(primals, tangents):
    ((factor,), (tangent,)) = primals, tangents
    inverted = inverse(factor)
    return inverted, -matmul(matmul(inverted, jnp.tril(tangent)), inverted)


@jax.custom_jvp
def lower_root(matrix: jax.Array) -> jax.Array:
    """Return the Cholesky factor of AᵀA for A (c, d, d).

    It is computed by a QR factorization of A, because AᵀA itself would lose half of the digits.
    """
    upper = _qr(matrix)[1]
    sign = jnp.where(jnp.diagonal(upper, axis1=-2, axis2=-1) < 0, -1, 1).astype(upper.dtype)
    return _transpose(sign[..., None] * upper)


@lower_root.defjvp
def _(primals, tangents):
    ((matrix,), (tangent,)) = primals, tangents
    factor = lower_root(matrix)
    inverse_upper = _transpose(inverse(factor))
    orthogonal, tangent = matmul(matrix, inverse_upper), matmul(tangent, inverse_upper)
    inside = matmul(_transpose(orthogonal), tangent)
    return factor, matmul(factor, _halved_diagonal(inside + _transpose(inside)))


def orthogonal(matrix: jax.Array) -> jax.Array:
    """Return Q of A = QR for A (c, d, d). It has no reverse-mode derivative."""
    return _qr(matrix)[0]


def _over_differences(values: jax.Array) -> jax.Array:
    """Return 1 / (v_j − v_i), with 0 on the diagonal."""
    difference = values[..., None, :] - values[..., :, None]
    unit = unit_matrix(values.shape[-1], values.dtype)[None]
    return 1 / (difference + unit) - unit


@jax.custom_jvp
def svd(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return U (c, d, d), descending s (c, d) and Vᵀ (c, d, d) with A = U diag(s) Vᵀ."""
    return _svd(matrix)


@svd.defjvp
def _(primals, tangents):
    ((matrix,), (tangent,)) = primals, tangents
    left, scale, right = svd(matrix)
    inside = matmul(matmul(_transpose(left), tangent), _transpose(right))
    ratio = _over_differences(scale**2)
    row, column = scale[..., None, :], scale[..., :, None]
    by_left = ratio * (inside * row + column * _transpose(inside))
    by_right = ratio * (column * inside + _transpose(inside) * row)
    along = jnp.diagonal(inside, axis1=-2, axis2=-1)
    return (left, scale, right), (
        matmul(left, by_left), along, matmul(_transpose(by_right), right)
    )  # fmt: skip


@jax.custom_jvp
def polar(matrix: jax.Array) -> jax.Array:
    """Return the orthogonal factor U of A = U H for A (c, d, d), H symmetric positive semidefinite.

    Its derivative needs no differences of singular values, and is finite unless A is singular.
    """
    left, _, right = _svd(matrix)
    return matmul(left, right)


@polar.defjvp
def _(primals, tangents):
    ((matrix,), (tangent,)) = primals, tangents
    left, scale, right = svd(matrix)
    inside = matmul(matmul(_transpose(left), tangent), _transpose(right))
    total = scale[..., None, :] + scale[..., :, None]
    turn = (inside - _transpose(inside)) / jnp.where(total > 0, total, 1)
    return matmul(left, right), matmul(matmul(left, turn), right)


@jax.custom_jvp
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues (c, d) and eigenvectors (c, d, d) of symmetric matrices (c, d, d).

    The eigenvalues are in ascending order, and the eigenvectors are columns.
    """
    return _eigh(matrix)


@eigh.defjvp
def _(primals, tangents):
    ((matrix,), (tangent,)) = primals, tangents
    values, vectors = eigh(matrix)
    inside = matmul(matmul(_transpose(vectors), tangent), vectors)
    turn = _over_differences(values) * inside
    along = jnp.diagonal(inside, axis1=-2, axis2=-1)
    return (values, vectors), (along, matmul(vectors, turn))


@in_pieces(lambda d: 1)
def eigvalsh(matrix: jax.Array) -> jax.Array:
    """Return the ascending eigenvalues (c, d) of symmetric matrices (c, d, d).

    They have no reverse-mode derivative.
    """
    return jnp.linalg.eigvalsh(matrix)
