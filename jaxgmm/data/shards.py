"""`Shards`: rows spread over devices of one machine or of many; each device sums its own part."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike

from ..internal import checks
from . import row_checks, source_checks
from .column_rounding_warnings import warn_of_rounded_columns
from .columns import Columns, features_of
from .devices import mesh_of
from .row_counts import BUCKETED_ROWS, bucket
from .rows import Rows
from .sources import InMemory, RowsAndWeights, Source

PIECE_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Shards(Source):
    """Rows spread over the devices of a mesh.

    Args:
      source: an array (n, d), or a function. A `jax.Array` that is already spread over the mesh is
        not moved, if the number of devices divides the number of its rows. A function takes a pair
        of slices (of rows, of columns), as `jax.make_array_from_callback` calls it, and returns
        those rows, so that each device (and each process) reads only its own rows.
      mesh: a `jax.sharding.Mesh`; by default, all devices of all processes.
      axis: the mesh axis over which the rows are spread; by default, the first one.
      shape: (n, d), needed if `source` is a function.
      dtype: the dtype of the rows, used if `source` is a function.

    Each device takes n/devices rows, padded with rows of weight 0 (`row_counts.bucket`). A pass
    ends in one all-reduce of the sums. With several processes (`jax.distributed`), every process
    makes the same calls and gets the whole result. If one dies, the others end with an error from
    JAX. With the arguments heartbeat_timeout_seconds=10 and shutdown_timeout_seconds=10 of
    `jax.distributed.initialize` this takes half a minute, and with JAX's default settings several
    minutes.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> shards = jaxgmm.Shards(x)
    >>> bool(jnp.allclose(jaxgmm.log_likelihood(start, shards), jaxgmm.log_likelihood(start, x)))
    True

    Another axis of the mesh can be used for restarts (1 device here; with 8 devices, reshape(2, -1)
    gives 2 groups). Each group of devices then fits its part of the starts to all rows, and waits
    for no other group.

    >>> mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(1, -1), ("restarts", "rows"))
    >>> rows = jaxgmm.Shards(x, mesh, axis="rows")
    >>> keys = jax.random.split(jax.random.key(1), 4)
    >>> starts = jax.vmap(lambda key: jaxgmm.initialize(key, x, 2))(keys)
    >>> fits = jax.vmap(lambda start: jaxgmm.fit(rows, start), spmd_axis_name="restarts")
    >>> jaxgmm.best(fits(starts)).mixture.means.shape
    (2, 2)
    """

    source: Any
    mesh: Mesh | None = None
    axis: str | None = None
    shape: tuple[int, int] | None = None
    dtype: Any = np.float32


@dataclasses.dataclass(frozen=True, eq=False)
class ShardData(InMemory):
    """Rows on a mesh, on which programs run.

    Attributes:
      x: rows with padding rows, spread over the mesh axis.
      weight: their weights, spread like x; None if there is no padding and all weights are 1.
      n: the number of rows without padding.
      part_rows: the number of rows without padding in each device's part; the last may have less.
      mesh, axis: the mesh, and its axis over which the rows are spread.
    """

    n: int
    part_rows: int
    mesh: Mesh
    axis: str

    @property
    def _padded_rows(self) -> int:
        """The number of rows in each device's part, with padding."""
        return len(self.x) // self.mesh.shape[self.axis]

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value (d,) of each feature in this process's part."""
        shards = self.x.addressable_shards
        parts = [
            row_checks.ends(features_of(np.asarray(shard.data), self.columns)) for shard in shards
        ]
        low, high = zip(*parts, strict=True)
        return np.fmin.reduce(low, axis=0), np.fmax.reduce(high, axis=0)

    def pieces(self) -> Iterator[RowsAndWeights]:
        """Yield the rows with their weights, a piece at a time, the same in every process."""
        if not self.x.is_fully_addressable:
            for start in range(0, self.n, PIECE_ROWS):
                x, weight = self.rows_at(np.arange(start, min(start + PIECE_ROWS, self.n)))
                yield features_of(x, self.columns), weight
            return
        weights = None if self.weight is None else self.weight.addressable_shards
        seen = set()  # a mesh with further axes has copies of each part
        for i, shard in enumerate(self.x.addressable_shards):
            start = (shard.index[0].start or 0) // self._padded_rows * self.part_rows
            x = features_of(np.asarray(shard.data), self.columns)
            x = x[: max(min(self.n - start, self.part_rows), 0)]
            if len(x) and start not in seen:
                yield x, None if weights is None else np.asarray(weights[i].data)[: len(x)]
            seen.add(start)

    def rows_at(self, index: np.ndarray) -> RowsAndWeights:
        """Return the rows at these positions with their weights, in every process."""
        position = index // self.part_rows * self._padded_rows + index % self.part_rows
        x, weight = self.compute(_rows_at, position.astype(np.int32))
        return np.asarray(x), None if self.weight is None else np.asarray(weight)

    @property
    def _rows(self) -> Rows:
        rows = Rows.of(self.x, self.weight, columns=self.columns)
        return dataclasses.replace(rows, axis=self.axis, n_rows=len(self.x))

    def _program(self, function: Callable[..., Any], static: dict[str, Any]) -> Callable[..., Any]:
        layout = self.mesh, self.axis, self.weight is not None, self.columns
        return _program(*layout, function, *sorted(static.items()))

    def _free(self, leaf: Any) -> Any:
        """Return an operand as an array that is committed to no other device than the rows are."""
        if not self.x.is_fully_addressable:  # of several processes, each has the same numbers
            return np.asarray(leaf)
        if isinstance(leaf, jax.Array) and leaf.committed:
            return jax.device_put(leaf, NamedSharding(self.mesh, P()))
        return leaf

    def compute(
        self, function: Callable[..., Any], *operands: Any, quickly: bool = False, **static: Any
    ) -> Any:
        """Return function(rows, *operands, **static), one program on all devices of the mesh."""
        if not checks.traced(operands):
            operands = jax.tree.map(self._free, operands)
        result = self._program(function, static)(self._rows, operands)
        if checks.traced(result):
            return result
        # A copy by way of NumPy is not committed to a device, so that it combines with any array.
        local = lambda leaf: jax.device_put(np.asarray(leaf.addressable_data(0)))
        return jax.tree.map(local, result)


