"""Checked pairs of a mixture and rows, and functions of one row that are applied to many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..data import row_checks
from ..data.column_rounding_warnings import warn_of_rounded_columns
from ..data.open_data import open_data
from ..data.sources import Data
from ..internal import checks
from .mixture import Mixture

ROWS_PER_STEP = 4096


def check_mixture_and_array(
    mixture: Mixture, x: Any, weight: Any = None
) -> tuple[Mixture, jax.Array, jax.Array | None]:
    """Return a mixture, rows x (n, d) and row weights (n,), checked and in one dtype.

    The dtype is the wider one of the mixture and the data.
    """
    checks.one_mixture(mixture)
    x = row_checks.data(x, like=mixture.dtype)
    row_checks.same_features(mixture.n_features, x.shape[1])
    dtype = jnp.promote_types(x.dtype, mixture.dtype)
    weight = row_checks.weights_of_rows(weight, len(x), dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture), x.astype(dtype), weight


def row_log_joint(mixture: Mixture, row: jax.Array) -> jax.Array:
    """Return log π_k + log N(x; μ_k, Σ_k) as (k,), for one row (d,).

    It is accurate far from zero too, because means are subtracted before anything is multiplied.
    """
    y = mixture.frame.whiten(row[None] - mixture.means)
    return mixture.log_constants - jnp.sum(y**2, axis=-1) / 2


def row_log_prob(mixture: Mixture, row: jax.Array) -> jax.Array:
    """Return log p(x) as (), for one row (d,)."""
    return jax.nn.logsumexp(row_log_joint(mixture, row))


def over_rows(
    function: Callable[[Mixture, jax.Array], jax.Array], mixture: Mixture, x: jax.Array
) -> jax.Array:
    """Return function(mixture, row) for every row of x, in batches of a few thousand rows."""
    return jax.lax.map(lambda row: function(mixture, row), x, batch_size=min(ROWS_PER_STEP, len(x)))


def open_for_mixture(
    mixture: Mixture,
    x: Any,
    weight: Any = None,
    devices: Sequence[jax.Device] | None = None,
    warn_of_columns: Callable[..., None] | None = warn_of_rounded_columns,
) -> tuple[Mixture, Data]:
    """Return a mixture and the rows x of any kind, checked and in the wider dtype of the two."""
    checks.one_mixture(mixture)
    data = open_data(
        x,
        weight,
        like=mixture.dtype,
        devices=devices,
        operands=mixture,
        warn_of_columns=warn_of_columns,
    )
    row_checks.same_features(mixture.n_features, data.n_features)
    if data.columns is not None:
        data.columns.check_components(mixture.n_components)
    dtype = jnp.promote_types(data.dtype, mixture.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture), data.astype(dtype)
