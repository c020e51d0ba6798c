"""The smallest and the largest eigenvalue of a symmetric matrix, without all the others.

The largest eigenvalue of a positive definite matrix needs a few products with it, and the smallest
one as many products with its inverse. All eigenvalues would take longer than the matrix itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import lapack
from .eigenvalues import leading, restrict, start_like
from .products import matmul

# The error of an eigenvector at which the products end. That of its eigenvalue is the square of it.
PRECISION = 1e-5


def extreme_eigenvalues(matrix: jax.Array, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the smallest and the largest eigenvalue of a matrix in the free directions.

    Args:
      matrix: (p, p), symmetric.
      held: (p, p), the projector onto the directions that are not free.

    Returns:
      Two arrays (), NaN if the matrix is not finite. If the matrix is positive definite, they come
      from at most 60 products each, and differ from the eigenvalues by about 1e-10 of the value.
      They have no reverse-mode derivative.
    """
    inside = restrict(matrix, held)
    inside = (inside + inside.T) / 2
    fixed = jax.lax.stop_gradient(inside)
    # The other directions get an eigenvalue between the smallest and the largest.
    root = lapack.cholesky((fixed + jnp.trace(fixed) / len(fixed) * held)[None])[0]
    pair = jax.lax.cond(jnp.isfinite(jnp.trace(root)), _by_products, _by_all, fixed, held, root)
    smallest, largest = jnp.sum(matmul(pair, inside) * pair, axis=1)
    return smallest, largest


def _by_products(matrix: jax.Array, held: jax.Array, root: jax.Array) -> jax.Array:
    """Return both eigenvectors (2, p) of a positive definite matrix."""
    start = start_like(matrix[0])
    inside = lambda vector: vector - matmul(held, vector)
    solve = lambda vector, transposed: jax.lax.linalg.triangular_solve(
        root, vector[:, None], left_side=True, lower=True, transpose_a=transposed
    )[:, 0]
    inverse = lambda vector: inside(solve(solve(inside(vector), False), True))
    precise = lambda value, error: error <= PRECISION * jnp.abs(value)
    lead = lambda product: leading(product, inside(start), precise)[2]
    return jnp.stack([lead(inverse), lead(lambda vector: matmul(matrix, vector))])


def _by_all(matrix: jax.Array, held: jax.Array, _: jax.Array) -> jax.Array:
    """Return both eigenvectors (2, p) of any matrix."""
    above = 2 * jnp.linalg.norm(matrix) + 1
    vectors = lapack.eigh((matrix + above * held)[None])[1][0]
    n_free = len(matrix) - jnp.round(jnp.trace(held)).astype(jnp.int32)
    return jnp.stack([vectors[:, 0], vectors[:, n_free - 1]])
