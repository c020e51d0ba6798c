"""How a fit ended, and when a component counts as degenerate."""

from __future__ import annotations

import enum

import jax
import jax.numpy as jnp

from .em import Step
from .mixture import Mixture
from .prior import Prior
from .statistics import Statistics

RUNNING = -1  # inside loops: has not ended


class Status(enum.IntEnum):
    """How a fit ended, for each lane of a batch.

    CONVERGED: the stopping rule was met.
    MAX_STEPS: max_steps were made first.
    NONFINITE: a step led to NaN or infinity; the mixture is the last finite one.
    DEGENERATE: from the mixture returned, a component empties, or its covariance collapses to less
      than the data can resolve (a constant or collinear column, identical rows, a component on
      fewer rows than it needs): the likelihood has no maximum there.
    DROPPED: `sweep` stopped it early, since other starts had come farther.

    >>> jaxgmm.Status(2).name
    'NONFINITE'
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    DEGENERATE = 3
    DROPPED = 4


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
    covariance, present = mixture.covariance, mixture.present
    emptied = jnp.any(present & (sums.mass <= eps * jnp.sum(sums.mass)))
    log_scales = step.covariance.compose(covariance).log_scales(d)
    noise = (eps * resolution[None]) ** 2
    if prior is not None and prior.scatter is not None:
        count = covariance.pool(sums.mass) + prior.strength
        noise = noise + 8 * eps * d * jnp.diagonal(prior.scatter)[None] / count[:, None]
    resolved = jnp.isfinite(log_scales) & (2 * log_scales > jnp.log(noise))
    held = covariance.pool(present) > 0
    return emptied | jnp.any(held[:, None] & ~resolved)


def finite(*trees) -> jax.Array:
    """Whether every number in every leaf is finite; −inf logits of absent components pass."""
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(trees)]
    return jnp.all(jnp.isfinite(jnp.concatenate(leaves)))  # one kernel, not one for each leaf
