"""Eigenvalues of linear maps on a subspace of the space of p numbers.

The subspace consists of the free directions: coordinates for which `free` (p,) is 1 and not 0,
orthogonal to the orthonormal rows of `shift` (g, p).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import lapack
from .products import matmul

# Columns of a matrix that are computed at a time.
COLUMNS = 16
# The largest number of products with a map, and how many are made before their result is looked at
# again, which takes as long as some products.
MOST_PRODUCTS, PRODUCTS = 60, 20
# The error of a spectral radius relative to its distance to 1 at which the products end.
PRECISION = 0.01


class Held(NamedTuple):
    """The directions of the space that are not free.

    Attributes:
      free: (p,) 1 for coordinates that are free, and 0 for the others.
      shift: (g, p) orthonormal rows of directions that are not free either.
    """

    free: jax.Array
    shift: jax.Array

    @property
    def projector(self) -> jax.Array:
        """The projector (p, p) onto these directions."""
        return jnp.diag(1 - self.free) + matmul(self.shift.T, self.shift)

    @property
    def n_free(self) -> jax.Array:
        """The number () of dimensions of the space of free directions."""
        return n_free(self.free, self.shift)


def project(vector: jax.Array, free: jax.Array, shift: jax.Array) -> jax.Array:
    """Project a vector (p,) onto the free directions."""
    # Not a product with `free`, because other coordinates may be NaN.
    vector = jnp.where(free > 0, vector, 0)
    return vector - matmul(matmul(shift, vector), shift)


def restrict(matrix: jax.Array, held: Held) -> jax.Array:
    """Return P A P (p, p) for a symmetric matrix, and the projector P onto the free directions."""
    project_rows = lambda rows: rows - matmul(matmul(rows, held.shift.T), held.shift)
    used = (held.free > 0)[:, None] & (held.free > 0)[None]
    return project_rows(project_rows(jnp.where(used, matrix, 0)).T)


def columns_of(
    derivative: Callable[[jax.Array], Any], directions: jax.Array, at_a_time: int = COLUMNS
) -> Any:
    """Return derivative(v) for every row v of `directions` (c, p), along a leading axis.

    Args:
      derivative: maps a vector (p,) to a pytree of vectors.
      directions: the unit vectors, for a whole matrix.
      at_a_time: how many are computed together.
    """
    c, p = directions.shape
    size = min(at_a_time, c)
    padded = jnp.pad(directions, ((0, -c % size), (0, 0))).reshape(-1, size, p)
    columns = jax.lax.map(jax.vmap(derivative), padded)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1])[:c], columns)


def n_free(free: jax.Array, shift: jax.Array) -> jax.Array:
    """Return the number of dimensions of the space of free directions."""
    # Rows of `shift` among the coordinates that are not free take nothing away.
    taken = jnp.sum(shift**2 * free[None])
    return jnp.round(jnp.sum(free) - taken).astype(jnp.int32)


def scaled_curvature(
    hessian: jax.Array, information: jax.Array, free: jax.Array, shift: jax.Array
) -> jax.Array:
    """Return C^(−½) H C^(−½) (p, p), for a Hessian H and an information C.

    It is 0 in directions that are not free, and in those without information.
    """
    project_rows = jax.vmap(lambda row: project(row, free, shift))
    inside = project_rows(project_rows(information).T)
    values, vectors = (part[0] for part in lapack.eigh((inside + inside.T)[None] / 2))
    least = jnp.sqrt(jnp.finfo(values.dtype).eps) * jnp.max(jnp.abs(values))
    root = jnp.where(values > least, jax.lax.rsqrt(jnp.where(values > least, values, 1)), 0)
    scaling = matmul(vectors * root[None], vectors.T)
    curvature = project_rows(project_rows(hessian).T)
    return matmul(matmul(scaling, curvature), scaling)


def start_like(like: jax.Array) -> jax.Array:
    """Return a fixed start vector that has a part of every eigenvector.

    That includes eigenvectors which make equal components different.
    """
    return jnp.asarray(np.random.default_rng(0).normal(size=like.shape), like.dtype)


def spectral_radius(
    product: Callable[[jax.Array], jax.Array], start: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Compute the largest |eigenvalue| of a symmetric map, and a bound on its error.

    If the map is not symmetric, the result is that of its symmetric part. See `leading`, whose
    arguments these are.
    """
    precise = lambda value, error: error <= PRECISION * jnp.abs(1 - jnp.abs(value))
    value, error, _ = leading(product, start, precise)
    return jnp.abs(value), error


def leading(
    product: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    precise: Callable[[jax.Array, jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compute the eigenvalue with the largest absolute value by the Lanczos method.

    The vectors are fully orthogonalized, so that the result is exact after p products.

    Args:
      product: a symmetric map, of vectors (p,).
      start: the first vector (p,).
      precise: whether an eigenvalue () with this error () needs no more products.

    Returns:
      The eigenvalue (), a bound () on its distance to an eigenvalue (the norm of the difference
      between the eigenvector's image and its multiple), and the eigenvector (p,), of length 1.
    """
    size = min(MOST_PRODUCTS, -(-len(start) // PRODUCTS) * PRODUCTS)
    dtype, eps = start.dtype, jnp.finfo(start.dtype).eps
    basis = jnp.zeros((size + 1, len(start)), dtype).at[0].set(start / jnp.linalg.norm(start))
    rows = jnp.arange(size)

    def unfinished(loop):
        done, _, _, value, error, _ = loop
        exact = error <= eps * jnp.maximum(1, jnp.abs(value))
        return (done < size) & ~((done > 0) & (exact | precise(value, error)))

    def extend(done, basis_and_inner):
        basis, inner = basis_and_inner
        image = product(basis[done])
        rounding = 100 * eps * jnp.linalg.norm(image)
        along = matmul(basis, image)
        image = image - matmul(along, basis)
        again = matmul(basis, image)
        image, along = image - matmul(again, basis), along + again
        length = jnp.linalg.norm(image)
        length = jnp.where(length > rounding, length, 0)  # 0 if the Krylov space is complete
        basis = basis.at[done + 1].set(image / jnp.where(length > 0, length, 1))
        return basis, inner.at[:, done].set(along.at[done + 1].set(length))

    def look_again(loop):
        done, basis, inner, *_ = loop
        basis, inner = jax.lax.fori_loop(done, done + PRODUCTS, extend, (basis, inner))
        done = done + PRODUCTS
        known = (rows < done)[:, None] & (rows < done)[None]
        square = jnp.where(known, inner[:size], 0)
        values, vectors = (part[0] for part in lapack.eigh((square + square.T)[None] / 2))
        top = jnp.argmax(jnp.abs(values))
        weights = vectors[:, top]
        error = inner[done, done - 1] * jnp.abs(weights[done - 1])
        return done, basis, inner, values[top], error, weights

    zeros = jnp.zeros((size + 1, size), dtype)
    begin = (0, basis, zeros, jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype), zeros[0])
    _, basis, _, value, error, weights = jax.lax.while_loop(unfinished, look_again, begin)
    return value, error, matmul(weights, basis[:size])
