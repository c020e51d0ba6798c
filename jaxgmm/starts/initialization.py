"""Starts: mixtures from which a fit begins."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..data import row_checks
from ..data.arrays import ArrayData
from ..data.open_data import open_data, pad_array
from ..data.robust_covariance import covariance_of
from ..data.rows import Rows, sample
from ..families.family import Family
from ..families.registry import family_class
from ..internal import checks
from ..mixture.mixture import Mixture
from .from_assignments import even_scales
from .methods import METHODS, finite_or_even


def start(
    key, rows: Rows, covariance, k: int, wanted, family: type[Family], method: str, lanes=1
) -> Mixture:
    """A start of `wanted` components, the rest of k being absent, in the rows' coordinates, for
    rows with this covariance; from a sample of many rows. The same for every k ≥ wanted, up to
    rounding. `lanes` are made side by side, under vmap."""
    rows, even = rows.subsample(), even_scales(family, covariance, k)
    made = METHODS[method](key, rows, k, wanted, family, covariance, even, lanes)
    return finite_or_even(made, even)


def split(mixture: Mixture, component: jax.Array) -> Mixture:
    """The mixture with a component split in two along its longest axis, one half in the first
    absent place; each half keeps the covariance."""
    frame, slot = mixture.frame, jnp.argmin(mixture.present)

    def towards_longest(_, axes):
        axes = frame.unwhiten(frame.unwhiten_transposed(axes))
        return axes / jnp.max(jnp.abs(axes), axis=-1, keepdims=True)

    # Numbers without a pattern, so that no axis is orthogonal to them.
    axes = jnp.sin(1 + jnp.arange(mixture.means.size, dtype=mixture.dtype) ** 2)
    axes = axes.reshape(mixture.means.shape)
    axes = jax.lax.fori_loop(0, 10, towards_longest, axes)
    length = jnp.sqrt(jnp.sum(frame.whiten(axes) ** 2, axis=-1, keepdims=True))
    apart = (axes / length)[component]
    places = jnp.arange(mixture.n_components)
    one, other = places == component, places == slot
    aside = (other.astype(apart.dtype) - one.astype(apart.dtype))[:, None] * apart[None] / 2
    source = jnp.where(other, component, places)
    halved = jnp.where(one | other, np.log(2).astype(apart.dtype), 0)
    return Mixture(
        mixture.logits[source] - halved,
        mixture.means[source] + aside,
        mixture.covariance.taken(source),
    )


def _start(rows: Rows, key, covariance, *, k: int, family, method: str) -> Mixture:
    """A start in the data's coordinates, for data of this covariance."""
    rows = rows.about_mean()
    return start(key, rows, covariance, k, k, family, method).translate(rows.center)


def initialize(
    key: jax.Array, x, n_components: int, *, family: str = "full", method: str = "k-means++",
    weight=None,
) -> Mixture:  # fmt: skip
    """A start for `fit`.

    Args:
      key: a JAX random key.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`. Of more than 65536 rows, as
        many stand for all, one drawn from each of 65536 strata of neighbors and weighted by how
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
    data = open_data(x, weight, devices=jax.local_devices()[:1], operands=key, warn_of_columns=None)
    if not checks.traced(data):
        row_checks.extent_fits(*data.extent())
        row_checks.enough_distinct_in(data.pieces(), k)
    covariance = data.compute_once(covariance_of)
    if not isinstance(data, ArrayData):
        places, strata = sample(data.n)
        x, weight = data.rows_at(places)
        weight = strata if weight is None else strata * np.asarray(weight)
        data = pad_array(x, weight.astype(data.dtype), data.dtype)
    return data.compute(_start, key, covariance, k=k, family=kind, method=method)
