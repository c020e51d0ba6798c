"""Eigenvalues of maps on a part of the space of p numbers: those where `free` (p,) is 1 and not 0,
without the unit direction `shift` (p,)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import lapack
from .products import matmul

# Columns of a matrix that are taken at a time.
COLUMNS = 16
# Products with a map, and how well its spectral radius is known when they end, against its
# distance to 1.
LEAST_PRODUCTS, MOST_PRODUCTS = 10, 60
PRECISION = 0.01


def project(vector: jax.Array, free: jax.Array, shift: jax.Array) -> jax.Array:
    """The part of a vector (p,) in the free directions."""
    # Not a product with `free`: what is not free may be NaN.
    vector = jnp.where(free > 0, vector, 0)
    return vector - shift * jnp.vdot(shift, vector, precision="highest")


def columns_of(derivative, like: jax.Array) -> Any:
    """derivative(e) for every unit vector e (p,), along a leading axis, a few at a time."""
    p = len(like)
    size = min(COLUMNS, p)
    units = jnp.eye(-(-p // size) * size, p, dtype=like.dtype).reshape(-1, size, p)
    found = jax.lax.map(jax.vmap(derivative), units)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1])[:p], found)


def extremes(hessian: jax.Array, free: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The smallest and largest eigenvalue in the free directions."""
    each = jax.vmap(lambda row: project(row, free, shift))
    inside = each(each(hessian).T)
    inside = (inside + inside.T) / 2
    # The other directions get an eigenvalue above all, so that the free ones come first.
    above = 2 * jnp.linalg.norm(inside) + 1
    outside = jnp.diag(1 - free) + shift[:, None] * shift[None]
    (values,) = lapack.eigvalsh((inside + above * outside)[None])
    count = jnp.sum(free).astype(jnp.int32) - 1
    return values[0], values[count - 1]


def start_like(like: jax.Array) -> jax.Array:
    """A fixed direction with something of every eigenvector, also of those that break a tie
    between components."""
    return jnp.asarray(np.random.default_rng(0).normal(size=like.shape), like.dtype)


def spectral_radius(product, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest |eigenvalue| of a symmetric map (else, of its symmetric part) by the Lanczos
    method with full orthogonalization, and the norm of its residual, which bounds its distance to
    an eigenvalue."""
    size = min(MOST_PRODUCTS, len(start))
    dtype, eps = start.dtype, jnp.finfo(start.dtype).eps
    basis = jnp.zeros((size + 1, len(start)), dtype).at[0].set(start / jnp.linalg.norm(start))
    rows = jnp.arange(size)

    def unfinished(loop):
        done, _, _, value, error = loop
        precise = error <= PRECISION * jnp.abs(1 - jnp.abs(value))
        return (done < size) & ~((done >= LEAST_PRODUCTS) & precise) & ~(error <= eps)

    def extend(loop):
        done, basis, inner, _, _ = loop
        image = product(basis[done])
        rounding = 100 * eps * jnp.linalg.norm(image)
        along = matmul(basis, image)
        image = image - matmul(along, basis)
        again = matmul(basis, image)
        image, along = image - matmul(again, basis), along + again
        left = jnp.linalg.norm(image)
        left = jnp.where(left > rounding, left, 0)  # else the space is complete
        basis = basis.at[done + 1].set(image / jnp.where(left > 0, left, 1))
        inner = inner.at[:, done].set(along.at[done + 1].set(left))
        known = (rows <= done)[:, None] & (rows <= done)[None]
        square = jnp.where(known, inner[:size], 0)
        values, vectors = (found[0] for found in lapack.eigh((square + square.T)[None] / 2))
        top = jnp.argmax(jnp.abs(values))
        return done + 1, basis, inner, values[top], left * jnp.abs(vectors[done, top])

    nothing = jnp.zeros((size + 1, size), dtype)
    begin = (0, basis, nothing, jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype))
    _, _, _, value, error = jax.lax.while_loop(unfinished, extend, begin)
    return jnp.abs(value), error
