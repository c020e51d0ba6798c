"""The inverse Cholesky factor of one large matrix, by matrix products.

A library that factorizes a large matrix divides the work among threads of its own, which wait for
one another. Where other programs use the same cores, that can take a hundred times as long as the
work itself. Here the matrix is halved until a single thread handles the parts, and the rest are
matrix products.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import lapack
from .products import matmul

LARGEST_PART = 48


def inverse_root(matrix: jax.Array) -> jax.Array:
    """Return L⁻¹ (p, p) for a matrix A = L Lᵀ with lower-triangular L.

    It is not finite if the matrix is not positive definite.
    """
    p = len(matrix)
    if p <= LARGEST_PART:
        return lapack.inverse(lapack.cholesky(matrix[None]))[0]
    half = p // 2
    first = inverse_root(matrix[:half, :half])
    below = matmul(matrix[half:, :half], first.T)
    second = inverse_root(matrix[half:, half:] - matmul(below, below.T))
    corner = -matmul(second, matmul(below, first))
    top = jnp.pad(first, ((0, 0), (0, p - half)))
    return jnp.concatenate([top, jnp.concatenate([corner, second], axis=1)])
