"""`initialize`, and the starts of a sweep."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data import row_checks
from ..data.arrays import ArrayData
from ..data.distinct_rows import enough_distinct_in
from ..data.open_data import open_data, pad_array
from ..data.row_counts import sample
from ..data.rows import Rows
from ..families.family import Family
from ..families.registry import family_class
from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.data_covariance import data_covariance, fill_rows
from ..objective.prior import prior_of_covariance
from .from_assignments import Assigned, even_scales, work_of_start
from .labeled import allowed_components, assign_with_labels
from .methods import METHODS, finite_or_even


def assign(
    key: jax.Array,
    rows: Rows,
    covariance: jax.Array,
    k: int,
    wanted: jax.Array | int,
    family: type[Family],
    method: str,
    lanes: int = 1,
    filled: jax.Array | None = None,
) -> Assigned | Mixture:
    """Return what `finish` makes a start of. Arguments are those of `start`."""
    rows, even = rows.subsample(), even_scales(family, covariance, k)
    columns, packed = rows.columns, rows.x
    if filled is not None:
        rows = dataclasses.replace(rows, x=filled, columns=None)
    elif columns is not None:
        rows = fill_rows(rows)
    if columns is not None and columns.odds:
        allowed = allowed_components(packed, columns, k)
        by_distance = method == "k-means++"
        return assign_with_labels(
            key, rows, allowed, k, wanted, covariance, even, lanes, by_distance
        )
    return METHODS[method](key, rows, k, wanted, covariance, even, lanes)


def start(
    key: jax.Array,
    rows: Rows,
    covariance: jax.Array,
    k: int,
    wanted: jax.Array | int,
    family: type[Family],
    method: str,
    lanes: int = 1,
    filled: jax.Array | None = None,
) -> Mixture:
    """Return a start with `wanted` present components out of k, in the rows' coordinates.

    `covariance` (d, d) is that of the rows. A sample is used if there are many rows. For every
    k ≥ wanted, the start is the same up to rounding. `lanes` is the number of starts that are
    computed together under vmap. Missing values are filled by the likeliest Gaussian, unless the
    `filled` features (n, d) are known. Components keep the numbers that labels give them.
    """
    found = assign(key, rows, covariance, k, wanted, family, method, lanes, filled)
    return finish(found, family, covariance)


def finish(found: Assigned | Mixture, family: type[Family], covariance: jax.Array) -> Mixture:
    """Return the start that the M-step makes of what `assign` returned."""
    if isinstance(found, Assigned):
        found = found.mixture(prior_of_covariance(covariance))
    return finite_or_even(found, even_scales(family, covariance, found.n_components))


def split(mixture: Mixture, component: jax.Array) -> Mixture:
    """Return the mixture with one component split in two along its longest axis.

    One half takes the place of the first absent component. Both halves keep the covariance.
    """
    frame, slot = mixture.frame, jnp.argmin(mixture.present)

    def iterate_power(_: Any, axes: jax.Array) -> jax.Array:
        axes = frame.unwhiten(frame.unwhiten_transposed(axes))
        return axes / jnp.max(jnp.abs(axes), axis=-1, keepdims=True)

    # Irregular numbers, so that no axis is orthogonal to them.
    axes = jnp.sin(1 + jnp.arange(mixture.means.size, dtype=mixture.dtype) ** 2)
    axes = axes.reshape(mixture.means.shape)
    axes = jax.lax.fori_loop(0, 10, iterate_power, axes)
    length = jnp.sqrt(jnp.sum(frame.whiten(axes) ** 2, axis=-1, keepdims=True))
    axis = (axes / length)[component]
    places = jnp.arange(mixture.n_components)
    is_first, is_second = places == component, places == slot
    side = is_second.astype(axis.dtype) - is_first.astype(axis.dtype)
    source = jnp.where(is_second, component, places)
    log_halving = jnp.where(is_first | is_second, np.log(2).astype(axis.dtype), 0)
    return Mixture(
        mixture.logits[source] - log_halving,
        mixture.means[source] + side[:, None] * axis[None] / 2,
        mixture.covariance.select(source),
    )


def _start(
    rows: Rows,
    key: jax.Array,
    covariance: jax.Array,
    *,
    k: int,
    family: type[Family],
    method: str,
) -> Mixture:
    """Return a start in the data's coordinates, for rows with this covariance."""
    rows = rows.about_mean()
    return start(key, rows, covariance, k, k, family, method).translate(rows.center)


def initialize(
    key: jax.Array,
    x: Any,
    n_components: int,
    *,
    family: str | type[Family] = "full",
    method: str = "k-means++",
    weight: ArrayLike | None = None,
) -> Mixture:
    """Return a random initial mixture, from which `fit` can start.

    If you know responsibilities or labels, use `from_responsibilities` or `from_labels` instead.

    Args:
      key: a JAX random key.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`. If there are more than 65536
        rows, a stratified sample of 65536 rows is used: one row from each of 65536 intervals of
        consecutive rows, weighted by the length of the interval. The sample is the same for every
        key.
      n_components: k, a Python integer.
      family: a name in `FAMILIES`, or a family such as `factors(2)`.
      method: "k-means++" draws k rows that are far apart, with features scaled to unit variance,
        assigns each row to the nearest drawn row, and makes one M-step (Arthur & Vassilvitskii
        2007, sec. 2.2). "random-rows" uses k random rows as means, with equal weights and the
        covariance of the data. "random-responsibilities" makes one M-step from uniform random
        responsibilities (n, k).
      weight: (n,) row weights, or None for ones. A row of weight 0 is never drawn.

    Returns:
      A finite mixture in the dtype of x. M-steps use the default prior, so that a component with
      few rows has a covariance. No two drawn means are equal as long as distinct rows remain. The
      function works under jit, and under vmap over keys, data sets and weights. Derivatives treat
      the choice of the drawn rows as constant.

    Raises:
      ValueError: if an argument is invalid, or if there are more components than distinct rows.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> jaxgmm.initialize(jax.random.key(1), x, 3, family="diagonal")
    Mixture(diagonal, K = 3, d = 2, float32)
    """
    checks.random_key(key)
    checks.choice(method, "method", METHODS)
    k = checks.whole(n_components, "n_components", 1)
    family_class(family, k)
    # The precision of float32 is checked when a mixture is fitted, not for a start.
    data = open_data(x, weight, devices=jax.local_devices()[:1], operands=key, warn_of_columns=None)
    if not checks.traced(data):
        row_checks.extent_fits(*data.extent())
        enough_distinct_in(data.pieces(), k)
    if data.columns is not None:
        data.columns.check_components(k)
    kind = family_class(family, k, data.n_features)
    covariance = data.compute_once(data_covariance)
    if isinstance(data, ArrayData):
        array: ArrayData = data  # `start` samples its rows inside the compiled program.
    else:
        places, strata = sample(data.n)
        sampled_x, sampled_weight = data.rows_at(places)
        if sampled_weight is not None:
            strata = strata * np.asarray(sampled_weight)
        array = pad_array(sampled_x, strata.astype(data.dtype), data.dtype, columns=data.columns)
    work = work_of_start(len(array.x), k, data.n_features)
    return array.compute_once(
        _start, key, covariance, numbers=work, k=k, family=kind, method=method
    )
