"""Starts for rows some of which have labels, so that components keep their numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Columns
from ..data.rows import Rows
from ..families.family import Family
from .from_assignments import Assigned, assign_labels
from .k_means_plus_plus import draw_index


def allowed_components(packed: jax.Array, columns: Columns, k: int) -> jax.Array:
    """Return which of k components each packed row (n, width) may come from, as (n, k)."""
    block = columns.split(packed.T)
    return -jnp.inf < block.add_odds(jnp.zeros((k, len(packed)), packed.dtype)).T


def assign_with_labels(
    key: jax.Array,
    rows: Rows,
    allowed: jax.Array,
    k: int,
    wanted: jax.Array | int,
    covariance: jax.Array,
    even: Family,
    lanes: int,
    by_distance: bool,
) -> Assigned:
    """Assign rows to components so that component c has the rows that only c is allowed to have.

    Components with such rows begin at their mean. Those without are drawn one after another among
    the other rows that they may have, as k-means++ does. Then each row goes to the nearest of the
    components that it may come from.

    Args:
      key: a random key.
      rows: rows without gaps.
      allowed: (n, k) which components each row may come from.
      k: the number of components, of which `wanted` are present.
      wanted: see k.
      covariance: (d, d) of the rows.
      even: even scales of the data, see `even_scales`.
      lanes: the number of starts that are computed together under vmap.
      by_distance: whether distant rows are drawn more often, or all rows equally often.
    """
    variance = jnp.diagonal(covariance)
    scale = jax.lax.rsqrt(jnp.where(variance > 0, variance, 1))
    weight = jnp.ones(len(rows.x), rows.x.dtype) if rows.weight is None else rows.weight
    z = (rows.x - rows.center[None]) * scale[None]
    present = jnp.arange(k) < wanted
    allowed = allowed & present[None]
    single = (jnp.sum(allowed, axis=1) == 1) & (weight > 0)
    own = jnp.where(single[:, None] & allowed, weight[:, None], 0)
    mass = jnp.sum(own, axis=0)
    means = jnp.sum(own[:, :, None] * z[:, None, :], axis=0)
    means = means / jnp.where(mass > 0, mass, 1)[:, None]
    placed = mass > 0

    def square_to(mean: jax.Array) -> jax.Array:
        return jnp.sum((z - mean[None]) ** 2, axis=1)

    squares = jnp.where(placed[:, None], jax.vmap(square_to)(means), jnp.inf)

    def place(c: jax.Array, state: Any) -> Any:
        means, squares, placed = state
        nearest = jnp.min(squares, axis=0)
        odds = nearest if by_distance else (nearest > 0).astype(nearest.dtype)
        odds = jnp.where(jnp.any(placed), odds, 1)
        may = weight * allowed[:, c].astype(weight.dtype)
        product = jnp.where(single, 0, may * jnp.where(jnp.isfinite(odds), odds, 1))
        product = jnp.where(jnp.any(product > 0), product, may)
        product = jnp.where(jnp.any(product > 0), product, weight)
        index = draw_index(jax.random.fold_in(key, c), product)
        here = placed[c] | ~present[c]
        mean = jnp.where(here, means[c], z[index])
        square = jnp.where(here, squares[c], square_to(mean))
        return means.at[c].set(mean), squares.at[c].set(square), placed.at[c].set(present[c])

    _, squares, _ = jax.lax.fori_loop(0, k, place, (means, squares, placed))
    labels = jnp.argmin(jnp.where(allowed.T, squares, jnp.inf), axis=0)
    return assign_labels(rows, labels, k, even, lanes)
