"""The rows of a lane, and `prepare`: the program that computes once what all lanes share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..data.columns import Columns
from ..data.robust_covariance import robust_covariance
from ..data.rows import Rows
from ..objective import prior as priors
from ..objective.data_covariance import data_covariance
from .lane_records import LaneConstants, LaneData


class Preparation(NamedTuple):
    """What `prepare` is compiled for: the number of folds, the prior, and what the columns hold."""

    folds: int
    default_prior: bool
    columns: Columns | None


def rows_of(
    columns: Columns | None, data: LaneData, center: jax.Array, fold: Any, left_out: bool = False
) -> Rows:
    """Return the rows with a lane's row weights, in coordinates with their origin at `center`.

    Weights are 0 for the rows that the fold leaves out, or for all others if `left_out`.
    """
    weight = data.weight
    if data.fold is not None:
        weight = jnp.ones(len(data.x), data.x.dtype) if weight is None else weight
        weight = jnp.where((data.fold == fold) == left_out, weight, 0)
    return Rows(data.x, weight, center, columns=columns)


def prepare(preparation: Preparation, data: LaneData) -> LaneConstants:
    """Compute the constants of the rows."""
    rows = Rows.about_own_mean(data.x, data.weight, preparation.columns)
    folds = jnp.arange(preparation.folds + 1)
    covariance_of = data_covariance if rows.has_gaps else robust_covariance
    of_fold = lambda fold: covariance_of(rows_of(preparation.columns, data, rows.center, fold))
    covariance = jax.lax.map(of_fold, folds) if preparation.folds else of_fold(0)[None]
    prior = data.prior
    if preparation.default_prior:
        prior = jax.vmap(priors.prior_of_covariance)(covariance)
    elif prior is not None:
        repeat = lambda leaf: jnp.broadcast_to(leaf, (len(folds), *jnp.shape(leaf)))
        prior = jax.tree.map(repeat, prior.translate(-rows.center))
    return LaneConstants(rows.center, rows.detail(), covariance, prior)
