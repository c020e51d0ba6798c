"""Factorizations of stacks of matrices (c, d, d), by calls of LAPACK that never wait for a thread.

Before version 0.12, jaxlib splits a large batched call of LAPACK on a CPU among the threads of the
pool that runs the call itself, and the call waits for them. If as many calls wait at the same time
as the pool has threads (one on each CPU device, or one in each thread of the caller), no thread is
left to do the work, and none of the calls ever returns. The number of threads does not bound the
number of calls, so no size of the pool makes this impossible. But jaxlib does not split a call of
little work. Every stack is therefore passed on here in pieces that are smaller than that.
(`jax.vmap` would join the pieces again: its axis is merged with the stack's, and then it is cut.)

All of the package factorizes through this module. The derivatives are those of the factorizations
(Giles 2008, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation").
"""

from __future__ import annotations

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jaxlib
from jax.custom_batching import custom_vmap

from .products import matmul

# Whether a call waits for other threads, and from how many operations on.
CALLS_WAIT = tuple(int(part) for part in jaxlib.__version__.split(".")[:2]) < (0, 12)
SPLIT_WORK = 200_000


def in_pieces(matrices: Callable[[int], int]) -> Callable:
    """Make a function of one matrix (d, d) a function of a stack (c, d, d), which passes at most
    matrices(d) of them to LAPACK at once."""

    def decorate(function):
        stacked = jax.vmap(function)
        if not CALLS_WAIT:
            return stacked

        def cut(stack):
            most = max(1, matrices(stack.shape[-1]))
            if len(stack) <= most:
                return stacked(stack)
            return jax.lax.map(function, stack, batch_size=most if most > 1 else None)

        @custom_vmap
        def call(stack):
            return jax.lax.platform_dependent(stack, cpu=cut, default=stacked)

        @call.def_vmap
        def _(size, _, stack):
            found = call(stack.reshape(-1, *stack.shape[2:]))
            apart = lambda leaf: leaf.reshape(size, -1, *leaf.shape[1:])
            return jax.tree.map(apart, found), jax.tree.map(lambda _: True, found)

        return call

    return decorate


