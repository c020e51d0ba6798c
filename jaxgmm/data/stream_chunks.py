"""Chunks of a stream: rows gathered into buffers that are reused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .sources import RowsAndWeights

# Chunks in memory: one that is being read, one that waits, and one that is computed on.
BUFFERS = 3
ALIGNED = 64  # bytes: the alignment with which JAX on CPUs uses a NumPy array without a copy


class Chunks:
    """Memory for chunks of `rows` rows with `width` columns."""

    def __init__(self, rows: int, width: int, dtype: np.dtype) -> None:
        self.buffers = [
            (_aligned_empty((rows, width), dtype), _aligned_empty((rows,), dtype))
            for _ in range(BUFFERS)
        ]

    def fill(self, pieces: Iterator[RowsAndWeights]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x, weight) of chunk_rows rows each, the last padded with rows of weight 0."""
        number = filled = 0
        for block, weight in pieces:
            while len(block):
                x, weights = self.buffers[number % BUFFERS]
                count = min(len(x) - filled, len(block))
                x[filled : filled + count] = block[:count]
                weights[filled : filled + count] = 1 if weight is None else weight[:count]
                block, weight = block[count:], None if weight is None else weight[count:]
                filled += count
                if filled == len(x):
                    yield x, weights
                    number, filled = number + 1, 0
        if filled:
            x, weights = self.buffers[number % BUFFERS]
            x[filled:], weights[filled:] = x[0], 0
            yield x, weights


def _aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialized array that JAX on CPUs can use without a copy."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)
