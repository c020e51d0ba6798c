"""The test for degenerate mixtures."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..objective.m_step import Step
from ..objective.prior import Prior
from ..objective.statistics import Statistics


def degenerate(
    mixture: Mixture, sums: Statistics, step: Step, prior: Prior | None, resolution: jax.Array
) -> jax.Array:
    """Return whether the M-step `step` from `mixture` leads to a degenerate mixture.

    The new mixture is degenerate if a present component has no rows left, or if a standard
    deviation is so small that it consists of rounding errors: that of a feature given those before
    it, or along a principal axis.

    `resolution` (d,) is the finest detail of each feature that survives rounding, in units of eps
    (see `Rows.detail`). A smaller standard deviation consists of rounding errors of the stored
    rows, or of the numbers computed from them. The prior's scatter is rounded too, and a variance
    that comes from it alone must exceed its rounding error.
    """
    d, eps = mixture.n_features, jnp.finfo(mixture.dtype).eps
    frame, present = mixture.frame, mixture.present
    emptied = jnp.any(present & (sums.mass <= eps * jnp.sum(sums.mass)))
    moved = mixture.covariance.moved(step.covariance).frame(d)
    noise = (eps * resolution[None]) ** 2
    if prior is not None and prior.scatter is not None:
        count = frame.pool(sums.mass) + prior.strength
        noise = noise + 8 * eps * d * jnp.diagonal(prior.scatter)[None] / count[:, None]
    used = frame.pool(present) > 0
    return emptied | jnp.any(used & ~moved.resolved(noise))
