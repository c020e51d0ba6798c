"""Validation of rows in blocks, on devices, or read from disk; see also `row_checks.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike

from ..internal import checks
from . import row_checks


def iterable(blocks: Any) -> None:
    """Check that what a stream's source returned can be iterated over."""
    if not hasattr(blocks, "__iter__"):
        raise ValueError(
            f"the stream's source returned a {type(blocks).__name__}: it must return an iterable "
            "of blocks (n_i, d)."
        )


def stream(source: Any, block_rows: Any) -> None:
    """Check that a stream's source can be read more than once."""
    checks.whole(block_rows, "block_rows", 1)
    if hasattr(source, "__next__"):  # an iterator, such as a generator
        raise ValueError(
            "the stream's source is an iterator, which can be read only once, but a fit makes many "
            "passes: pass the function that returns the iterator, e.g. Stream(read_blocks) and not "
            "Stream(read_blocks())."
        )
    if not callable(source) and not hasattr(source, "shape"):
        iterable(source)


def block(array: np.ndarray, number: int, d: int | None) -> None:
    """Check that a block of a stream is (n_i, d)."""
    if array.ndim != 2:
        raise ValueError(
            f"block {number} of the stream has shape {array.shape}: pass (n_i, d), rows of d "
            "features."
        )
    if 0 in array.shape:
        raise ValueError(
            f"block {number} of the stream has shape {array.shape} and is empty: leave out such "
            "blocks."
        )
    if array.shape[1] != d:
        raise ValueError(
            f"block {number} of the stream has {array.shape[1]} columns, and the blocks before it "
            f"have {d}: pass the same features in every block."
        )


def finite_block(array: np.ndarray, number: int, first: int, missing: bool = False) -> None:
    """Check that a block is finite; `first` is the position of its first row in the stream."""
    found = row_checks.find_not_finite(array, missing)
    if found is not None:
        row, column, what = found
        raise ValueError(
            f"row {row} of block {number} of the stream (row {first + row} of all) contains {what} "
            f"in column {column}: {row_checks.what_to_do(what)}"
        )


def only_gaps(observed: Any) -> None:
    """Check that an `Observed` has nothing beside x, whose rows a function reads."""
    for name in ("noise", "labels", "allowed", "log_odds"):
        if getattr(observed, name) is not None:
            raise ValueError(
                f"{name} cannot be combined with a source that is a function: pass Shards of an "
                "array, or a Stream whose blocks are Observed."
            )


def same_rows_again(count: int, n: int) -> None:
    """Check that a pass has read as many rows as the first one."""
    if count != n:
        raise ValueError(
            f"the stream has {count} rows on this pass and had {n} on the first: its source must "
            "yield the same rows every time. A generator can be read only once, so a function must "
            "return a new one in each call."
        )


def on_host(operands: Any) -> None:
    """Check that nothing is traced, so that the host can read a stream."""
    if checks.traced(operands):
        raise ValueError(
            "a stream is read by the host, pass after pass: call this outside jit and vmap. Its "
            "only derivative is that of log_likelihood with respect to the mixture."
        )


def untraced_rows(rows: Any, name: str) -> None:
    """Check that rows or weights are not traced, so that the host can arrange them."""
    if checks.traced(rows):
        raise ValueError(
            f"{name} is traced, but the host arranges the rows and weights of Shards and of a "
            "Stream: pass an array (n, d) under jit, vmap, and for derivatives with respect to "
            "rows or weights."
        )


def shape_of_rows(shape: Any) -> tuple[int, int]:
    """Check and return the shape (n, d), which accompanies a function that reads rows."""
    if shape is None or len(shape) != 2:
        raise ValueError(
            f"shape is {shape}: a function that reads rows needs Shards(…, shape=(n, d))."
        )
    return checks.whole(shape[0], "shape[0]", 1), checks.whole(shape[1], "shape[1]", 1)


def plain(rows: Any, dtype: DTypeLike) -> np.ndarray:
    """Return what a function that reads rows returned, as an array."""
    return np.asarray(checks.array(rows, "what the function that reads rows returned"), dtype)


def rows_read(rows: np.ndarray, n: int, d: int) -> np.ndarray:
    """Check that a function that reads rows returned (n, d), and return the rows."""
    if rows.shape != (n, d):
        raise ValueError(
            f"the function that reads rows returned shape {rows.shape}, and was asked for "
            f"({n}, {d}): return the rows of the slice that it is called with."
        )
    return rows


def divides(n: int, parts: int) -> None:
    """Check that the number of devices divides the n rows of an array that is already spread."""
    if n % parts:
        raise ValueError(
            f"{n} rows cannot be divided evenly among {parts} devices: pad them with rows of "
            "weight 0, or pass a function that reads rows."
        )


def finite_part(rows: np.ndarray, first: int, missing: bool = False) -> None:
    """Check that a device's part of x is finite; `first` is the position of its first row in x."""
    found = row_checks.find_not_finite(rows, missing)
    if found is not None:
        row, column, what = found
        raise ValueError(
            f"row {first + row} of x contains {what} in column {column}: "
            f"{row_checks.what_to_do(what)}"
        )


def devices(value: Any) -> None:
    """Check that `value` is a list of distinct devices, or None."""
    if value is None:
        return
    listed = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    if not listed or not all(isinstance(one, jax.Device) for one in value):
        raise ValueError(
            f"devices is {value!r}: pass a list of some of jax.local_devices(), or None for all."
        )
    if not len(value):
        raise ValueError("devices is empty: pass at least one, or None for all local devices.")
    if len(set(value)) < len(value):
        raise ValueError("devices contains a device twice: pass each device once.")


def in_memory(data: Any) -> None:
    """Check that rows are in memory, so that many fits can pass over them in one batch."""
    if not hasattr(data, "x"):
        raise ValueError(
            "side_by_side needs rows in memory, and these rows are read again in every pass: pass "
            "a JAX array or Shards, or side_by_side=False."
        )


def untraced_checkpoint(*operands: Any) -> None:
    """Check that nothing is traced, so that the host can write a checkpoint."""
    if checks.traced(operands):
        raise ValueError("a checkpoint is written by the host: call fit outside jit and vmap.")
