"""Products with stacks of lower-triangular matrices, which leave out most of the zeros.

The rows of each matrix are divided among a few panels. In the products of a panel, there are no
columns to the right of it, so that four panels take five eighths of the operations.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from .products import matmul
from .triangular import transpose

# There are up to so many panels, of no fewer rows than this: products with few columns are slow.
PANELS, LEAST_ROWS = 4, 32


def pay(c: int, d: int) -> bool:
    """Return whether panels take less time than whole matrices (c, d, d), as they do on CPUs."""
    return c > 1 and d >= 2 * LEAST_ROWS and jax.default_backend() == "cpu"


def times_columns(factor: jax.Array, x: jax.Array) -> jax.Array:
    """Return the products (c, d, b) of lower-triangular matrices (c, d, d) with x (d, b)."""
    c, d, _ = factor.shape
    product = lambda rows, end: matmul(factor[:, rows, :end].reshape(-1, end), x[:end])
    parts = [product(rows, end).reshape(c, -1, x.shape[1]) for rows, end in _panels(d)]
    return jnp.concatenate(parts, axis=1)


def lower_products(x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
    """Return the panels of the products x yᵀ, for x and y (c, d, b), for `join`."""
    product = lambda rows, end: matmul(x[:, rows], transpose(y[:, :end]))
    return tuple(product(*panel) for panel in _panels(x.shape[1]))


def join(parts: tuple[jax.Array, ...]) -> jax.Array:
    """Return the matrices (c, d, d) of these panels, with zeros in place of what they leave out."""
    d = parts[-1].shape[-1]
    widen = lambda part: jnp.pad(part, ((0, 0), (0, 0), (0, d - part.shape[-1])))
    return jnp.concatenate(list(map(widen, parts)), axis=1)


def _panels(d: int) -> Iterator[tuple[slice, int]]:
    """Yield the rows of each panel, and the number of its columns."""
    size = max(-(-d // PANELS), LEAST_ROWS)
    for start in range(0, d, size):
        end = min(start + size, d)
        yield slice(start, end), end
