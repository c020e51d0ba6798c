"""`Shards`: rows spread over devices, on this machine or on many; each sums its own share."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..internal import checks
from ..numerics import lapack
from . import row_checks, source_checks
from .column_precision import warn_of_rounded_columns
from .rows import BUCKETED_ROWS, Rows, bucket
from .sources import Held, Source

# Fewer rows than this stay on one device: what a pass takes is less than what devices tell each
# other at every step.
SPREAD_ROWS = 1 << 15
AXIS = "rows"
PIECE_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Shards(Source):
    """Rows spread over the devices of a mesh.

    Args:
      source: an array (n, d); a `jax.Array` that is spread already stays where it is, if its rows
        divide by the devices. Or a function that takes slices (of rows, of columns), as
        `jax.make_array_from_callback` calls it, so that each device (and each process) reads its
        own rows alone.
      mesh: a `jax.sharding.Mesh`; all devices, of all processes, by default.
      axis: the mesh axis that the rows are spread over; the first by default.
      shape: (n, d), for a function.
      dtype: for a function.

    Each device takes n/devices rows, filled up with rows of weight 0 (see `rows.bucket`). A pass
    ends in one all-reduce of the sums. With several processes (`jax.distributed`) every process
    makes the same calls, and each gets the whole result. If one dies, the others end with JAX's
    error once its heartbeat is missed: `jax.distributed.initialize(heartbeat_timeout_seconds=10,
    shutdown_timeout_seconds=10)` makes that half a minute, where JAX's own settings take minutes.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> shards = jaxgmm.Shards(x)
    >>> bool(jnp.allclose(jaxgmm.log_likelihood(start, shards), jaxgmm.log_likelihood(start, x)))
    True

    Another axis of the mesh can hold restarts (here 1, or 2 with reshape(2, -1) of 8 devices): each
    group of devices climbs from its part of the starts over all rows, and waits for no other.

    >>> mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(1, -1), ("restarts", "rows"))
    >>> rows = jaxgmm.Shards(x, mesh, axis="rows")
    >>> keys = jax.random.split(jax.random.key(1), 4)
    >>> starts = jax.vmap(lambda key: jaxgmm.initialize(key, x, 2))(keys)
    >>> climb = jax.vmap(lambda start: jaxgmm.fit(rows, start), spmd_axis_name="restarts")
    >>> jaxgmm.best(climb(starts)).mixture.means.shape
    (2, 2)
    """

    source: Any
    mesh: Mesh | None = None
    axis: str | None = None
    shape: tuple[int, int] | None = None
    dtype: Any = np.float32


def row_of(devices: Sequence) -> Mesh:
    """A mesh of these devices."""
    return Mesh(np.array(list(devices)), (AXIS,))


def spread_over_devices(devices: Sequence | None, n: int) -> Mesh | None:
    """The mesh that n rows are spread over by themselves: that of these devices, or of all local
    ones; None to stay on one device."""
    found = jax.local_devices() if devices is None else devices
    return row_of(found) if len(found) > 1 and n >= SPREAD_ROWS else None


def use_all_cores(devices: int | None = None) -> int:
    """Makes a CPU device of every core, or so many; call it before anything else in JAX.

    One CPU device passes over the rows on one core. With several, an array given to `fit`,
    `log_likelihood`, `e_step`, `bic` and their kin is spread over all of them by itself, and
    `sweep` shares its lanes among them. The environment variable JAX_NUM_CPU_DEVICES does the same;
    a number that is set there is kept, unless one is given here.

    JAX gets more threads than devices (by the environment variable PJRT_NPROC). Batched calls of
    LAPACK by other code, one on each device, could otherwise wait without end for a thread; this
    package makes no call that waits.

    Returns the number of devices. Raises ValueError after JAX's first computation, when the number
    of devices is settled, unless it is this one.
    """
    set_already = jax.config.jax_num_cpu_devices  # −1 if it is not
    wanted = set_already if set_already > 0 else lapack.cores()
    wanted = wanted if devices is None else checks.whole(devices, "devices", 1)
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:
        found = len(jax.local_devices(backend="cpu"))
        if found != wanted:
            raise ValueError(
                f"JAX already runs with {found} CPU devices: call use_all_cores() before the first "
                f"computation, or set JAX_NUM_CPU_DEVICES={wanted} in the environment."
            ) from None
    else:
        lapack.widen_pool(wanted)
    return wanted


@dataclasses.dataclass(frozen=True, eq=False)
class ShardData(Held):
    """Rows on a mesh: what `compute` runs programs on.

    Attributes:
      x, weight: arrays spread over the mesh axis, with padding rows; weight None if no row is
        padding and every row counts once.
      n: rows without the padding.
      share: how many of them each device has, but for the last ones.
    """

    x: jax.Array
    weight: jax.Array | None
    n: int
    share: int
    mesh: Mesh
    axis: str

    @property
    def _size(self) -> int:
        """Rows of a device, with the padding."""
        return len(self.x) // self.mesh.shape[self.axis]

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of each feature, in this process's shares."""
        shares = [np.asarray(shard.data) for shard in self.x.addressable_shards]
        low, high = ([end(x, axis=0) for x in shares] for end in (np.min, np.max))
        return np.min(low, axis=0), np.max(high, axis=0)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """The rows with their weights, a part at a time; the same in every process."""
        if not self.x.is_fully_addressable:
            for start in range(0, self.n, PIECE_ROWS):
                yield self.rows_at(np.arange(start, min(start + PIECE_ROWS, self.n)))
            return
        weights, seen = None if self.weight is None else self.weight.addressable_shards, set()
        for i, shard in enumerate(self.x.addressable_shards):
            start = (shard.index[0].start or 0) // self._size * self.share
            x = np.asarray(shard.data)[: max(min(self.n - start, self.share), 0)]
            if len(x) and start not in seen:
                yield x, None if weights is None else np.asarray(weights[i].data)[: len(x)]
            seen.add(start)

    def rows_at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(x, weight) of these rows, in every process."""
        place = index // self.share * self._size + index % self.share
        x, weight = self.compute(_rows_at, place.astype(np.int32))
        return np.asarray(x), None if self.weight is None else np.asarray(weight)

    @property
    def _rows(self) -> Rows:
        rows = Rows.of(self.x, self.weight)
        return dataclasses.replace(rows, axis=self.axis, n_rows=len(self.x))

    def _program(self, function: Callable[..., Any], static: dict[str, Any]) -> Callable[..., Any]:
        layout = self.mesh, self.axis, self.weight is not None
        return _program(*layout, function, *sorted(static.items()))

    def compute(self, function: Callable[..., Any], *operands: Any, **static: Any) -> Any:
        """function(rows, *operands, **static) as one program on every device of the mesh, each with
        its share of the rows."""
        # What every process has alike goes as plain numbers.
        if not (self.x.is_fully_addressable or checks.traced(operands)):
            operands = jax.tree.map(np.asarray, operands)
        found = self._program(function, static)(self._rows, operands)
        if checks.traced(found):
            return found
        # By NumPy: results that lie on no device in particular go with any array.
        local = lambda leaf: jax.device_put(np.asarray(leaf.addressable_data(0)))
        return jax.tree.map(local, found)


def _rows_at(rows: Rows, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows by their place among all: each device gives those that it has."""
    size = len(rows.x)
    here = index - size * jax.lax.axis_index(rows.axis)
    mine = (here >= 0) & (here < size)
    found = rows.taken(jnp.clip(here, 0, size - 1))
    weight = mine.astype(found.x.dtype) if found.weight is None else found.weight * mine
    return jax.lax.psum((jnp.where(mine[:, None], found.x, 0), weight), rows.axis)


