"""`StreamData`: what runs a program over rows that the host reads, pass after pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from . import source_checks
from .host_interpreter import Request, close_jaxpr
from .rows import SMALL, Rows, bucket, compensated, finest_detail
from .shards import AXIS
from .stream import Stream, StreamRows

# One chunk is read, one waits and one is computed on.
HELD = 3
CHUNK_BYTES = 1 << 22
LEAST_CHUNK = 1 << 12
ALIGNED = 64  # bytes: what JAX asks of memory that it is to share on CPUs


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

    def scattered(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """`pieces` to take minibatches from: of an array in memory each has rows from all over."""
        source, parts = self.stream.source, -(-self.n // self.chunk_rows)
        if not isinstance(source, np.ndarray) or isinstance(source, np.memmap):
            yield from self.pieces()
            return
        for i in range(parts):
            weight = None if self.weight is None else self.weight[i::parts]
            yield source[i::parts].astype(self.dtype, copy=False), weight

    def rows_at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(x, weight) of these rows, in rising order: one pass."""
        found, start = [], 0
        for block, _ in self.pieces():
            here = index[np.searchsorted(index, start) : np.searchsorted(index, start + len(block))]
            found.append(block[here - start])
            start += len(block)
        return np.concatenate(found), None if self.weight is None else self.weight[index]

    @property
    def chunk_rows(self) -> int:
        """How many rows are read at a time: a multiple of the devices."""
        row_bytes, shares = self.n_features * self.dtype.itemsize, self.shares
        most = max(LEAST_CHUNK, 1 << (CHUNK_BYTES // row_bytes).bit_length() - 1)
        size = min(most, 1 << (self.n - 1).bit_length())
        return -(-size // shares) * shares

    @property
    def shares(self) -> int:
        """How many devices there are."""
        return 1 if self.mesh is None else self.mesh.size

    def compute_once(self, function: Callable[..., Any]) -> Any:
        """function(rows), as any other program."""
        return self.compute(function)

    def compute(self, function: Callable[..., Any], *operands: Any, **static: Any) -> Any:
        """function(rows, *operands, **static), as a program that the host walks."""
        survey = self.stream.survey
        put = lambda values: jax.device_put(values.astype(self.dtype))
        size = np.maximum(np.abs(survey.low), np.abs(survey.high))
        distance = np.maximum(survey.high - survey.mean, survey.mean - survey.low)
        mean, detail = put(survey.mean), put(finest_detail(size, distance))
        n = min(bucket(self.n), SMALL + 1)
        rows = StreamRows(mean, detail, jnp.zeros_like(mean), n, self.chunk_rows, self.shares)
        leaves, tree = jax.tree.flatten((rows, operands))
        # Under jit the facts about the rows are traced too.
        source_checks.on_host(leaves)
        leaves = [leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for leaf in leaves]
        shapes = tuple(jax.typeof(leaf) for leaf in leaves)
        piece, shape = _program(
            function, tree, shapes, tuple(sorted(static.items())), jax.config.jax_enable_x64
        )
        with ThreadPoolExecutor(1) as thread:
            found = piece(_Reading(self, thread), *leaves)
        # What a program returns may be a constant of it, a plain number.
        arrays = [
            leaf if isinstance(leaf, jax.Array) else jax.device_put(np.asarray(leaf, like.dtype))
            for leaf, like in zip(found, jax.tree.leaves(shape), strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(shape), arrays)


class _Reading:
    """Does what a program asks for: passes over the rows, read on another thread."""

    def __init__(self, data: StreamData, thread: Executor):
        self.data, self.thread = data, thread
        self.buffers = [
            (_aligned((data.chunk_rows, data.n_features), data.dtype),
             _aligned((data.chunk_rows,), data.dtype))
            for _ in range(HELD)
        ]  # fmt: skip

    def total(self, request: Request, center, *constants) -> list[jax.Array]:
        """The sums of `request` over all rows. Each device adds up its own."""
        mesh = self.data.mesh
        zeros = [np.zeros((self.data.shares, *s.shape), s.dtype) for s in request.shapes]
        layout = None if mesh is None else NamedSharding(mesh, P(AXIS))
        state = jax.device_put((zeros, zeros), layout)
        if mesh is not None:  # once, not with every chunk
            shared = jax.tree.map(np.asarray, (constants, center))
            constants, center = jax.device_put(shared, NamedSharding(mesh, P()))

        def add(state, x, weight):
            return _add_chunk(request, mesh, constants, center, x, weight, *state)

        shares, _ = self._through(self.data.pieces(), add, state, layout)
        return jax.device_put([np.sum(np.asarray(each), axis=0) for each in shares])

    def fold(self, request: Request, *operands) -> list[jax.Array]:
        """What `request` carries, led through all chunks on one device."""
        carried = len(request.shapes)
        constants, carry = operands[: len(operands) - carried], operands[-carried:]
        visit = lambda carry, *chunk: _visit_chunk(request, constants, carry, *chunk)
        return self._through(self.data.scattered(), visit, list(carry), None)

    def _through(self, pieces, step, state, layout):
        """step(state, x, weight) over all chunks. The next one is read meanwhile, into the memory
        of one that is done with."""
        chunks = self._chunks(pieces)
        before = state
        coming = self.thread.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            jax.block_until_ready(before)
            coming, before = self.thread.submit(next, chunks, None), state
            state = step(state, *jax.device_put(chunk, layout))
        return jax.block_until_ready(state)

    def _chunks(self, pieces) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(x, weight) of chunk_rows rows each, the last one filled up with rows of weight 0."""
        number = filled = 0
        for block, weight in pieces:
            while len(block):
                x, weights = self.buffers[number % HELD]
                taken = min(len(x) - filled, len(block))
                x[filled : filled + taken] = block[:taken]
                weights[filled : filled + taken] = 1 if weight is None else weight[:taken]
                block, weight = block[taken:], None if weight is None else weight[taken:]
                filled += taken
                if filled == len(x):
                    yield x, weights
                    number, filled = number + 1, 0
        if filled:
            x, weights = self.buffers[number % HELD]
            x[filled:], weights[filled:] = x[0], 0
            yield x, weights


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that JAX can compute on where it lies, on CPUs."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _add_chunk(request: Request, mesh: Mesh | None, constants, center, x, weight, total, lost):
    def add(constants, center, x, weight, total, lost):
        block = lambda x, weight: request(*constants, x, weight)
        values = Rows(x, weight, center).total(block, request.block_rows)
        added = (compensated(t[0], z[0], v) for t, z, v in zip(total, lost, values, strict=True))
        grown, lost = zip(*added, strict=True)
        return [each[None] for each in grown], [each[None] for each in lost]

    if mesh is not None:
        own = P(AXIS)
        specs = P(), P(), own, own, own, own
        add = jax.shard_map(add, mesh=mesh, in_specs=specs, out_specs=own, check_vma=False)
    return add(constants, center, x, weight, total, lost)


@functools.partial(jax.jit, static_argnums=0)
def _visit_chunk(request: Request, constants, carry, x, weight):
    return request(*constants, *carry, x, weight)


@functools.lru_cache(maxsize=64)
def _program(function, tree, shapes, static, x64):
    """The traced function for the host to walk, and the form of what it returns. Made once for the
    same function, shapes and static arguments."""

    def call(*leaves):
        rows, operands = jax.tree.unflatten(tree, leaves)
        return function(rows, *operands, **dict(static))

    traced, shape = jax.make_jaxpr(call, return_shape=True)(*shapes)
    return close_jaxpr(traced), shape
