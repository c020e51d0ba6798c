"""Logarithms that stay accurate near 1, and exponentials that stay accurate near 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Within this distance of 1, a logarithm is computed from a series. With these numbers of terms its
# truncation error is less than rounding.
NEAR_ONE = 0.5
SERIES_TERMS = {"float32": 7, "float64": 15}
EXPONENTIAL_TERMS = {"float32": 9, "float64": 16}


def logarithm_and_excess(a: jax.Array, b: jax.Array | float = 1.0) -> tuple[jax.Array, jax.Array]:
    """Return log t and t − 1 − log t for positive t = a / b.

    Both have full relative accuracy even if a is near b, and the second one is never negative.
    """
    u = (a - b) / b  # a − b is exact if a is near b
    s = u / (2 + u)
    tail, square = jnp.zeros_like(s), s * s
    for term in range(SERIES_TERMS[str(s.dtype)], 0, -1):
        tail = square * (1 / (2 * term + 1) + tail)
    far = jnp.log(a / b)
    close = jnp.abs(u) < NEAR_ONE
    excess = jnp.where(close, s * (u - 2 * tail), u - far)
    return jnp.where(close, u - excess, far), excess


def exponential_excess(logarithm: jax.Array) -> jax.Array:
    """Return t − 1 − log t for t = e^l, with full relative accuracy even if l is near 0."""
    tail = jnp.zeros_like(logarithm)
    for term in range(EXPONENTIAL_TERMS[str(logarithm.dtype)], 2, -1):
        tail = logarithm / term * (1 + tail)
    close = jnp.abs(logarithm) < NEAR_ONE
    far = jnp.expm1(logarithm) - logarithm
    return jnp.where(close, logarithm**2 / 2 * (1 + tail), far)
