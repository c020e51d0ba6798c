"""Matching of the components of many mixtures to those of one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..mixture.inputs import row_log_joint
from ..mixture.mixture import Mixture
from ..numerics.products import matmul


def _responsibilities(mixture: Mixture, x: jax.Array) -> jax.Array:
    return jax.nn.softmax(jax.vmap(lambda row: row_log_joint(mixture, row))(x), axis=1)


@jax.jit
def match_labels(
    mixture: Mixture, mixtures: Mixture, x: jax.Array, weight: jax.Array
) -> tuple[Mixture, jax.Array, jax.Array]:
    """Return the mixtures with their components in the order of those of `mixture`.

    The order maximizes the weight of the rows that both mixtures give to the same component.

    Returns:
      The mixtures; the fraction of that weight (lanes,); and whether the order changed (lanes,).
    """
    reference = weight[:, None] * _responsibilities(mixture, x)
    components = jnp.arange(mixture.n_components)

    def match(lane: Mixture) -> tuple[Any, ...]:
        own = _responsibilities(lane, x)
        common = matmul(reference.T, jnp.where(jnp.isfinite(own), own, 0))
        first, second = optax.assignment.hungarian_algorithm(-common)
        order = jnp.zeros_like(components).at[first].set(second.astype(components.dtype))
        agreement = jnp.sum(common[components, order]) / jnp.sum(weight)
        moved = Mixture(lane.logits[order], lane.means[order], lane.covariance.select(order))
        return moved, agreement, jnp.any(order != components)

    return jax.lax.map(match, mixtures, batch_size=64)
