"""The safeguard of accelerated EM: a move that is rejected if it lowers the objective."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.prior import Prior, log_prior
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
    before = statistics.log_likelihood + log_prior(mixture, prior)
    after = sums.log_likelihood + log_prior(candidate, prior)
    rounding = 8 * jnp.finfo(before.dtype).eps * jnp.abs(before)
    accepted = always | (after >= before - rounding)  # False if `after` is NaN
    moved, sums = where(accepted, (candidate, sums), (mixture, statistics))
    return moved, sums, accepted
