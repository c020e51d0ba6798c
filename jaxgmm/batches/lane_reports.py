"""What the programs of a sweep report of lanes, beside their state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Columns
from ..fitting.spurious import doubts
from ..fitting.step import FitState
from ..kernels.choice import Choice
from ..kernels.rounding_bounds import rounding
from ..mixture.mixture import Mixture
from ..objective.responsibility_entropy import responsibility_entropy
from ..objective.statistics import statistics
from .lane_records import LaneConstants, LaneData, LaneReport
from .lane_rows import rows_of


def rounding_of(name: str, mixture: Mixture) -> jax.Array:
    """Return the natural kernel's `rounding` at a mixture, or 0 if the name chooses a kernel."""
    return rounding(mixture) if name == "auto" else jnp.zeros((), mixture.dtype)


def report_of(
    columns: Columns | None,
    data: LaneData,
    constants: LaneConstants,
    kernel: Choice,
    state: FitState,
    fold: jax.Array,
) -> LaneReport:
    """Return the reports of lanes, at their states (lanes, ...) and in their folds (lanes,)."""

    def report_lane(state: FitState, fold: Any) -> LaneReport:
        fold = 0 if data.fold is None else fold
        if data.fold is None:
            held_out = jnp.zeros_like(state.objective)
        else:
            rows = rows_of(columns, data, constants.center, fold, left_out=True)
            held_out = statistics(state.mixture, rows, kernel).log_likelihood
        prior = jax.tree.map(lambda leaf: leaf[fold], constants.prior)
        found = doubts(state.mixture, state.sums, constants.covariance[0], prior, data.steps)
        of_components = lambda doubt: jnp.broadcast_to(doubt, state.sums.mass.shape)
        return LaneReport(
            entropy=responsibility_entropy(
                state.mixture, rows_of(columns, data, constants.center, fold), state.sums
            ),
            artifact=of_components(found.artifact),
            outlier=of_components(found.outlier),
            held_out=held_out,
            rounding=rounding_of(kernel.name, state.mixture),
        )

    return jax.vmap(report_lane)(state, fold)
