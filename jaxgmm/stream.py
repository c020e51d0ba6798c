"""`Stream`: rows that do not fit in memory, read block by block on every pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from . import checks, source_checks
from .drive import Request, closed, total_p
from .kernels import SMALL
from .rows import Rows, Source, compensated
from .shards import AXIS

# One chunk is read, one waits and one is computed on: three are held, and what the source holds.
CHUNK_BYTES = 1 << 23
LEAST_CHUNK = 1 << 12


@dataclasses.dataclass(frozen=True, eq=False)
class Stream(Source):
    """Rows in blocks from wherever they are, read anew on every pass.

    Args:
      source: one of
        a function without arguments that returns an iterable of blocks (n_i, d), e.g. a generator
        function, or `lambda: dataset.to_batches()` of pyarrow;
        a collection of blocks that can be iterated over again, e.g. a list;
        an array with a shape that is sliced by rows, e.g. `np.load(path, mmap_mode="r")`, a Zarr or
        an HDF5 array.
      block_rows: rows read at a time from an array that is sliced.

    Blocks may differ in length. A block is anything that NumPy understands as (n_i, d) numbers. The
    source must give the same rows in the same order every time; the next chunk of rows is read on
    another thread while one is computed on. Nothing is read before a fit, or the like, begins.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> stream = jaxgmm.Stream(lambda: (x[i : i + 50] for i in range(0, 200, 50)))
    >>> bool(jnp.allclose(jaxgmm.log_likelihood(start, stream), jaxgmm.log_likelihood(start, x)))
    True
    """

    source: Callable[[], Iterable] | Iterable
    block_rows: int = 1 << 16

    def blocks(self) -> Iterator[np.ndarray]:
        """The blocks, from the first on. Raises ValueError for one that is not (n_i, d)."""
        d, dtype = None, None
        for number, block in enumerate(self._given()):
            block = np.asarray(checks.array(block, f"block {number} of the stream"))
            d = block.shape[1] if d is None and block.ndim == 2 else d
            source_checks.block(block, number, d)
            dtype = block.dtype if dtype is None else dtype
            yield block.astype(np.promote_types(dtype, block.dtype), copy=False)

    def _given(self) -> Iterable:
        if hasattr(self.source, "shape"):
            starts = range(0, self.source.shape[0], self.block_rows)
            return (self.source[start : start + self.block_rows] for start in starts)
        given = self.source() if callable(self.source) else self.source
        source_checks.iterable(given)
        return given

    @functools.cached_property
    def survey(self) -> Survey:
        """What one pass tells before any fit. Made once."""
        source_checks.stream(self.source, self.block_rows)
        return _survey(self.blocks())


@dataclasses.dataclass(frozen=True)
class Survey:
    """Facts about a stream: the number of rows, their dtype, and (d,) means and extremes."""

    n: int
    dtype: np.dtype
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _survey(blocks: Iterable[np.ndarray]) -> Survey:
    n, dtype, mean = 0, None, 0.0
    low, high = np.inf, -np.inf
    for number, block in enumerate(blocks):
        if np.issubdtype(block.dtype, np.floating):
            source_checks.finite_block(block, number, n)
        n += len(block)
        dtype = block.dtype if dtype is None else np.promote_types(dtype, block.dtype)
        mean += (np.mean(block, axis=0, dtype=np.float64) - mean) * (len(block) / n)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    if n == 0:
        raise ValueError("the stream has no rows: its source gave no block.")
    return Survey(n, dtype, mean, low, high)


# ---- inside a program --------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StreamRows:
    """The rows of a stream, as a program sees them: `Rows` without x.

    Attributes:
      mean, largest: (d,) of the rows, known beforehand.
      centre: (d,), where coordinates start.
      n: the number of rows as far as a program depends on it, so that streams share programs.
      chunk_rows: how many rows a device computes on at a time.
    """

    mean: jax.Array
    largest: jax.Array
    centre: jax.Array
    n: int = dataclasses.field(metadata={"static": True})
    chunk_rows: int = dataclasses.field(metadata={"static": True})

    def about(self, centre: jax.Array) -> StreamRows:
        """The same rows in coordinates that start at `centre` (d,)."""
        return dataclasses.replace(self, centre=centre)

    def about_mean(self) -> StreamRows:
        """The same rows about their mean."""
        return self.about(self.mean)

    def magnitude(self) -> jax.Array:
        """(d,) largest |x| per feature."""
        return self.largest

    def total(self, function: Callable[..., Any], block_rows: int) -> Any:
        """Σ over blocks of function(x (d, b), w (b,)), a pytree: a request to the host."""
        block_rows = min(block_rows, self.chunk_rows)
        d, dtype = len(self.mean), self.mean.dtype
        block = (jax.ShapeDtypeStruct(shape, dtype) for shape in ((d, block_rows), (block_rows,)))
        traced, shape = jax.make_jaxpr(function, return_shape=True)(*block)
        leaves = total_p.bind(
            self.centre, *traced.consts, function=traced.jaxpr, block_rows=block_rows
        )
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    def on_one_device(self, action: Callable[[], None]) -> None:
        """Does it: there is one device."""
        action()


# ---- on the host -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class StreamData:
    """A stream with its row weights, in one dtype: what `compute` runs programs on. The devices of
    `mesh`, if it is given, share every chunk."""

    stream: Stream
    weight: np.ndarray | None
    dtype: np.dtype
    mesh: Mesh | None = None

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self.stream.survey.n

    @property
    def n_features(self) -> int:
        """d."""
        return len(self.stream.survey.mean)

    def astype(self, dtype) -> StreamData:
        """The same rows, computed in another dtype."""
        return dataclasses.replace(self, dtype=np.dtype(dtype))

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of each feature."""
        return self.stream.survey.low.astype(self.dtype), self.stream.survey.high.astype(self.dtype)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """The rows with their weights, a block at a time."""
        start = 0
        for block in self.stream.blocks():
            if start + len(block) > self.n:
                source_checks.same_rows_again(start + len(block), self.n)
            weight = None if self.weight is None else self.weight[start : start + len(block)]
            yield block.astype(self.dtype, copy=False), weight
            start += len(block)
        source_checks.same_rows_again(start, self.n)

    def rows_at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(x, weight) of these rows, in rising order: one pass."""
        found, start = [], 0
        for block, _ in self.pieces():
            here = index[np.searchsorted(index, start) : np.searchsorted(index, start + len(block))]
            found.append(block[here - start])
            start += len(block)
        return np.concatenate(found), None if self.weight is None else self.weight[index]

    @property
    def _chunk_rows(self) -> int:
        row_bytes = self.n_features * self.dtype.itemsize
        most = max(LEAST_CHUNK, 1 << (CHUNK_BYTES // row_bytes).bit_length() - 1)
        size = min(most, 1 << (self.n - 1).bit_length())
        return -(-size // self._shares) * self._shares

    @property
    def _shares(self) -> int:
        return 1 if self.mesh is None else self.mesh.size

    def compute(self, function: Callable[..., Any], *operands: Any, **static: Any) -> Any:
        """function(rows, *operands, **static), as a program that the host walks."""
        source_checks.on_host(operands)
        survey = self.stream.survey
        put = lambda values: jax.device_put(values.astype(self.dtype))
        largest = np.maximum(np.abs(survey.low), np.abs(survey.high))
        mean = put(survey.mean)
        share = self._chunk_rows // self._shares
        rows = StreamRows(mean, put(largest), jnp.zeros_like(mean), min(self.n, SMALL + 1), share)
        leaves, tree = jax.tree.flatten((rows, operands))
        leaves = [leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for leaf in leaves]
        shapes = tuple(jax.typeof(leaf) for leaf in leaves)
        piece, shape = _program(
            function, tree, shapes, tuple(sorted(static.items())), jax.config.jax_enable_x64
        )
        with ThreadPoolExecutor(1) as reader:
            found = piece(functools.partial(self._read, reader), *leaves)
        # What a program returns may be a constant of it, a plain number.
        arrays = [
            leaf if isinstance(leaf, jax.Array) else jax.device_put(np.asarray(leaf, like.dtype))
            for leaf, like in zip(found, jax.tree.leaves(shape), strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(shape), arrays)

    def _read(self, reader: Executor, request: Request, centre, *constants) -> list[jax.Array]:
        """One pass: the sums that a program asks for. The next chunk is read meanwhile."""
        total = lost = [np.zeros(shape.shape, shape.dtype) for shape in request.shapes]
        chunks, layout, earlier = self._chunks(), None, total
        if self.mesh is not None:
            layout = NamedSharding(self.mesh, P(AXIS))
            constants, centre = jax.tree.map(np.asarray, (constants, centre))
        coming = reader.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = reader.submit(next, chunks, None)
            jax.block_until_ready(earlier)  # or chunks would pile up before the device
            chunk, earlier = jax.device_put(chunk, layout), total
            total, lost = _add_chunk(request, self.mesh, constants, centre, *chunk, total, lost)
        return total if layout is None else jax.device_put(list(map(np.asarray, total)))

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(x, weight) of chunk_rows rows each, the last one filled up with rows of weight 0."""
        size, fresh = self._chunk_rows, True
        for block, weight in self.pieces():
            while len(block):
                if fresh:
                    x = np.empty((size, self.n_features), self.dtype)
                    filled, weights = 0, np.zeros(size, self.dtype)
                taken = min(size - filled, len(block))
                x[filled : filled + taken] = block[:taken]
                weights[filled : filled + taken] = 1 if weight is None else weight[:taken]
                block, weight = block[taken:], None if weight is None else weight[taken:]
                filled += taken
                fresh = filled == size
                if fresh:
                    yield x, weights
        if not fresh:
            x[filled:] = x[0]
            yield x, weights


@functools.partial(jax.jit, static_argnums=(0, 1))
def _add_chunk(request: Request, mesh: Mesh | None, constants, centre, x, weight, total, lost):
    axis = None if mesh is None else AXIS

    def add(constants, centre, x, weight, total, lost):
        block = lambda x, weight: list(request(constants, x, weight))
        values = Rows(x, weight, centre, axis=axis).total(block, request.block_rows)
        pairs = [compensated(*triple) for triple in zip(total, lost, values, strict=True)]
        return [grown for grown, _ in pairs], [lost for _, lost in pairs]

    if mesh is not None:
        specs = P(), P(), P(AXIS), P(AXIS), P(), P()
        add = jax.shard_map(add, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)
    return add(constants, centre, x, weight, total, lost)


@functools.lru_cache(maxsize=64)
def _program(function, tree, shapes, static, x64):
    """The traced function for the host to walk, and the form of what it returns. Made once for the
    same function, shapes and static arguments."""

    def call(*leaves):
        rows, operands = jax.tree.unflatten(tree, leaves)
        return function(rows, *operands, **dict(static))

    traced, shape = jax.make_jaxpr(call, return_shape=True)(*shapes)
    return closed(traced), shape