def widen_pool(devices: int) -> None:
    """Give JAX, which has not started yet, more threads than it is to have CPU devices, so that one
    batched call of LAPACK on each, by code that is not this package's, finds a thread to do its
    work. A larger number that the environment gives is kept."""
    if not CALLS_WAIT:
        return
    given = os.environ.get("PJRT_NPROC", os.environ.get("NPROC", ""))
    threads = int(given) if given.isdecimal() else cores()
    if threads <= devices:
        os.environ["PJRT_NPROC"] = str(devices + 1)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@in_pieces(lambda d: (SPLIT_WORK - 1) // max(1, d**3 // 3))
def _cholesky(matrix):
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


@in_pieces(lambda d: (SPLIT_WORK - 1) // d**3)
def _inverse(factor):
    unit = jnp.eye(len(factor), dtype=factor.dtype)
    return jax.lax.linalg.triangular_solve(factor, unit, left_side=True, lower=True)


@in_pieces(lambda d: 1)
def _svd(matrix):
    return tuple(jnp.linalg.svd(matrix))


@in_pieces(lambda d: 1)
def _qr(matrix):
    return tuple(jnp.linalg.qr(matrix))


@in_pieces(lambda d: 1)
def _eigh(matrix):
    return tuple(jnp.linalg.eigh(matrix))


def _transpose(matrix):
    return jnp.swapaxes(matrix, -1, -2)


def _halved_diagonal(matrix):
    """The lower triangle, with half of the diagonal: X where X + Xᵀ is the symmetric matrix."""
    half = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)[None] / 2
    return jnp.tril(matrix) - matrix * half


@jax.custom_jvp
def cholesky(matrix: jax.Array) -> jax.Array:
    """The lower-triangular L with L Lᵀ = A, from the lower triangles of A (c, d, d)."""
    return _cholesky(matrix)


@cholesky.defjvp
def _(primals, tangents):
    ((matrix,), (change,)) = primals, tangents
    factor = cholesky(matrix)
    whitening = inverse(factor)
    change = (change + _transpose(change)) / 2
    inside = matmul(matmul(whitening, change), _transpose(whitening))
    return factor, matmul(factor, _halved_diagonal(inside))


@jax.custom_jvp
def inverse(factor: jax.Array) -> jax.Array:
    """L⁻¹ of lower-triangular L (c, d, d)."""
    return _inverse(factor)


@inverse.defjvp
def _(primals, tangents):
    ((factor,), (change,)) = primals, tangents
    found = inverse(factor)
    return found, -matmul(matmul(found, jnp.tril(change)), found)


@jax.custom_jvp
def lower_root(matrix: jax.Array) -> jax.Array:
    """The Cholesky factor of AᵀA for A (c, d, d), by a QR factorization: AᵀA itself would lose half
    of the digits."""
    upper = _qr(matrix)[1]
    sign = jnp.where(jnp.diagonal(upper, axis1=-2, axis2=-1) < 0, -1, 1).astype(upper.dtype)
    return _transpose(sign[..., None] * upper)


@lower_root.defjvp
def _(primals, tangents):
    ((matrix,), (change,)) = primals, tangents
    factor = lower_root(matrix)
    upwards = _transpose(inverse(factor))
    orthogonal, change = matmul(matrix, upwards), matmul(change, upwards)
    inside = matmul(_transpose(orthogonal), change)
    return factor, matmul(factor, _halved_diagonal(inside + _transpose(inside)))


def orthogonal(matrix: jax.Array) -> jax.Array:
    """Q of A = QR for A (c, d, d). It has no reverse derivative."""
    return _qr(matrix)[0]


def _over_differences(values: jax.Array) -> jax.Array:
    """1 / (v_j − v_i), and 0 on the diagonal."""
    apart = values[..., None, :] - values[..., :, None]
    unit = jnp.eye(values.shape[-1], dtype=values.dtype)[None]
    return 1 / (apart + unit) - unit


@jax.custom_jvp
def svd(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """U (c, d, d), s (c, d) in falling order and Vᵀ (c, d, d) with A = U diag(s) Vᵀ."""
    return _svd(matrix)


@svd.defjvp
def _(primals, tangents):
    ((matrix,), (change,)) = primals, tangents
    left, scale, right = svd(matrix)
    inside = matmul(matmul(_transpose(left), change), _transpose(right))
    ratio = _over_differences(scale**2)
    row, column = scale[..., None, :], scale[..., :, None]
    by_left = ratio * (inside * row + column * _transpose(inside))
    by_right = ratio * (column * inside + _transpose(inside) * row)
    along = jnp.diagonal(inside, axis1=-2, axis2=-1)
    return (left, scale, right), (
        matmul(left, by_left), along, matmul(_transpose(by_right), right)
    )  # fmt: skip


@jax.custom_jvp
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The eigenvalues (c, d) of symmetric matrices (c, d, d) in rising order, and the eigenvectors
    as columns (c, d, d)."""
    return _eigh(matrix)


@eigh.defjvp
def _(primals, tangents):
    ((matrix,), (change,)) = primals, tangents
    values, vectors = eigh(matrix)
    inside = matmul(matmul(_transpose(vectors), change), vectors)
    turn = _over_differences(values) * inside
    along = jnp.diagonal(inside, axis1=-2, axis2=-1)
    return (values, vectors), (along, matmul(vectors, turn))


@in_pieces(lambda d: 1)
def eigvalsh(matrix: jax.Array) -> jax.Array:
    """The eigenvalues (c, d) of symmetric matrices (c, d, d), in rising order. They have no reverse
    derivative."""
    return jnp.linalg.eigvalsh(matrix)
