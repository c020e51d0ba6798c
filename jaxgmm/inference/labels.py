"""Matching of the components of many mixtures to those of one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..internal.compiling import jit_once
from ..mixture.inputs import row_log_joint
from ..mixture.mixture import Mixture

BATCH = 64  # lanes that are matched at once


def _responsibilities(mixture: Mixture, x: jax.Array) -> jax.Array:
    return jax.nn.softmax(jax.vmap(lambda row: row_log_joint(mixture, row))(x), axis=1)


def match_labels(
    mixture: Mixture, mixtures: Mixture, x: jax.Array, weight: jax.Array
) -> tuple[Mixture, jax.Array, jax.Array]:
    """Return the mixtures with their components in the order of those of `mixture`.

    The order maximizes Σ w min(r, r'), the weight of the rows that both mixtures give to the same
    component.

    Returns:
      The mixtures; that weight as a fraction of all (lanes,), which is 1 for equal mixtures; and
      whether the order changed (lanes,).
    """
    responsibilities = mixtures.logits.size * len(x)
    return jit_once(_match, responsibilities)(BATCH, mixture, mixtures, x, weight)


def _match(
    batch_size: int, mixture: Mixture, mixtures: Mixture, x: jax.Array, weight: jax.Array
) -> tuple[Mixture, jax.Array, jax.Array]:
    reference = _responsibilities(mixture, x)
    components = jnp.arange(mixture.n_components)

    def match(lane: Mixture) -> tuple[Any, ...]:
        own = _responsibilities(lane, x)
        own = jnp.where(jnp.isfinite(own), own, 0)
        shared = jnp.minimum(reference[:, :, None], own[:, None, :])
        common = jnp.tensordot(weight, shared, 1, precision="highest")
        first, second = optax.assignment.hungarian_algorithm(-common)
        order = jnp.zeros_like(components).at[first].set(second.astype(components.dtype))
        agreement = jnp.sum(common[components, order]) / jnp.sum(weight)
        moved = Mixture(lane.logits[order], lane.means[order], lane.covariance.select(order))
        return moved, agreement, jnp.any(order != components)

    return jax.lax.map(match, mixtures, batch_size=batch_size)