def _rows_at(rows: Rows, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the rows and weights at these positions; each device contributes those that it has."""
    size = len(rows.x)
    local_index = index - size * jax.lax.axis_index(rows.axis)
    is_local = (local_index >= 0) & (local_index < size)
    taken = rows.take(jnp.clip(local_index, 0, size - 1))
    weight = is_local.astype(taken.x.dtype) if taken.weight is None else taken.weight * is_local
    return jax.lax.psum((jnp.where(is_local[:, None], taken.x, 0), weight), rows.axis)


@functools.lru_cache(maxsize=256)
def _program(
    mesh: Mesh,
    axis: str,
    weighted: bool,
    columns: Columns | None,
    function: Callable[..., Any],
    *static: tuple[str, Any],
) -> Callable[..., Any]:
    """Return the program of a mesh; jit caches a compiled version of it for each shape."""
    # shard_map takes partition specs as a pytree in the form of its argument.
    specs: Any = {"x": P(axis), "weight": P(axis) if weighted else None, "center": P()}
    row_specs = Rows(**specs, axis=axis, columns=columns)

    # `_rows_at` counts positions in the order of the data.
    prepare = (lambda rows: rows) if function is _rows_at else Rows.ordered

    def call(rows, operands):
        in_specs = dataclasses.replace(row_specs, n_rows=rows.n_rows), P()
        return jax.shard_map(
            lambda rows, operands: function(prepare(rows), *operands, **dict(static)),
            mesh=mesh, in_specs=in_specs, out_specs=P(), check_vma=False,
        )(rows, operands)  # fmt: skip

    return jax.jit(call)


def shard_rows(
    shards: Shards,
    weight: Any,
    like: DTypeLike | None = None,
    warn_of_columns: Callable[..., None] | None = warn_of_rounded_columns,
    columns: Columns | None = None,
) -> ShardData:
    """Check rows and spread them over their mesh; for the other arguments see `open_data`.

    With `columns`, the source is packed and was checked before, unless it is a function.
    """
    source = shards.source
    source_checks.untraced_rows(source, "x")
    mesh = mesh_of(jax.devices()) if shards.mesh is None else shards.mesh
    axis = mesh.axis_names[0] if shards.axis is None else shards.axis
    checks.choice(axis, "axis", mesh.axis_names)
    read: Callable[[slice], np.ndarray] | None
    if callable(source):
        n, d = source_checks.shape_of_rows(shards.shape)
        dtype = checks.float_dtype(shards.dtype, like)
        read = lambda rows: source_checks.plain(source((rows, slice(None))), dtype)
    elif isinstance(source, jax.Array) and not source.is_fully_addressable:
        (n, d), dtype, read = source.shape, source.dtype, None
    else:
        array, dtype = source, np.dtype(getattr(source, "dtype", np.float32))
        if columns is None:
            array, dtype = row_checks.check_rows(source, like=like, warn_of_columns=warn_of_columns)
        n, d = array.shape
        read = lambda rows: checks.narrow(np.asarray(array[rows]), "x", dtype)
    parts = mesh.shape[axis]
    part_rows = -(-n // parts)
    size, layout = bucket(part_rows), NamedSharding(mesh, P(axis))
    if read is None or (isinstance(source, jax.Array) and _has_layout(source, layout)):
        source_checks.divides(n, parts)
        size, x = part_rows, source.astype(dtype)
    else:

        def read_part(index):
            start = (index[0].start or 0) // size * part_rows
            count = max(min(n - start, part_rows), 0)
            return _read_padded(read, start, count, size, d, dtype)

        x = jax.make_array_from_callback((size * parts, d), layout, read_part)
    weights = _spread_weights(weight, layout, dtype, n, parts, part_rows=part_rows, size=size)
    data = ShardData(
        x=x, weight=weights, n=n, part_rows=part_rows, mesh=mesh, axis=axis, columns=columns
    )
    for shard in x.addressable_shards:
        first = (shard.index[0].start or 0) // size * part_rows
        part = features_of(np.asarray(shard.data), columns)
        source_checks.finite_part(part, first, missing=columns is not None)
    return data


def _has_layout(x: jax.Array, layout: NamedSharding) -> bool:
    return x.shape[0] % layout.num_devices == 0 and x.sharding.is_equivalent_to(layout, x.ndim)


def _read_padded(
    read: Callable[[slice], np.ndarray], start: int, count: int, size: int, d: int, dtype: np.dtype
) -> np.ndarray:
    """Read `count` rows from `start` on, and pad them to `size` rows with copies of the first."""
    rows = source_checks.rows_read(read(slice(start, start + count)), count, d)
    if count == size:
        return rows
    filling = np.zeros((size - count, d), dtype) if count == 0 else rows[:1]
    return np.concatenate([rows, np.broadcast_to(filling, (size - count, d))])


def _spread_weights(
    weight: Any, onto: NamedSharding, dtype: np.dtype, n: int, parts: int, part_rows: int, size: int
) -> jax.Array | None:
    """Spread row weights (n,); of `size` rows in a part, those after `part_rows` are padding."""
    if isinstance(weight, jax.Array) and not weight.is_fully_addressable:
        return weight.astype(dtype)
    weight = row_checks.weights_of_rows(weight, n, dtype)
    if weight is None and n == size * parts and size == part_rows > BUCKETED_ROWS:
        return None
    values = np.zeros(part_rows * parts, dtype)
    values[:n] = 1 if weight is None else np.asarray(weight)
    values = np.pad(values.reshape(parts, part_rows), ((0, 0), (0, size - part_rows))).ravel()
    return jax.make_array_from_callback(values.shape, onto, lambda index: values[index])
