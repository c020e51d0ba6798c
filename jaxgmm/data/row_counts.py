"""Numbers of rows: after padding, in a sample, and in a block."""

from __future__ import annotations

import numpy as np

# Padding copies x. With more rows than this, a fit spends less time on compilation than on passes,
# so larger arrays are not padded.
BUCKETED_ROWS = 1 << 16
# Starts are made from a sample of this many rows. It is at least BUCKETED_ROWS, so that padded
# arrays are never subsampled.
SAMPLE_ROWS = BUCKETED_ROWS
# Up to this many rows, kernel="auto" means the whitened kernel, unless there are very many
# components and features (see `kernels/choice.py`).
WHITENED_UP_TO_ROWS = 4096


def bucket(n: int) -> int:
    """Return the number of rows to which n rows are padded, so that nearby n share a program.

    There are eight steps between consecutive powers of two, so that padding adds at most an eighth.
    Beyond BUCKETED_ROWS rows there is no padding and the result is n itself.
    """
    if n > BUCKETED_ROWS:
        return n
    step = max(8, 1 << max((n - 1).bit_length() - 4, 0))
    return -(-n // step) * step


def even_block_rows(n: int, most: int) -> int:
    """Return a block size of at most `most` rows that divides n rows almost evenly.

    Fewer rows than two blocks make one block. Otherwise the last block hardly overlaps the one
    before it.
    """
    return n if n < 2 * most else min(most, -(-n // -(-n // most) // 16) * 16)


def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a stratified sample of n rows: positions (m,) in ascending order, and weights (m,).

    Up to SAMPLE_ROWS rows are returned whole. More rows are cut into SAMPLE_ROWS strata of
    neighbors, and one row of each stratum is drawn, weighted by the stratum's length, so that
    weighted sums have the right expectation. The sample does not depend on a random key, so that
    all starts share it.
    """
    if n <= SAMPLE_ROWS:
        return np.arange(n), np.ones(n)
    edges = np.arange(SAMPLE_ROWS + 1) * n // SAMPLE_ROWS
    length = np.diff(edges)
    inside = np.random.default_rng(0).random(SAMPLE_ROWS) * length
    return edges[:-1] + inside.astype(int), length.astype(float)
