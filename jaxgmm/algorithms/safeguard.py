"""A trial: a move that is taken back where it lowered the objective."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.prior import Prior, log_prior
from ..objective.statistics import Statistics


def try_extrapolation(
    tried: Mixture, mixture: Mixture, statistics: Statistics, evaluate, prior: Prior | None, sure
) -> tuple[Mixture, Statistics, jax.Array]:
    """One pass at `tried`: it with its statistics and True; or where the objective is lower there
    than at `mixture`, that with its own and False. A move that is `sure` is taken unseen."""
    sums = evaluate(tried)
    before = statistics.log_likelihood + log_prior(mixture, prior)
    after = sums.log_likelihood + log_prior(tried, prior)
    rounding = 8 * jnp.finfo(before.dtype).eps * jnp.abs(before)
    accepted = sure | (after >= before - rounding)  # never for NaN
    moved, sums = where(accepted, (tried, sums), (mixture, statistics))
    return moved, sums, accepted
