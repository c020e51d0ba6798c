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

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..families.family import Family
from ..internal.trees import where_each
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from .from_assignments import Assigned, assign_labels, assign_responsibilities
from .k_means_plus_plus import draw_distant_rows

# Up to this many components, products with the rows' one-hot labels are quicker than sums by label.
FEW_COMPONENTS = 64


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
    _, labels = draw_distant_rows(key, rows, k, wanted, covariance, odds=lambda squared: squared)
    if k > FEW_COMPONENTS:
        return assign_labels(rows, labels, k, even, lanes)
    one_hot = lambda block: jax.nn.one_hot(block, k, axis=0, dtype=rows.x.dtype)
    return assign_responsibilities(rows, one_hot, labels, even, lanes)


def _random_rows(
    key: jax.Array, rows: Rows, k: int, wanted: jax.Array | int, covariance: jax.Array,
    even: Family, lanes: int,
) -> Mixture:  # fmt: skip
    prior = priors.prior_of_covariance(covariance)
    chosen, _ = draw_distant_rows(
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
