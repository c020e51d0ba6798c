"""The tests for degenerate mixtures."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..objective.m_step import Step
from ..objective.prior import Prior
from ..objective.statistics import Statistics


def has_no_step(mixture: Mixture, sums: Statistics, step: Step) -> jax.Array:
    """Return whether a present component has no rows left, or EM's step is not finite.

    The step is not finite where the rows of a component have no width at all. EM's gain is not
    finite then either.
    """
    eps = jnp.finfo(mixture.dtype).eps
    emptied = jnp.any(mixture.present & (sums.mass <= eps * jnp.sum(sums.mass)))
    return emptied | ~jnp.isfinite(step.em_gain)


def has_collapsed(
    mixture: Mixture, mass: jax.Array, prior: Prior | None, resolution: jax.Array
) -> jax.Array:
    """Return whether a standard deviation is so small that it consists of rounding errors.

    It may be that of a feature given those before it, or along a principal axis.

    `mass` (k,) is the mass of each component before the step to the mixture. `resolution` (d,) is
    the finest detail of each feature that survives rounding, in units of eps (see `Rows.detail`). A
    smaller standard deviation consists of rounding errors of the stored rows, or of the numbers
    computed from them. The prior's scatter is rounded too, and a variance that comes from it alone
    must exceed its rounding error.
    """
    d, eps = mixture.n_features, jnp.finfo(mixture.dtype).eps
    frame = mixture.frame
    noise = (eps * resolution[None]) ** 2
    if prior is not None and prior.scatter is not None:
        count = frame.pool(mass) + prior.strength
        noise = noise + 8 * eps * d * jnp.diagonal(prior.scatter)[None] / count[:, None]
    used = frame.pool(mixture.present) > 0
    return jnp.any(used & ~frame.resolved(noise))
