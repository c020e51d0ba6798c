"""Statistics to which the pseudo-rows of a prior are added."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal.trees import where_each
from ..mixture.mixture import Mixture
from .prior import Prior
from .statistics import Statistics


class Totals(NamedTuple):
    """Sums over rows and pseudo-rows at a mixture, in its residual units.

    A conjugate prior has separate pseudo-rows for weights, means and covariances.

    Attributes:
      counts: (k,) the number of rows of each component, for its weight.
      mass: (k,) the number for its mean.
      covariance_mass: (c,) the number for each covariance.
      shift: (k, d) sums of residuals.
      spread: second moments about the current means, as the layout keeps them.
    """

    counts: jax.Array
    mass: jax.Array
    covariance_mass: jax.Array
    shift: jax.Array
    spread: jax.Array


def add_pseudo_rows(mixture: Mixture, sums: Statistics, prior: Prior | None) -> Totals:
    """Return the statistics at `mixture`, with the pseudo-rows of the prior.

    Source: Gauvain & Lee 1994, eqs. 47–49.
    """
    frame, present = mixture.frame, mixture.present
    counts = mass = sums.mass
    covariance_mass, shift, spread = frame.pool(sums.mass), sums.shift, sums.spread
    if prior is None:
        return Totals(counts, mass, covariance_mass, shift, spread)
    if prior.concentration is not None:
        counts = jnp.where(present, jnp.maximum(counts + prior.concentration - 1, 0), 0)
    if prior.mean is not None:
        pseudo_mass = jnp.where(present, prior.mean_strength, 0)
        residual = frame.whiten(prior.mean[None] - mixture.means)
        spread = spread + frame.outer(pseudo_mass[:, None] * residual, residual)
        shift = shift + pseudo_mass[:, None] * residual
        mass = mass + pseudo_mass
    used = frame.pool(present) > 0
    covariance_mass = covariance_mass + jnp.where(used, prior.strength, 0)
    if prior.scatter is not None:
        scatter = frame.whiten_second(prior.scatter)
        spread = spread + where_each(used, scatter, jnp.zeros_like(scatter))
    return Totals(counts, mass, covariance_mass, shift, spread)
