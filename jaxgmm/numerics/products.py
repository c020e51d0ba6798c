"""Matrix products in full precision."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST
SMALL_MATRIX = 6


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full precision: the default on recent accelerators rounds to 10 bits."""
    if b.ndim == 3 and len(b) == 1:  # one matrix for a whole stack is one product
        b = b[0]
    small = a.ndim > 2 and b.ndim > 2 and max(*a.shape[-2:], b.shape[-1]) <= SMALL_MATRIX
    return _stacked(a, b) if small else jnp.matmul(a, b, precision=HIGHEST)


def _stacked(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of stacks of small matrices as a sum of outer products: all matrices at once,
    where libraries call a routine for each (4 µs against 90 for 192 products of 4×4)."""
    terms = (a[..., :, j, None] * b[..., None, j, :] for j in range(a.shape[-1]))
    return functools.reduce(jnp.add, terms)
