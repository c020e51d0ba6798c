"""Where fits start: a method is a function in the table `METHODS`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..data.robust_covariance import FAR
from ..data.rows import Rows
from ..families.family import Family
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from .from_assignments import mixture_of_responsibilities


def _draw(key, chance: jax.Array) -> jax.Array:
    """An index with probability ∝ chance (n,), from one random number: first a block of about √n,
    then a place in it. (A number for each row costs more than all else that k-means++ does.)"""
    size = int(np.ceil(np.sqrt(len(chance))))
    blocks = jnp.pad(chance, (0, size**2 - len(chance))).reshape(size, size)
    totals = jnp.sum(blocks, axis=1)

    def pick(level, drawn):
        """The place in which the running sum passes `at`, and what is left of `at` there."""
        block, at = drawn
        chances = jnp.where(level == 0, totals, blocks[block])
        sums = jnp.cumsum(chances)
        place = jnp.minimum(jnp.sum((sums <= at).astype(jnp.int32)), size - 1)
        # Rounding can lead past the last place, or to one of no chance.
        place = jnp.where(chances[place] > 0, place, jnp.argmax(chances)).astype(jnp.int32)
        return block * size + place, at - (sums - chances)[place]

    at = jax.random.uniform(key, dtype=chance.dtype) * jnp.sum(totals)
    return jax.lax.fori_loop(0, 2, pick, (jnp.int32(0), at))[0]


def _spread_rows(key, rows: Rows, k: int, wanted, covariance, odds):
    """`wanted` ≤ k rows drawn one after another, each with probability ∝ weight · odds(squared
    distance to the nearest row drawn before, features brought to unit variance); and each row's
    nearest of them. Distances count up to what two rows of data in which none is far can be apart,
    so that rows far away are not all that is drawn.

    Returns the indices (k,) and labels (n,)."""
    variance = jnp.diagonal(covariance)
    scale = jax.lax.rsqrt(jnp.where(variance > 0, variance, 1))
    weight = jnp.ones(len(rows.x), rows.x.dtype) if rows.weight is None else rows.weight
    columns = rows.x.T
    d = len(columns)
    # Of correlated features |z| ≤ √d times a row's Mahalanobis distance.
    farthest = 4 * d * (d**0.5 + FAR) ** 2

    def squared_distance(index):
        """Of each row to that one: feature by feature, all rows at once."""

        def along(feature, total):
            moved = columns[feature] - columns[feature, index]
            return total + (moved * scale[feature]) ** 2

        return jax.lax.fori_loop(0, d, along, jnp.zeros_like(weight))

    def draw(i, carry):
        chosen, nearest, labels = carry
        chance = weight * jnp.where(i == 0, 1, odds(jnp.minimum(nearest, farthest)))
        # Once every row is at distance 0 there is nothing new to draw: any row of weight will do.
        chance = jnp.where(jnp.any(chance > 0), chance, weight)
        index = _draw(jax.random.fold_in(key, i), chance)
        distance = squared_distance(index)
        closer = distance < nearest
        labels = jnp.where(closer, i, labels)
        return (
            chosen.at[i].set(index),
            jnp.where(closer, distance, nearest),
            labels,
        )

    n = len(rows.x)
    start = jnp.zeros(k, jnp.int32), jnp.full(n, jnp.inf, rows.x.dtype), jnp.zeros(n, jnp.int32)
    chosen, _, labels = jax.lax.fori_loop(0, wanted, draw, start)
    return chosen, labels


def finite_or_even(mixture: Mixture, even: Family) -> Mixture:
    """The mixture, with the data's own scale wherever a covariance is not finite."""
    good = jnp.all(jnp.isfinite(mixture.frame.log_scales), axis=-1)
    pick = lambda a, b: jnp.where(good[:, None], a, b)
    return Mixture(mixture.logits, mixture.means, jax.tree.map(pick, mixture.covariance, even))


def _k_means_plus_plus(key, rows, k, wanted, family, covariance, even, lanes):
    prior = priors.prior_of_covariance(covariance)
    _, labels = _spread_rows(key, rows, k, wanted, covariance, odds=lambda squared: squared)
    hot = lambda block: jax.nn.one_hot(block, k, axis=0, dtype=rows.x.dtype)
    return mixture_of_responsibilities(family, rows, hot, k, labels, prior, even, lanes)


def _random_rows(key, rows, k, wanted, family, covariance, even, lanes):
    prior = priors.prior_of_covariance(covariance)
    chosen, _ = _spread_rows(
        key, rows, k, wanted, covariance, odds=lambda squared: (squared > 0).astype(squared.dtype)
    )
    present = (jnp.arange(k) < wanted).astype(rows.x.dtype)
    share = lambda x: jnp.broadcast_to(present[:, None], (k, len(x)))
    everything = mixture_of_responsibilities(
        family, rows, share, k, rows.x[:, 0], prior, even, lanes
    )
    return Mixture(everything.logits, rows.x[chosen] - rows.center[None], everything.covariance)


def _random_responsibilities(key, rows, k, wanted, family, covariance, even, lanes):
    prior = priors.prior_of_covariance(covariance)

    def one(row, component):
        own = jax.random.fold_in(jax.random.fold_in(key, row), component)
        return jax.random.exponential(own, dtype=rows.x.dtype)

    def share(block):
        """Exponentials over their sum are uniform shares; drawn by row and component, so that
        absent components change nothing."""
        components = jnp.arange(k)
        drawn = jax.vmap(lambda c: jax.vmap(lambda row: one(row, c))(block))(components)
        drawn = jnp.where((components < wanted)[:, None], drawn, 0)
        return drawn / jnp.sum(drawn, axis=0)[None]

    return mixture_of_responsibilities(
        family, rows, share, k, jnp.arange(len(rows.x)), prior, even, lanes
    )


METHODS = {
    "k-means++": _k_means_plus_plus,
    "random-rows": _random_rows,
    "random-responsibilities": _random_responsibilities,
}
