"""The safeguard of accelerated EM: a move that is rejected if it lowers the objective."""

from __future__ import annotations

import jax

from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.objective_value import objective_value, rounding_error
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .protocol import Evaluate


def try_extrapolation(
    candidate: Mixture,
    mixture: Mixture,
    statistics: Statistics,
    evaluate: Evaluate,
    prior: Prior | None,
    always: jax.Array,
) -> tuple[Mixture, Statistics, jax.Array]:
    """Make one pass at `candidate`, and accept or reject it.

    The candidate is accepted if the objective is not lower there than at `mixture`, or if `always`
    is true. Returns the accepted mixture, its statistics, and whether the candidate was accepted.
    """
    sums = evaluate(candidate)
    before = objective_value(mixture, statistics, prior)
    after = objective_value(candidate, sums, prior)
    accepted = always | (
        after >= before - rounding_error(before, before.dtype)
    )  # False if `after` is NaN
    moved, sums = where(accepted, (candidate, sums), (mixture, statistics))
    return moved, sums, accepted
