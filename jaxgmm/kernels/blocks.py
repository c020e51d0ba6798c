"""The number of rows in a block, and the responsibilities of its rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .natural import Natural
from .whitened import Whitened

# On a CPU a block's numbers fill a quarter of a core's own cache, because matrix products repack
# their operands. Where the block's sums are large, the numbers take TIMES_SUMS times the memory of
# the sums instead, up to the size of the cache that cores share, so that adding sums costs little.
CORE_BYTES, SHARED_BYTES, TIMES_SUMS = 1 << 18, 1 << 23, 34
LEAST_ROWS, MOST_ROWS = 128, 1024
GPU_BYTES, GPU_MOST_ROWS = 1 << 27, 1 << 16


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


def block_rows(kernel: Whitened | Natural) -> int:
    """Return the number of rows in a block, a power of two.

    It is the largest one for which the kernel's numbers fit the cache of a CPU core, or fill a GPU.
    """
    size, most = GPU_BYTES, GPU_MOST_ROWS
    itemsize = kernel.mixture.dtype.itemsize
    if jax.default_backend() == "cpu":
        bytes_by_sums = TIMES_SUMS * kernel.numbers_in_sums * itemsize
        size, most = min(max(bytes_by_sums, CORE_BYTES), SHARED_BYTES), MOST_ROWS
    rows = min(max(size // (kernel.numbers_per_row * itemsize), LEAST_ROWS), most)
    return 1 << rows.bit_length() - 1
