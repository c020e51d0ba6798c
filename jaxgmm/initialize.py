"""Where fits start: a method is a function in the table `METHODS`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from . import checks, row_checks
from . import prior as priors
from .covariance import Covariance
from .data import ArrayData, held, opened
from .families import family_class
from .given import even_scales, given_shares
from .mixture import Mixture
from .robust_covariance import FAR, covariance_of
from .rows import Rows, sample


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


def _finite_or_even(mixture: Mixture, even: Covariance) -> Mixture:
    """The mixture, with the data's own scale wherever a covariance is not finite."""
    good = jnp.all(jnp.isfinite(mixture.covariance.log_scales(mixture.n_features)), axis=-1)
    pick = lambda a, b: jnp.where(good[:, None], a, b)
    return Mixture(mixture.logits, mixture.means, jax.tree.map(pick, mixture.covariance, even))


def _k_means_plus_plus(key, rows, k, wanted, family, covariance, even, lanes):
    prior = priors.default(covariance)
    _, labels = _spread_rows(key, rows, k, wanted, covariance, odds=lambda squared: squared)
    hot = lambda block: jax.nn.one_hot(block, k, axis=0, dtype=rows.x.dtype)
    return given_shares(family, rows, hot, k, labels, prior, even, lanes)


def _random_rows(key, rows, k, wanted, family, covariance, even, lanes):
    prior = priors.default(covariance)
    chosen, _ = _spread_rows(
        key, rows, k, wanted, covariance, odds=lambda squared: (squared > 0).astype(squared.dtype)
    )
    present = (jnp.arange(k) < wanted).astype(rows.x.dtype)
    share = lambda x: jnp.broadcast_to(present[:, None], (k, len(x)))
    everything = given_shares(family, rows, share, k, rows.x[:, 0], prior, even, lanes)
    return Mixture(everything.logits, rows.x[chosen] - rows.centre[None], everything.covariance)


def _random_responsibilities(key, rows, k, wanted, family, covariance, even, lanes):
    prior = priors.default(covariance)

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

    return given_shares(family, rows, share, k, jnp.arange(len(rows.x)), prior, even, lanes)


METHODS = {
    "k-means++": _k_means_plus_plus,
    "random-rows": _random_rows,
    "random-responsibilities": _random_responsibilities,
}


def start(
    key, rows: Rows, covariance, k: int, wanted, family: type[Covariance], method: str, lanes=1
) -> Mixture:
    """A start of `wanted` components, the rest of k being absent, in the rows' coordinates, for
    rows with this covariance; from a sample of many rows. The same for every k ≥ wanted, up to
    rounding. `lanes` are made side by side, under vmap."""
    rows, even = rows.sampled(), even_scales(family, covariance, k)
    made = METHODS[method](key, rows, k, wanted, family, covariance, even, lanes)
    return _finite_or_even(made, even)


def split(mixture: Mixture, component: jax.Array) -> Mixture:
    """The mixture with a component split in two along its longest axis, one half in the first
    absent place; each half keeps the covariance."""
    covariance, slot = mixture.covariance, jnp.argmin(mixture.present)

    def towards_longest(_, axes):
        axes = covariance.unwhiten(covariance.unwhiten_transposed(axes))
        return axes / jnp.max(jnp.abs(axes), axis=-1, keepdims=True)

    # Numbers without a pattern, so that no axis is orthogonal to them.
    axes = jnp.sin(1 + jnp.arange(mixture.means.size, dtype=mixture.dtype) ** 2)
    axes = axes.reshape(mixture.means.shape)
    axes = jax.lax.fori_loop(0, 10, towards_longest, axes)
    length = jnp.sqrt(jnp.sum(covariance.whiten(axes) ** 2, axis=-1, keepdims=True))
    apart = (axes / length)[component]
    places = jnp.arange(mixture.n_components)
    one, other = places == component, places == slot
    aside = (other.astype(apart.dtype) - one.astype(apart.dtype))[:, None] * apart[None] / 2
    source = jnp.where(other, component, places)
    halved = jnp.where(one | other, np.log(2).astype(apart.dtype), 0)
    return Mixture(
        mixture.logits[source] - halved, mixture.means[source] + aside, covariance.taken(source)
    )


def _start(rows: Rows, key, covariance, *, k: int, family, method: str) -> Mixture:
    """A start in the data's coordinates, for data of this covariance."""
    rows = rows.about_mean()
    return start(key, rows, covariance, k, k, family, method).translate(rows.centre)


def initialize(
    key: jax.Array, x, n_components: int, *, family: str = "full", method: str = "k-means++",
    weight=None,
) -> Mixture:  # fmt: skip
    """A start for `fit`.

    Args:
      key: a JAX random key.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`. Of more than 65536 rows, as
        many stand for all, one drawn from each of 65536 strata of neighbours and weighted by how
        many they are: the same for every key.
      n_components: k, a plain whole number.
      family: a name in `FAMILIES`.
      method: "k-means++" draws k rows far apart, features brought to unit variance, and makes one
        M-step from each row's nearest of them (Arthur & Vassilvitskii 2007, sec. 2.2);
        "random-rows" puts the means on k random rows, with even weights and the data's covariance;
        "random-responsibilities" makes one M-step from uniform random responsibilities (n, k).
      weight: (n,) row weights, or None for ones; a row of weight 0 is never drawn.

    Returns:
      A finite mixture in the dtype of x. M-steps use the default prior, so that a component on few
      rows has a covariance. No two means drawn are equal while distinct rows remain. Works under
      jit and vmap, over keys, data sets and weights; derivatives are those at the rows drawn.

    Raises:
      ValueError: for an argument that is not as said; for more components than distinct rows.

    Given responsibilities or labels: `from_responsibilities`, `from_labels`.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> jaxgmm.initialize(jax.random.key(1), x, 3, family="diagonal")
    Mixture(diagonal, K = 3, d = 2, float32)
    """
    checks.random_key(key)
    checks.choice(method, "method", METHODS)
    kind = family_class(family)
    k = checks.whole(n_components, "n_components", 1)
    # A start is rough: what is fitted from it is judged.
    data = opened(x, weight, devices=jax.local_devices()[:1], beside=key, judge=None)
    if not checks.traced(data):
        row_checks.extent_fits(*data.extent())
        row_checks.enough_distinct_in(data.pieces(), k)
    covariance = data.compute_once(covariance_of)
    if not isinstance(data, ArrayData):
        places, strata = sample(data.n)
        x, weight = data.rows_at(places)
        weight = strata if weight is None else strata * np.asarray(weight)
        data = held(x, weight.astype(data.dtype), data.dtype)
    return data.compute(_start, key, covariance, k=k, family=kind, method=method)
