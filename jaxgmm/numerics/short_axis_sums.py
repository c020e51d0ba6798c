"""Sums and maxima along a short axis, without reductions.

For a reduction XLA may call a library, which can be no part of what `as_one_cpu_function` makes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax


def fold(
    operation: Callable[[jax.Array, jax.Array], jax.Array], values: jax.Array, axis: int
) -> jax.Array:
    """Return all entries along an axis combined by an associative operation, as (…, 1, …).

    The two halves of the axis are combined entry by entry, until one entry is left.
    """
    size = values.shape[axis]
    if size == 1:
        return values
    part = functools.partial(jax.lax.slice_in_dim, values, axis=axis)
    half = size // 2
    folded = fold(operation, operation(part(0, half), part(half, 2 * half)), axis)
    return operation(folded, part(size - 1, size)) if size % 2 else folded


def reduce_by_library(operation: Any, values: jax.Array, axis: int) -> jax.Array:
    """Return what `fold` returns, by XLA's own reduction."""
    return operation.reduce(values, axis=axis, keepdims=True)
