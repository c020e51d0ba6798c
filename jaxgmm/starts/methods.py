"""The methods of initialization: functions in the table `METHODS`.

A method returns a start, or the assigned rows of which the M-step makes one, from a random key,
rows, the number k of components, the number of them that are present, the covariance of the rows,
the even scales of the data (see `even_scales`), and the number of lanes that are computed together
under vmap.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.robust_covariance import FAR_ROW
from ..data.rows import Rows
from ..families.family import Family
from ..internal.trees import where_each
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from .from_assignments import Assigned, assign_labels, assign_responsibilities

# Up to this many components, products with the rows' one-hot labels are quicker than sums by label.
FEW_COMPONENTS = 64


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


def _draw_distant_rows(
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


def finite_or_even(mixture: Mixture, even: Family) -> Mixture:
    """Return the mixture, with covariances that are not finite replaced by those of `even`."""
    is_finite = lambda leaf: jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))
    good = functools.reduce(operator.and_, map(is_finite, jax.tree.leaves(mixture.covariance)))
    if type(even) is not type(mixture.covariance):  # starts of this family have one of their own
        even = even.moved(even.zero_local())
    return Mixture(mixture.logits, mixture.means, where_each(good, mixture.covariance, even))


def _k_means_plus_plus(
    key: jax.Array, rows: Rows, k: int, wanted: jax.Array | int, covariance: jax.Array,
    even: Family, lanes: int,
) -> Assigned:  # fmt: skip
    _, labels = _draw_distant_rows(key, rows, k, wanted, covariance, odds=lambda squared: squared)
    if k > FEW_COMPONENTS:
        return assign_labels(rows, labels, k, even, lanes)
    one_hot = lambda block: jax.nn.one_hot(block, k, axis=0, dtype=rows.x.dtype)
    return assign_responsibilities(rows, one_hot, labels, even, lanes)


def _random_rows(
    key: jax.Array, rows: Rows, k: int, wanted: jax.Array | int, covariance: jax.Array,
    even: Family, lanes: int,
) -> Mixture:  # fmt: skip
    prior = priors.prior_of_covariance(covariance)
    chosen, _ = _draw_distant_rows(
        key, rows, k, wanted, covariance, odds=lambda squared: (squared > 0).astype(squared.dtype)
    )
    # The covariance of all rows, which every component gets.
    one, all_rows = even.select(jnp.zeros(1, jnp.int32)), jnp.zeros(len(rows.x), jnp.int32)
    whole = assign_labels(rows, all_rows, 1, one, lanes).mixture(prior)
    present = (jnp.arange(k) < wanted).astype(rows.x.dtype)
    logits = jnp.log(present / jnp.sum(present))
    covariances = whole.covariance.select(jnp.zeros(k, jnp.int32))
    return Mixture(logits, rows.x[chosen] - rows.center[None], covariances)


def _random_responsibilities(
    key: jax.Array, rows: Rows, k: int, wanted: jax.Array | int, covariance: jax.Array,
    even: Family, lanes: int,
) -> Assigned:  # fmt: skip
    # Numbers depend on the row and the component only, so that absent components and padding rows
    # do not change them.
    def draw(row: jax.Array, component: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, row), component)
        return jax.random.exponential(own, dtype=rows.x.dtype)

    def uniform_responsibilities(block: jax.Array) -> jax.Array:
        """Divide exponential variables by their sum, which is uniform on the simplex."""
        components = jnp.arange(k)
        drawn = jax.vmap(lambda c: jax.vmap(lambda row: draw(row, c))(block))(components)
        drawn = jnp.where((components < wanted)[:, None], drawn, 0)
        return drawn / jnp.sum(drawn, axis=0)[None]

    return assign_responsibilities(
        rows, uniform_responsibilities, jnp.arange(len(rows.x)), even, lanes
    )


METHODS: dict[str, Callable[..., Assigned | Mixture]] = {
    "k-means++": _k_means_plus_plus,
    "random-rows": _random_rows,
    "random-responsibilities": _random_responsibilities,
}