@functools.lru_cache(maxsize=256)
def _program(mesh: Mesh, axis: str, weighted: bool, function, *static):
    """The program for a mesh; jit keeps it for each shape."""
    spread = Rows(P(axis), P(axis) if weighted else None, P(), None, axis)

    def call(rows, operands):
        specs = dataclasses.replace(spread, n_rows=rows.n_rows)
        return jax.shard_map(
            lambda rows, operands: function(rows, *operands, **dict(static)),
            mesh=mesh, in_specs=(specs, P()), out_specs=P(), check_vma=False,
        )(rows, operands)  # fmt: skip

    return jax.jit(call)


# ---- how rows come to lie on a mesh ------------------------------------------------------------


def shard_rows(given: Shards, weight, like=None, judge=warn_of_rounded_columns) -> ShardData:
    """The rows of `given` on its mesh, checked."""
    source_checks.untraced_rows(given.source, "x")
    mesh = row_of(jax.devices()) if given.mesh is None else given.mesh
    axis = mesh.axis_names[0] if given.axis is None else given.axis
    checks.choice(axis, "axis", mesh.axis_names)
    if callable(given.source):
        shape = source_checks.shape_of_rows(given.shape)
        dtype = checks.float_dtype(given.dtype, like)
        read = lambda rows: source_checks.plain(given.source((rows, slice(None))), dtype)
    elif isinstance(given.source, jax.Array) and not given.source.is_fully_addressable:
        found = given.source
        shape, dtype, read = found.shape, found.dtype, None
    else:
        found, dtype = row_checks.check_rows(given.source, like=like, judge=judge)
        shape = found.shape
        read = lambda rows: checks.narrow(np.asarray(found[rows]), "x", dtype)
    n, d = shape
    parts = mesh.shape[axis]
    share = -(-n // parts)
    size, layout = bucket(share), NamedSharding(mesh, P(axis))
    if read is None or (isinstance(given.source, jax.Array) and _lies_on(given.source, layout)):
        source_checks.divides(n, parts)
        size, x = share, given.source.astype(dtype)
    else:

        def placed(index):
            start = (index[0].start or 0) // size * share
            return _read_padded(read, start, max(min(n - start, share), 0), size, d, dtype)

        x = jax.make_array_from_callback((size * parts, d), layout, placed)
    weight = _weights(weight, layout, n, share, size, parts, dtype)
    data = ShardData(x, weight, n, share, mesh, axis)
    for shard in x.addressable_shards:
        first = (shard.index[0].start or 0) // size * share
        source_checks.finite_share(np.asarray(shard.data), first)
    return data


def _lies_on(x: jax.Array, layout: NamedSharding) -> bool:
    return x.shape[0] % layout.num_devices == 0 and x.sharding.is_equivalent_to(layout, x.ndim)


def _read_padded(read, start: int, kept: int, size: int, d: int, dtype) -> np.ndarray:
    """Rows of a share, padding rows at the end."""
    found = source_checks.share(read(slice(start, start + kept)), kept, d)
    if kept == size:
        return found
    filling = np.zeros((size - kept, d), dtype) if kept == 0 else found[:1]
    return np.concatenate([found, np.broadcast_to(filling, (size - kept, d))])


def _weights(weight, layout, n: int, share: int, size: int, parts: int, dtype) -> jax.Array | None:
    if isinstance(weight, jax.Array) and not weight.is_fully_addressable:
        return weight.astype(dtype)
    weight = row_checks.weights_of_rows(weight, n, dtype)
    if weight is None and n == size * parts and size == share > BUCKETED_ROWS:
        return None
    values = np.zeros(share * parts, dtype)
    values[:n] = 1 if weight is None else np.asarray(weight)
    values = np.pad(values.reshape(parts, share), ((0, 0), (0, size - share))).ravel()
    return jax.make_array_from_callback(values.shape, layout, lambda index: values[index])
