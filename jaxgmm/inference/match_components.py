"""Matching of the components of many mixtures to those of one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.compiling import jit_once
from ..kernels.whitened import Whitened
from ..mixture.mixture import Mixture
from ..numerics.products import matmul

BATCH = 64  # lanes whose responsibilities are compared at once


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
    numbers = mixtures.logits.size * len(x) * mixture.n_components
    shared = np.asarray(jit_once(_shared_weight, numbers)(BATCH, mixture, mixtures, x, weight))
    order = _best_order(shared)
    matched = np.take_along_axis(shared, order[:, :, None], axis=2).sum(axis=(1, 2))
    swapped = np.any(order != np.arange(mixture.n_components), axis=1)
    if swapped.any():
        mixtures = _reorder(mixtures, jnp.asarray(order))
    agreement = (matched / np.asarray(weight).sum()).astype(shared.dtype)
    return mixtures, jnp.asarray(agreement), jnp.asarray(swapped)


def _shared_weight(
    batch_size: int, mixture: Mixture, mixtures: Mixture, x: jax.Array, weight: jax.Array
) -> jax.Array:
    """Return the weight that each component shares with each one of each lane, (lanes, k, k)."""
    center = jnp.mean(x, axis=0)
    rows = (x - center[None]).T

    def responsibilities(mixture: Mixture) -> jax.Array:
        return jax.nn.softmax(Whitened(mixture.translate(-center)).log_joint(rows)[0], axis=0)

    reference = responsibilities(mixture)

    def compare(lane: Mixture) -> jax.Array:
        own = responsibilities(lane)
        own = jnp.where(jnp.isfinite(own), own, 0)
        shared = jnp.minimum(reference[:, None], own[None])
        return matmul(shared, weight)

    return jax.lax.map(compare, mixtures, batch_size=batch_size)


def _best_order(shared: np.ndarray) -> np.ndarray:
    """Return the permutation of each lane (lanes, k) that has the greatest sum."""
    order = np.argmax(shared, axis=2)
    # Where every component prefers another one, these are the best order.
    contested = np.any(np.sort(order, axis=1) != np.arange(order.shape[1]), axis=1)
    if contested.any():
        from scipy.optimize import linear_sum_assignment  # takes a while to import

        for lane in np.flatnonzero(contested):
            order[lane] = linear_sum_assignment(shared[lane], maximize=True)[1]
    return order


@jax.jit
@jax.vmap
def _reorder(lane: Mixture, order: jax.Array) -> Mixture:
    return Mixture(lane.logits[order], lane.means[order], lane.covariance.select(order))
