"""The rows that k-means++ draws one after another, and the row that each other row is nearest to.

Source: Arthur & Vassilvitskii 2007, SODA, "k-means++: the advantages of careful seeding".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.robust_covariance import FAR_ROW
from ..data.rows import Rows


def draw_index(key: jax.Array, weights: jax.Array) -> jax.Array:
    """Return a random index with probability proportional to `weights` (n,).

    One random number is used: first to draw a block of about √n indices, then an index in it.
    Drawing a random number for each row would cost more than the rest of k-means++.
    """
    size = int(np.ceil(np.sqrt(len(weights))))
    blocks = jnp.pad(weights, (0, size**2 - len(weights))).reshape(size, size)
    totals = jnp.sum(blocks, axis=1)

    def descend(level: jax.Array, drawn: tuple[jax.Array, jax.Array]) -> Any:
        """Find where the cumulative sum exceeds `target`, and the part of `target` left there."""
        block, target = drawn
        choices = jnp.where(level == 0, totals, blocks[block])
        sums = jnp.cumsum(choices)
        place = jnp.minimum(jnp.sum((sums <= target).astype(jnp.int32)), size - 1)
        # By rounding, the place may be past the last one, or have probability 0.
        place = jnp.where(choices[place] > 0, place, jnp.argmax(choices)).astype(jnp.int32)
        return block * size + place, target - (sums - choices)[place]

    target = jax.random.uniform(key, dtype=weights.dtype) * jnp.sum(totals)
    return jax.lax.fori_loop(0, 2, descend, (jnp.int32(0), target))[0]


def draw_distant_rows(
    key: jax.Array,
    rows: Rows,
    k: int,
    wanted: jax.Array | int,
    covariance: jax.Array,
    odds: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Draw `wanted` ≤ k rows one after another, as k-means++ does.

    Each row is drawn with probability proportional to its weight times odds(squared distance to the
    nearest row drawn before), with features scaled to unit variance. Distances are limited to the
    largest distance of two rows that are not far from the rest of the data. Otherwise only rows
    that are far away would be drawn.

    Returns the indices (k,) of the drawn rows, and for each row the label (n,) of the nearest one.
    """
    variance = jnp.diagonal(covariance)
    scale = jax.lax.rsqrt(jnp.where(variance > 0, variance, 1))
    weight = jnp.ones(len(rows.x), rows.x.dtype) if rows.weight is None else rows.weight
    columns = rows.x.T
    d = len(columns)
    # If features are correlated, |z| is at most √d times the Mahalanobis distance of a row.
    farthest = 4 * d * (d**0.5 + FAR_ROW) ** 2

    def squared_distance(index: jax.Array) -> jax.Array:
        """Return the squared distance (n,) of each row to one row."""

        def add_feature(feature: jax.Array, total: jax.Array) -> jax.Array:
            difference = columns[feature] - columns[feature, index]
            return total + (difference * scale[feature]) ** 2

        return jax.lax.fori_loop(0, d, add_feature, jnp.zeros_like(weight))

    def draw(i: jax.Array, carry: Any) -> Any:
        chosen, nearest, labels = carry
        product = weight * jnp.where(i == 0, 1, odds(jnp.minimum(nearest, farthest)))
        # If every row is at distance 0, any row of positive weight is drawn.
        product = jnp.where(jnp.any(product > 0), product, weight)
        index = draw_index(jax.random.fold_in(key, i), product)
        distance = squared_distance(index)
        closer = distance < nearest
        return (
            chosen.at[i].set(index),
            jnp.where(closer, distance, nearest),
            jnp.where(closer, i, labels),
        )

    n = len(rows.x)
    start = jnp.zeros(k, jnp.int32), jnp.full(n, jnp.inf, rows.x.dtype), jnp.zeros(n, jnp.int32)
    chosen, _, labels = jax.lax.fori_loop(0, wanted, draw, start)
    return chosen, labels
