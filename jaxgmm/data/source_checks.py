"""The front door for rows in blocks, on devices, or from disk: continues `checks.py`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from ..internal import checks
from . import row_checks


def iterable(given) -> None:
    """What a stream's source gave can be iterated over."""
    if not hasattr(given, "__iter__"):
        raise ValueError(
            f"the stream's source gave a {type(given).__name__}: it must give an iterable of "
            "blocks (n_i, d)."
        )


def stream(source, block_rows) -> None:
    """A source that can be read more than once."""
    checks.whole(block_rows, "block_rows", 1)
    if hasattr(source, "__next__"):  # an iterator, such as a generator
        raise ValueError(
            "the stream's source is an iterator, which can be read only once, and a fit makes many "
            "passes: pass the function that makes it, e.g. Stream(read_blocks) and not "
            "Stream(read_blocks())."
        )
    if not callable(source) and not hasattr(source, "shape"):
        iterable(source)


def block(found: np.ndarray, number: int, d: int | None) -> None:
    """A block (n_i, d) of a stream."""
    if found.ndim != 2:
        raise ValueError(
            f"block {number} of the stream has shape {found.shape}: pass (n_i, d), rows of d "
            "features."
        )
    if 0 in found.shape:
        raise ValueError(
            f"block {number} of the stream has shape {found.shape}: it is empty. Leave such blocks "
            "out."
        )
    if found.shape[1] != d:
        raise ValueError(
            f"block {number} of the stream has {found.shape[1]} columns, those before it {d}: give "
            "every block the same features."
        )


def finite_block(found: np.ndarray, number: int, first: int) -> None:
    """A block of numbers; `first` is its first row's place in the stream."""
    bad = row_checks.first_bad_row(found)
    if bad is not None:
        raise ValueError(
            f"row {bad} of block {number} of the stream (row {first + bad} of all) holds NaN or "
            "infinity: drop or fill such rows (missing values are not supported yet)."
        )


def same_rows_again(found: int, n: int) -> None:
    """A pass gave as many rows as the first one."""
    if found != n:
        raise ValueError(
            f"the stream gave {found} rows on this pass and {n} on the first: its source must give "
            "the same rows every time. One that returns the same generator again is exhausted: "
            "make a new one in each call."
        )


def on_host(operands) -> None:
    """No tracers: the host is to read."""
    if checks.traced(operands):
        raise ValueError(
            "a stream is read by the host, pass after pass: call this outside jit and vmap. Its "
            "only derivative is that of log_likelihood with respect to the mixture."
        )


def untraced_rows(rows, name: str) -> None:
    """Rows or weights that the host can lay out."""
    if checks.traced(rows):
        raise ValueError(
            f"{name} is traced, and the host lays out the rows and weights of Shards and of a "
            "Stream: pass an array (n, d) under jit, vmap, and for derivatives with respect to "
            "rows or weights."
        )


def shape_of_rows(shape) -> tuple[int, int]:
    """(n, d), as a function that reads rows needs it beside itself."""
    if shape is None or len(shape) != 2:
        raise ValueError(
            f"shape is {shape}: a function that reads rows needs Shards(…, shape=(n, d))."
        )
    return checks.whole(shape[0], "shape[0]", 1), checks.whole(shape[1], "shape[1]", 1)


def plain(found, dtype) -> np.ndarray:
    """What a function that reads rows returned, without masked entries, as an array."""
    checks.unmasked(found, "what the function that reads rows returned")
    return np.asarray(found, dtype)


def share(found: np.ndarray, n: int, d: int) -> np.ndarray:
    """What a function that reads rows returned for n of them."""
    if found.shape != (n, d):
        raise ValueError(
            f"the function that reads rows returned shape {found.shape}: it was asked for "
            f"({n}, {d})."
        )
    return found


def divides(n: int, parts: int) -> None:
    """Rows that are spread already divide by the devices."""
    if n % parts:
        raise ValueError(
            f"{n} rows do not divide by {parts} devices: pad them with rows of weight 0, or pass a "
            "function that reads rows."
        )


def finite_share(found: np.ndarray, first: int) -> None:
    """A device's share of x; `first` is its first row's place in x."""
    bad = row_checks.first_bad_row(found)
    if bad is not None:
        raise ValueError(
            f"row {first + bad} of x holds NaN or infinity: drop or fill such rows (missing values "
            "are not supported yet)."
        )


def devices(given) -> None:
    """Some devices, each once, or None."""
    if given is None:
        return
    listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    if not listed or not all(isinstance(one, jax.Device) for one in given):
        raise ValueError(
            f"devices is {given!r}: give a list of some of jax.local_devices(), or None for all."
        )
    if not len(given):
        raise ValueError("devices is empty: give at least one, or None for all local ones.")
    if len(set(given)) < len(given):
        raise ValueError("devices names one twice: give each once.")


def in_memory(data) -> None:
    """Rows that many fits can pass over side by side."""
    if not hasattr(data, "x"):
        raise ValueError(
            "side_by_side needs rows in memory, and these are read on every pass: pass a JAX array "
            "or Shards, or side_by_side=False."
        )


def untraced_checkpoint(*given) -> None:
    """No tracers: the host is to write."""
    if checks.traced(given):
        raise ValueError("a checkpoint is written by the host: call this outside jit and vmap.")
