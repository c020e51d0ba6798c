"""`StreamData`: runs a program over rows that the host reads again in every pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from . import source_checks
from .columns import Columns, features_of, rescale_rows
from .host_interpreter import ProgramPart, close_jaxpr
from .row_counts import WHITENED_UP_TO_ROWS, bucket
from .rows import finest_detail
from .sources import RowsAndWeights, RunsPrograms
from .stream import Stream, StreamRows, Survey
from .stream_chunks import Chunks
from .stream_reader import StreamReader

CHUNK_BYTES = 1 << 24
LEAST_CHUNK = 1 << 12


@dataclasses.dataclass(frozen=True)
class StreamData(RunsPrograms):
    """A stream with its row weights and a dtype, on which programs run.

    Attributes:
      stream: the stream.
      weight: row weights (n,), or None if every row counts once.
      dtype: the dtype in which programs compute.
      mesh: a mesh whose devices each take a part of every chunk, or None for one device.
      exponent: the features are those of the stream times 2 to this power.
    """

    stream: Stream
    weight: np.ndarray | None
    dtype: np.dtype
    mesh: Mesh | None = None
    exponent: int = 0

    @property
    def survey(self) -> Survey:
        """The facts about the rows."""
        return self.stream.survey.rescale(self.exponent)

    @property
    def n(self) -> int:
        """The number of rows."""
        return self.stream.survey.n

    @property
    def n_features(self) -> int:
        """The number d of features."""
        return len(self.stream.survey.mean)

    @property
    def columns(self) -> Columns | None:
        """What the columns hold if the rows are not fully observed, or None."""
        return self.stream.columns

    @property
    def width(self) -> int:
        """The number of columns that are read."""
        return self.n_features if self.columns is None else self.columns.width

    def astype(self, dtype: DTypeLike) -> StreamData:
        """Return the same rows with another dtype."""
        return dataclasses.replace(self, dtype=np.dtype(dtype))

    def rescale(self, exponent: int) -> StreamData:
        """Return the rows with features times 2 to the power `exponent`."""
        return dataclasses.replace(self, exponent=self.exponent + exponent)

    def _convert(self, block: np.ndarray) -> np.ndarray:
        """Return a block of the stream in the dtype and the unit of the rows."""
        return rescale_rows(block.astype(self.dtype, copy=False), self.columns, self.exponent)

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value (d,) of each feature."""
        return self.survey.low.astype(self.dtype), self.survey.high.astype(self.dtype)

    def pieces(self) -> Iterator[RowsAndWeights]:
        """Yield the features with the row weights, a block at a time."""
        for block, weight in self.packed_pieces():
            yield features_of(block, self.columns), weight

    def packed_pieces(self) -> Iterator[RowsAndWeights]:
        """Yield all columns with the row weights, a block at a time."""
        start = 0
        for block in self.stream.blocks():
            if start + len(block) > self.n:
                source_checks.same_rows_again(start + len(block), self.n)
            weight = None if self.weight is None else self.weight[start : start + len(block)]
            yield self._convert(block), weight
            start += len(block)
        source_checks.same_rows_again(start, self.n)

    def interleaved_pieces(self) -> Iterator[RowsAndWeights]:
        """Yield pieces from which minibatches can be drawn.

        If the source is an array in memory, each piece has rows from all over the array.
        Otherwise the pieces are those of `pieces`.
        """
        source, count = self.stream.source, -(-self.n // self.chunk_rows)
        if not isinstance(source, np.ndarray) or isinstance(source, np.memmap):
            yield from self.packed_pieces()
            return
        for i in range(count):
            weight = None if self.weight is None else self.weight[i::count]
            yield self._convert(source[i::count]), weight

    def rows_at(self, index: np.ndarray) -> RowsAndWeights:
        """Return the rows at these positions, which are in ascending order, from one pass."""
        rows, start = [], 0
        for block, _ in self.packed_pieces():
            first, end = np.searchsorted(index, (start, start + len(block)))
            rows.append(block[index[first:end] - start])
            start += len(block)
        return np.concatenate(rows), None if self.weight is None else self.weight[index]

    @property
    def chunk_rows(self) -> int:
        """The number of rows that are read at a time, a multiple of the number of devices."""
        row_bytes, parts = self.width * self.dtype.itemsize, self.parts
        most = max(LEAST_CHUNK, 1 << (CHUNK_BYTES // row_bytes).bit_length() - 1)
        size = min(most, 1 << (self.n - 1).bit_length())
        return -(-size // parts) * parts

    @property
    def parts(self) -> int:
        """The number of devices that each take a part of every chunk."""
        return 1 if self.mesh is None else self.mesh.size

    def compute(
        self, function: Callable[..., Any], *operands: Any, quickly: bool = False, **static: Any
    ) -> Any:
        """Return function(rows, *operands, **static), which the host interprets."""
        leaves, tree = jax.tree.flatten((self._rows, operands))
        # Under jit even the facts about the rows are traced.
        source_checks.on_host(leaves)
        leaves = [leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for leaf in leaves]
        shapes = tuple(jax.typeof(leaf) for leaf in leaves)
        config: Any = jax.config  # whose options have no type hints
        names = tuple(sorted(static.items()))
        step, shape = _program(function, tree, shapes, names, config.jax_enable_x64)
        with ThreadPoolExecutor(1) as thread:
            chunks = Chunks(self.chunk_rows, self.width, self.dtype)
            pieces = self.packed_pieces, self.interleaved_pieces
            results = step(StreamReader(chunks, *pieces, self.mesh, thread), *leaves)
        # A result may be a constant of the program, which is a Python number.
        arrays = [
            leaf if isinstance(leaf, jax.Array) else jax.device_put(np.asarray(leaf, like.dtype))
            for leaf, like in zip(results, jax.tree.leaves(shape), strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(shape), arrays)

    @property
    def _rows(self) -> StreamRows:
        survey = self.survey
        put = lambda values: jax.device_put(values.astype(self.dtype))
        size = np.maximum(np.abs(survey.low), np.abs(survey.high))
        distance = np.maximum(survey.high - survey.mean, survey.mean - survey.low)
        mean, detail = put(survey.mean), put(finest_detail(size, distance))
        noise, unit = self.stream.shared_noise, 2.0**self.exponent
        return StreamRows(
            mean=mean,
            finest=detail,
            center=jnp.zeros_like(mean),
            n=min(bucket(self.n), WHITENED_UP_TO_ROWS + 1),
            chunk_rows=self.chunk_rows,
            parts=self.parts,
            shared_noise=None if noise is None else put(noise * unit**2),
            columns=self.columns,
        )


@functools.lru_cache(maxsize=64)
def _program(
    function: Callable[..., Any],
    tree: jax.tree_util.PyTreeDef,
    shapes: tuple[Any, ...],
    static: tuple[tuple[str, Any], ...],
    x64: bool,
) -> tuple[ProgramPart, Any]:
    """Return the traced function, ready for the host to interpret, and the shape of its result.

    It is traced once for the same function, shapes, static arguments and 64-bit mode.
    """

    def call(*leaves):
        rows, operands = jax.tree.unflatten(tree, leaves)
        return function(rows, *operands, **dict(static))

    traced, shape = jax.make_jaxpr(call, return_shape=True)(*shapes)
    return close_jaxpr(traced), shape
