"""`open_data`: checks what is passed as x, and returns data on which programs run.

Functions that need data call `data.compute(function, *operands, **static)`. The function receives
the rows (see `rows.py`) and runs as one program, wherever the rows are stored. To add a kind of
data, add a class that fulfills `sources.Data`, and a branch in `open_data`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike

from ..internal import checks, forks
from . import row_checks, source_checks
from .arrays import ArrayData
from .column_rounding_warnings import warn_of_rounded_columns
from .columns import Columns
from .devices import spread_over_devices
from .observed import Observed, Packed, pack
from .observed_stream import ObservedStream
from .row_counts import BUCKETED_ROWS, bucket
from .shards import Shards, shard_rows
from .sources import Blocks, Data
from .stream import Stream
from .stream_passes import StreamData

# A NumPy array of more bytes is read as a stream of itself on CPUs, because a copy of it in JAX
# would double the memory.
COPIED_BYTES = 1 << 26


def open_data(
    x: Any,
    weight: Any = None,
    *,
    like: DTypeLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    operands: Any = None,
    warn_of_columns: Callable[..., None] | None = warn_of_rounded_columns,
) -> Data:
    """Check rows of any kind and return them as data on which programs run.

    An array of many rows is spread over the devices, unless it was already put on a device or
    something is traced.

    Args:
      x: an array (n, d) or anything that `checks.array` converts to one, or `Blocks`, `Shards` or a
        `Stream`, or `Observed` rows of any of these kinds.
      weight: row weights (n,), or None if every row counts once.
      like: the dtype for whole numbers; None for JAX's default.
      devices: the devices to use; None for all local ones.
      operands: a pytree of what programs compute together with x. If a leaf of it is traced, x
        stays in one array.
      warn_of_columns: see `row_checks.check_rows`.

    Raises:
      ValueError: if x is not finite rows, or the weights are not valid.
    """
    forks.raise_if_forked()
    source_checks.devices(devices)
    if isinstance(x, Observed):
        return _open_observed(x, weight, like, devices, operands, warn_of_columns)
    if isinstance(x, Stream | Shards):
        source_checks.untraced_rows(weight, "weight")
    if isinstance(x, Stream):
        return _open_stream(x, weight, devices, checks.float_dtype(x.survey.dtype, like))
    if isinstance(x, Shards):
        return shard_rows(x, weight, like, warn_of_columns)
    rows_per_block = None
    if isinstance(x, Blocks):
        x, rows_per_block = x.array, checks.whole(x.block_rows, "block_rows", 1)
    rows, dtype = row_checks.check_rows(x, like=like, warn_of_columns=warn_of_columns)
    if not checks.traced(rows, weight, operands):
        if rows_per_block is None and _stays_on_host(rows, dtype):
            return _open_stream(Stream(rows), weight, devices, dtype)
        mesh = None if _is_committed(rows, weight) else spread_over_devices(devices, len(rows))
        if rows_per_block is None and mesh is not None:
            return shard_rows(Shards(rows, mesh), weight, like, None)
        return pad_array(rows, weight, dtype, rows_per_block)
    rows = checks.cast(rows, "x", dtype)
    return ArrayData(rows, row_checks.weights_of_rows(weight, len(rows), dtype), rows_per_block)


def _open_observed(
    observed: Observed,
    weight: Any,
    like: DTypeLike | None,
    devices: Sequence[jax.Device] | None,
    operands: Any,
    warn_of_columns: Callable[..., None] | None,
) -> Data:
    """Return rows that are not fully observed as data; see `open_data`."""
    x, rows_per_block = observed.x, None
    if isinstance(x, Stream | Shards):
        source_checks.untraced_rows(weight, "weight")
    if isinstance(x, Stream):
        stream = ObservedStream.of(observed)
        return _open_stream(stream, weight, devices, checks.float_dtype(stream.survey.dtype, like))
    if isinstance(x, Shards):
        if callable(x.source):
            source_checks.only_gaps(observed)
            shape = source_checks.shape_of_rows(x.shape)
            columns = Columns(features=shape[1], most=shape[1])
            return shard_rows(x, weight, like, None, columns)
        packed = pack(dataclasses.replace(observed, x=x.source), like, warn_of_columns)
        spread = dataclasses.replace(x, source=packed.x)
        return shard_rows(spread, weight, packed.dtype, None, packed.columns)
    if isinstance(x, Blocks):
        rows_per_block = checks.whole(x.block_rows, "block_rows", 1)
        observed = dataclasses.replace(observed, x=x.array)
    packed = pack(observed, like, warn_of_columns)
    if packed.columns.plain:  # these rows share programs with others
        plain = packed.x if rows_per_block is None else Blocks(packed.x, rows_per_block)
        return open_data(
            plain, weight, like=like, devices=devices, operands=operands, warn_of_columns=None
        )
    if checks.traced(packed.x, weight, operands):
        rows = checks.cast(packed.x, "x", packed.dtype)
        weight = row_checks.weights_of_rows(weight, len(rows), packed.dtype)
        rows, weight, order = _order(packed, rows, weight)
        return ArrayData(rows, weight, rows_per_block, columns=packed.columns, order=order)
    n = len(packed.x)
    mesh = None if _is_committed(observed.x, weight) else spread_over_devices(devices, n)
    if rows_per_block is None and mesh is not None:
        return shard_rows(Shards(packed.x, mesh), weight, packed.dtype, None, packed.columns)
    weight = row_checks.weights_of_rows(weight, n, packed.dtype)
    rows, weight, order = _order(packed, packed.x, weight)
    data = pad_array(rows, weight, packed.dtype, rows_per_block, packed.columns)
    return dataclasses.replace(data, order=order)


def _order(packed: Packed, rows: Any, weight: Any) -> tuple[Any, Any, np.ndarray | None]:
    """Return rows and weights in the order of how many values of the rows are missing, and it.

    Sums do not depend on the order, and a block takes as long as its row with the most gaps.
    """
    if packed.counts is None or not packed.columns.most:
        return rows, weight, None
    order = np.argsort(packed.counts, kind="stable")
    return rows[order], None if weight is None else weight[order], order


def _open_stream(
    stream: Stream, weight: Any, devices: Sequence[jax.Device] | None, dtype: np.dtype
) -> StreamData:
    n = stream.survey.n
    weight = row_checks.weights_of_rows(weight, n, dtype)
    weight = None if weight is None else np.asarray(weight)
    return StreamData(stream, weight, dtype, spread_over_devices(devices, n))


def _stays_on_host(x: np.ndarray | jax.Array, dtype: np.dtype) -> bool:
    """Return whether x is a NumPy array too large to be copied to a CPU device."""
    large = x.size * np.dtype(dtype).itemsize > COPIED_BYTES
    return large and isinstance(x, np.ndarray) and jax.default_backend() == "cpu"


def _is_committed(*arrays: Any) -> bool:
    """Return whether the user put any of the arrays on a particular device."""
    return any(isinstance(array, jax.Array) and array.committed for array in arrays)


def pad_array(
    x: np.ndarray | jax.Array,
    weight: Any,
    dtype: np.dtype,
    rows_per_block: int | None = None,
    columns: Columns | None = None,
) -> ArrayData:
    """Return an array padded with rows of weight 0, so that nearby n share a program.

    See `row_counts.bucket`. An array on several devices is not padded.

    Args:
      x: rows (n, d).
      weight: row weights (n,), or None if every row counts once.
      dtype: the dtype in which programs compute.
      rows_per_block: the number of rows in a block, or None to let each sum choose.
      columns: what the columns of x hold if it is packed, or None.
    """
    n, d = x.shape
    weight = row_checks.weights_of_rows(weight, n, dtype)
    if n > BUCKETED_ROWS or (isinstance(x, jax.Array) and len(x.devices()) > 1):
        return ArrayData(checks.cast(x, "x", dtype), weight, rows_per_block, columns=columns)
    size = bucket(n)
    rows, counts = np.empty((size, d), dtype), np.zeros(size, dtype)
    rows[:n] = checks.narrow(np.asarray(x), "x", dtype)
    rows[n:] = rows[0]
    counts[:n] = 1 if weight is None else weight
    device = next(iter(x.devices())) if isinstance(x, jax.Array) and x.committed else None
    padded, padded_weight = jax.device_put((rows, counts), device)
    return ArrayData(padded, padded_weight, rows_per_block, padding=size - n, columns=columns)
