"""How many rows a block holds."""

from __future__ import annotations

import jax

from .protocol import Kernel

# On a CPU a block's numbers fill a quarter of a core's own cache, because matrix products repack
# their operands. Where the block's sums are large, the numbers take TIMES_SUMS times the memory of
# the sums instead, up to the size of the cache that cores share, so that adding sums costs little.
# A block that fills several cores has that size too where LEAST_ROWS rows do not fit a core's own
# cache: at n = 20000, d = 8, k = 64, a pass takes 4.8 ms on two cores then, and 8.5 ms otherwise.
CORE_BYTES, SHARED_BYTES, TIMES_SUMS = 1 << 18, 1 << 23, 34
LEAST_ROWS, MOST_ROWS = 128, 1024
# On an H200, passes with smaller blocks took up to 1.4 times as long, and with larger ones, which
# leave its cache, up to twice as long.
GPU_BYTES, GPU_MOST_ROWS = 1 << 29, 1 << 18


def block_rows(kernel: Kernel) -> int:
    """Return the number of rows in a block, a power of two.

    It is the largest one for which the kernel's numbers fit the cache of a CPU core, or fill a GPU.
    """
    size, most = GPU_BYTES, GPU_MOST_ROWS
    itemsize = kernel.mixture.dtype.itemsize
    if jax.default_backend() == "cpu":
        bytes_by_sums = TIMES_SUMS * kernel.numbers_in_sums * itemsize
        size, most = min(max(bytes_by_sums, CORE_BYTES), SHARED_BYTES), MOST_ROWS
        if kernel.fills_cores and LEAST_ROWS * kernel.numbers_per_row * itemsize > CORE_BYTES:
            size = SHARED_BYTES
    rows = min(max(size // (kernel.numbers_per_row * itemsize), LEAST_ROWS), most)
    return 1 << rows.bit_length() - 1
