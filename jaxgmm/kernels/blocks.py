"""How many rows a block holds, and the responsibilities of its rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .natural import Natural
from .whitened import Whitened

# A block on a CPU: a quarter of a core's own cache, since products repack what they read; where the
# block's sums are large, so many times these, so that adding them up costs little, as long as it
# fits the cache that cores share.
CORE_BYTES, SHARED_BYTES, TIMES_SUMS = 1 << 18, 1 << 23, 34
LEAST_ROWS, MOST_ROWS = 128, 1024
GPU_BYTES, GPU_MOST_ROWS = 1 << 27, 1 << 16


def weighted_responsibilities(
    log_joint: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Weighted responsibilities w r (k, b) and log p (b,), from a log-joint (k, b) and row weights.

    As w e/Σe with e = exp(a − max a): r sums to 1 however far away a row lies."""
    largest = jax.lax.stop_gradient(jnp.max(log_joint, axis=0))
    unscaled = jnp.exp(log_joint - largest[None])
    total = jnp.sum(unscaled, axis=0)
    return unscaled * (weight / total)[None], largest + jnp.log(total)


def block_rows(kernel: Whitened | Natural) -> int:
    """Rows in a block, a power of two: as many as keep what is held for them in a core's cache (or
    fill a GPU)."""
    size, most = GPU_BYTES, GPU_MOST_ROWS
    itemsize = kernel.mixture.dtype.itemsize
    if jax.default_backend() == "cpu":
        worth = TIMES_SUMS * kernel.summed * itemsize
        size, most = min(max(worth, CORE_BYTES), SHARED_BYTES), MOST_ROWS
    rows = min(max(size // (kernel.held * itemsize), LEAST_ROWS), most)
    return 1 << rows.bit_length() - 1
