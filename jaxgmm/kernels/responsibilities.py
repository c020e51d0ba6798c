"""Weighted responsibilities of the rows of one block."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def weighted_responsibilities(
    log_joint: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return weighted responsibilities w r (k, b) and log p (b,) of a block of rows.

    The arguments are the log-joint (k, b) and the row weights (b,). The result is w e / Σ e with
    e = exp(a − max a), so that responsibilities sum to 1 even for a row far from every component.
    """
    largest = jax.lax.stop_gradient(jnp.max(log_joint, axis=0))
    unscaled = jnp.exp(log_joint - largest[None])
    total = jnp.sum(unscaled, axis=0)
    return unscaled * (weight / total)[None], largest + jnp.log(total)
