"""The smallest and the largest eigenvalue of an information matrix, without all the others.

The largest eigenvalue of a positive definite matrix needs a few products with it, and the smallest
one a few products with its inverse. All eigenvalues would take longer than the matrix itself. An
eigenvalue is computed as vᵀ A v with a fixed eigenvector v, whose error it has in second order
only; its derivative vᵀ A' v is that of the eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from . import lapack
from .eigenvalues import Held, leading, project, restrict, start_like
from .products import matmul

# The errors of eigenvectors at which the products end. The largest eigenvalue of an information is
# one of many that are nearly equal, and tells little.
OF_SMALLEST, OF_LARGEST = 1e-5, 1e-3


def smallest_eigenvalue(matrix: jax.Array, held: Held, inverse: jax.Array) -> jax.Array:
    """Return the smallest eigenvalue of a matrix in the free directions.

    Args:
      matrix: (p, p), symmetric.
      held: the directions that are not free.
      inverse: (p, p), the inverse on the free directions, and 0 on the others. It is not finite if
        the matrix is not positive definite.

    Returns:
      The eigenvalue (), NaN if the matrix is not finite. For a positive definite matrix, its
      relative error is about 1e-10. It has no reverse-mode derivative.
    """
    by_products = lambda _, held, inverse: _leading(inverse, held, OF_SMALLEST)
    by_all = lambda matrix, held, _: _all(matrix, held)[0]
    return _quotient(matrix, held, inverse, by_products, by_all)


def largest_eigenvalue(matrix: jax.Array, held: Held, inverse: jax.Array) -> jax.Array:
    """Return the largest eigenvalue () of a matrix in the free directions.

    The arguments are those of `smallest_eigenvalue`. The result is exact for up to 20 parameters,
    and has a relative error of about 1e-6 for more.
    """
    by_products = lambda matrix, held, _: _leading(matrix, held, OF_LARGEST)
    by_all = lambda matrix, held, _: _all(matrix, held)[1]
    return _quotient(matrix, held, inverse, by_products, by_all)


def _quotient(
    matrix: jax.Array,
    held: Held,
    inverse: jax.Array,
    by_products: Callable[..., jax.Array],
    by_all: Callable[..., jax.Array],
) -> jax.Array:
    """Return vᵀ A v for the eigenvector v of the first function, or of the second one."""
    inside = restrict(matrix, held)
    fixed = jax.lax.stop_gradient((inside, held, inverse))
    vector = jax.lax.cond(jnp.isfinite(jnp.trace(inverse)), by_products, by_all, *fixed)
    return jnp.vdot(matmul(vector, inside), vector, precision="highest")


def _leading(matrix: jax.Array, held: Held, most: float) -> jax.Array:
    """Return the eigenvector (p,) of the largest eigenvalue, with an error of `most`."""
    precise = lambda value, error: error <= most * jnp.abs(value)
    start = project(start_like(matrix[0]), *held)
    return leading(lambda vector: matmul(matrix, vector), start, precise)[2]


def _all(matrix: jax.Array, held: Held) -> jax.Array:
    """Return the eigenvectors (2, p) of the smallest and the largest eigenvalue."""
    # The other directions get an eigenvalue above all others, so that those of the free directions
    # come first.
    above = 2 * jnp.linalg.norm(matrix) + 1
    vectors = lapack.eigh((matrix + above * held.projector)[None])[1][0]
    return jnp.stack([vectors[:, 0], vectors[:, held.n_free - 1]], axis=0)
