"""Whether a mixture or a step has collapsed."""

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
    """Whether the M-step `step` from `mixture` empties a present component, or takes a standard
    deviation (of a feature given those before it) below what rounding leaves of it.

    resolution (d,) is the finest detail that rounding leaves of each feature, in units of eps (see
    `Rows.detail`). A standard deviation below it is no more than rounding: of the rows where they
    are stored, or of what is computed from them. Nor is a variance that the prior's scatter, itself
    rounded, holds up alone.
    """
    d, eps = mixture.n_features, jnp.finfo(mixture.dtype).eps
    frame, present = mixture.frame, mixture.present
    emptied = jnp.any(present & (sums.mass <= eps * jnp.sum(sums.mass)))
    log_scales = mixture.covariance.moved(step.covariance).frame(d).log_scales
    noise = (eps * resolution[None]) ** 2
    if prior is not None and prior.scatter is not None:
        count = frame.pool(sums.mass) + prior.strength
        noise = noise + 8 * eps * d * jnp.diagonal(prior.scatter)[None] / count[:, None]
    resolved = jnp.isfinite(log_scales) & (2 * log_scales > jnp.log(noise))
    held = frame.pool(present) > 0
    return emptied | jnp.any(held[:, None] & ~resolved)


def finite(*trees) -> jax.Array:
    """Whether every number in every leaf is finite; −inf logits of absent components pass."""
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(trees)]
    return jnp.all(jnp.isfinite(jnp.concatenate(leaves)))  # one kernel, not one for each leaf
