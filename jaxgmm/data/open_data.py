"""What may be given as x, and how a program runs on it.

Whatever needs data says `data.compute(function, *operands, **static)`: function gets the rows (see
`rows.py`) and runs as one program, wherever the rows are. To add a kind of data, add a class with
this contract and a line in `opened`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..internal import checks, forks
from . import row_checks, source_checks
from .arrays import ArrayData
from .column_precision import warn_of_rounded_columns
from .rows import BUCKETED_ROWS, bucket
from .shards import Shards, shard_rows, spread_over_devices
from .sources import Blocks, Data
from .stream import Stream
from .stream_passes import StreamData

# A larger NumPy array is read where it is, as a stream of itself, where JAX's copy of it would take
# the same memory again.
COPIED_BYTES = 1 << 26


def open_data(
    x, weight=None, *, like=None, devices: Sequence | None = None, beside: Any = None,
    judge=warn_of_rounded_columns,
) -> Data:  # fmt: skip
    """Whatever may be given as x, checked. An array of many rows is spread over `devices`, all
    local ones by default, unless it was put on a device already, or it or what will be computed
    `beside` it is traced.

    Whole numbers take the dtype `like`, or JAX's default. `judge` is as for `row_checks.checked`.
    Raises ValueError for what are not finite rows with weights."""
    forks.refuse()
    source_checks.devices(devices)
    if isinstance(x, Stream | Shards):
        source_checks.untraced_rows(weight, "weight")
    if isinstance(x, Stream):
        return _open_stream(x, weight, devices, checks.float_dtype(x.survey.dtype, like))
    if isinstance(x, Shards):
        return shard_rows(x, weight, like, judge)
    rows_per_block = None
    if isinstance(x, Blocks):
        x, rows_per_block = x.array, checks.whole(x.block_rows, "block_rows", 1)
    found, dtype = row_checks.check_rows(x, like=like, judge=judge)
    if not checks.traced(found, weight, beside):
        if rows_per_block is None and _stays_on_host(found, dtype):
            return _open_stream(Stream(found), weight, devices, dtype)
        mesh = None if _place_on_device(found, weight) else spread_over_devices(devices, len(found))
        if rows_per_block is None and mesh is not None:
            return shard_rows(Shards(found, mesh), weight, like, None)
        return hold_rows(found, weight, dtype, rows_per_block)
    x = checks.cast(found, "x", dtype)
    return ArrayData(x, row_checks.weights_of_rows(weight, len(x), dtype), rows_per_block)


def _open_stream(stream: Stream, weight, devices, dtype) -> StreamData:
    n = stream.survey.n
    weight = row_checks.weights_of_rows(weight, n, dtype)
    weight = None if weight is None else np.asarray(weight)
    return StreamData(stream, weight, dtype, spread_over_devices(devices, n))


def _stays_on_host(x, dtype) -> bool:
    large = x.size * np.dtype(dtype).itemsize > COPIED_BYTES
    return large and isinstance(x, np.ndarray) and jax.default_backend() == "cpu"


def _place_on_device(*arrays) -> bool:
    """Whether somebody put one of them on a device."""
    return any(isinstance(array, jax.Array) and array.committed for array in arrays)


def hold_rows(x, weight, dtype, rows_per_block=None) -> ArrayData:
    """An array with rows of weight 0 at its end, so that nearby n share a program (see `bucket`).
    One on several devices stays as it is."""
    n, d = x.shape
    weight = row_checks.weights_of_rows(weight, n, dtype)
    if n > BUCKETED_ROWS or (isinstance(x, jax.Array) and len(x.devices()) > 1):
        return ArrayData(checks.cast(x, "x", dtype), weight, rows_per_block)
    size = bucket(n)
    rows, counts = np.empty((size, d), dtype), np.zeros(size, dtype)
    rows[:n] = checks.narrow(np.asarray(x), "x", dtype)
    rows[n:] = rows[0]
    counts[:n] = 1 if weight is None else weight
    device = next(iter(x.devices())) if _place_on_device(x) else None
    return ArrayData(*jax.device_put((rows, counts), device), rows_per_block, size - n)
