"""`Stream`: rows that do not fit in memory and are read block by block in every pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import numpy as np

from ..internal import checks
from ..internal.pytrees import pytree
from . import source_checks, stream_requests
from .cells import Cells
from .columns import Block, Columns, features_of
from .rows import Rows
from .sources import Source
from .summable_rows import SummableRows


@dataclasses.dataclass(frozen=True, eq=False)
class Stream(Source):
    """Rows that are read block by block in every pass, for data that do not fit in memory.

    Args:
      source: one of
        a function without arguments that returns an iterable of blocks (n_i, d), for example a
        generator function, or `lambda: dataset.to_batches()` of pyarrow;
        a collection of blocks that can be iterated over repeatedly, for example a list;
        an array with a shape that can be sliced by rows, for example
        `np.load(path, mmap_mode="r")`, a Zarr or an HDF5 array.
      block_rows: the number of rows in a slice, if `source` is an array.

    Blocks may differ in length. A block is an array, a list or a table of (n_i, d) numbers. The
    source must yield the same rows in the same order every time. The next chunk of rows is read on
    another thread during the computation on the current one. Nothing is read before a function
    such as `fit` is called.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> stream = jaxgmm.Stream(lambda: (x[i : i + 50] for i in range(0, 200, 50)))
    >>> bool(jnp.allclose(jaxgmm.log_likelihood(start, stream), jaxgmm.log_likelihood(start, x)))
    True
    """

    source: Callable[[], Iterable] | Iterable
    block_rows: int = 1 << 16

    @property
    def columns(self) -> Columns | None:
        """What the columns of blocks hold if rows are not fully observed, or None."""
        return None

    @property
    def shared_noise(self) -> np.ndarray | None:
        """The columns of the noise that all rows share, or None."""
        return None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all blocks. Raise ValueError if one is not (n_i, d)."""
        d, dtype = None, None
        for number, block in enumerate(self._raw_blocks()):
            source_checks.untraced_rows(block, f"block {number} of the stream")
            block = np.asarray(checks.array(block, f"block {number} of the stream"))
            d = block.shape[1] if d is None and block.ndim == 2 else d
            source_checks.block(block, number, d)
            dtype = block.dtype if dtype is None else dtype
            yield block.astype(np.promote_types(dtype, block.dtype), copy=False)

    def _raw_blocks(self) -> Iterable[Any]:
        """Return the blocks as the source yields them, or as slices of an array."""
        source: Any = self.source
        if hasattr(source, "shape"):
            starts = range(0, source.shape[0], self.block_rows)
            return (source[start : start + self.block_rows] for start in starts)
        blocks = source() if callable(source) else source
        source_checks.iterable(blocks)
        return blocks

    @functools.cached_property
    def survey(self) -> Survey:
        """Facts about the rows from a first pass, which is made only once."""
        source_checks.stream(self.source, self.block_rows)
        return survey_blocks(self.blocks())


@dataclasses.dataclass(frozen=True)
class Survey:
    """Facts about a stream.

    Attributes:
      n: the number of rows.
      dtype: their dtype.
      mean: (d,) the mean of each feature.
      low: (d,) the smallest value of each feature.
      high: (d,) the largest value of each feature.
    """

    n: int
    dtype: np.dtype
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def rescale(self, exponent: int) -> Survey:
        """Return the facts about the same rows, with features times 2 to the power `exponent`."""
        if exponent == 0:
            return self
        mean, low, high = (2.0**exponent * ends for ends in (self.mean, self.low, self.high))
        return dataclasses.replace(self, mean=mean, low=low, high=high)


def survey_blocks(blocks: Iterable[np.ndarray], columns: Columns | None = None) -> Survey:
    """Return the facts about blocks, which may be packed. A mean is that of the values seen."""
    n: int = 0
    dtype: np.dtype | None = None
    mean: Any = 0.0
    seen: Any = 0
    low: Any = np.inf
    high: Any = -np.inf
    for number, block in enumerate(blocks):
        x = features_of(block, columns)
        if np.issubdtype(x.dtype, np.floating):
            source_checks.finite_block(x, number, n, missing=columns is not None)
        n += len(x)
        dtype = x.dtype if dtype is None else np.promote_types(dtype, x.dtype)
        if columns is None:
            mean += (np.mean(x, axis=0, dtype=np.float64) - mean) * (len(x) / n)
        else:
            count = np.sum(~np.isnan(x), axis=0)
            seen = seen + count
            distance = np.nansum(x.astype(np.float64) - mean, axis=0)
            mean = mean + distance / np.maximum(seen, 1)
        low, high = np.fmin(low, np.fmin.reduce(x)), np.fmax(high, np.fmax.reduce(x))
    if n == 0 or dtype is None:
        raise ValueError("the stream has no rows: its source yielded no blocks.")
    return Survey(n=n, dtype=dtype, mean=mean, low=low, high=high)


# ---- inside a program --------------------------------------------------------------------------


@pytree
@dataclasses.dataclass(frozen=True)
class StreamCells:
    """How the rows of each chunk are divided into `Cells`.

    Attributes:
      number: () the number under which the host keeps the cells of the chunks.
      origin: (d,) the origin of the coordinates in which the rows are divided.
      axes: directions (m, d) in which components lie apart.
      shapes: those of what is kept: the positions, weights, centers and counts of `Cells`.
    """

    number: jax.Array
    origin: jax.Array
    axes: jax.Array
    shapes: tuple[jax.ShapeDtypeStruct, ...] = dataclasses.field(metadata={"static": True})

    gathers: ClassVar[bool] = True  # as `Cells` that hold positions


@pytree
@dataclasses.dataclass(frozen=True)
class StreamRows:
    """The rows of a stream as a compiled program sees them: `SummableRows` without x.

    Attributes:
      mean: (d,) the mean of the rows, which is known before the program runs.
      finest: (d,) their resolution (see `Rows.detail`), which is known as well.
      center: (d,) the origin of the coordinates.
      n: the number of rows as far as the program depends on it, so that streams share programs.
      chunk_rows: the number of rows in memory at a time.
      parts: the number of devices that each take a part of every chunk.
      shared_noise: the columns of the noise that all rows share, or None.
      columns: what the columns of packed rows hold; None if they contain the features alone.
      cells: how the rows of each chunk are divided among cells of near ones, or None.
    """

    mean: jax.Array
    finest: jax.Array
    center: jax.Array
    n: int = dataclasses.field(metadata={"static": True})
    chunk_rows: int = dataclasses.field(metadata={"static": True})
    parts: int = dataclasses.field(metadata={"static": True})
    shared_noise: jax.Array | None = None
    columns: Columns | None = dataclasses.field(default=None, metadata={"static": True})
    cells: StreamCells | None = None

    def about(self, center: jax.Array) -> StreamRows:
        """Return the same rows in coordinates with their origin at `center` (d,)."""
        return dataclasses.replace(self, center=center)

    def about_mean(self) -> StreamRows:
        """Return the same rows in coordinates with their origin at their mean."""
        return self.about(self.mean)

    def detail(self) -> jax.Array:
        """Return the resolution (d,) of each feature in units of eps."""
        return self.finest

    def total(self, function: Callable[..., Any], block_rows: int) -> Any:
        """Request from the host Σ over blocks of function(x (d, b), w (b,)), a pytree."""
        d = len(self.mean)
        return self._total_packed(lambda packed, weight: function(packed[:d], weight), block_rows)

    def total_blocks(self, function: Callable[[Block, jax.Array], Any], block_rows: int) -> Any:
        """Request from the host Σ over blocks of function(block, w (b,)), a pytree."""
        split = Block if self.columns is None else self.columns.split
        call = lambda packed, weight: function(split(packed), weight)
        return self._total_packed(call, block_rows)

    def _total_packed(self, function: Callable[..., Any], block_rows: int) -> Any:
        of_chunk = lambda rows: rows.ordered().total_packed(function, block_rows)
        return self._total(lambda x, weight: of_chunk(self._chunk(x, weight)), *self._part())

    def in_cells(self, positions_of: Callable[[Rows], jax.Array], axes: jax.Array) -> StreamRows:
        """Return the same rows, each chunk of which is divided into cells.

        The host keeps the positions of the rows in the chunk's cells, but no copy of the rows.
        """

        def visit(x: jax.Array, weight: jax.Array) -> list[jax.Array]:
            positions = positions_of(self._chunk(x, weight))
            cells = Cells.of(x, weight, self.center, positions, axes, copies=False)
            assert cells.positions is not None
            return [cells.positions, cells.weight, cells.centers, cells.counts]

        number, shapes = stream_requests.keep(visit, self._part())
        cells = StreamCells(number, self.center, axes, tuple(shapes))
        return dataclasses.replace(self, cells=cells)

    def total_cells(self, function: Callable[[Rows], Any]) -> Any:
        """Request from the host Σ over chunks of function(rows in cells), a pytree."""
        own = self.cells
        assert own is not None

        def of_chunk(x, weight, positions, *arranged):
            cells = Cells(x, positions, own.origin, *arranged, own.axes)
            return function(dataclasses.replace(self._chunk(x, weight), cells=cells))

        return self._total(of_chunk, *self._part(), *own.shapes, kept=own.number)

    def _total(
        self,
        function: Callable[..., Any],
        *shapes: jax.ShapeDtypeStruct,
        kept: jax.Array | None = None,
    ) -> Any:
        tree = jax.tree.structure(jax.eval_shape(function, *shapes))
        flat = lambda *chunk: jax.tree.leaves(function(*chunk))
        return jax.tree.unflatten(tree, stream_requests.total(flat, shapes, kept))

    def fold(self, function: Callable[[Any, Rows], Any], carry: Any) -> Any:
        """Request from the host that carry = function(carry, rows) be applied to all chunks.

        Each chunk is `Rows` on one device.
        """
        leaves, tree = jax.tree.flatten(carry)

        def visit(leaves, x, weight):
            carry = function(jax.tree.unflatten(tree, leaves), self._chunk(x, weight))
            return jax.tree.leaves(carry)

        return jax.tree.unflatten(
            tree, stream_requests.fold(visit, self._shapes(self.chunk_rows), leaves)
        )

    def _chunk(self, x: jax.Array, weight: jax.Array) -> Rows:
        """Return a chunk, or a device's part of one, as rows in the same coordinates."""
        return Rows(x, weight, self.center, columns=self.columns)

    def _part(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Return the shapes of a device's part of a chunk, and of its weights."""
        return self._shapes(self.chunk_rows // self.parts)

    def _shapes(self, rows: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Return the shapes of this number of rows and of their weights."""
        width = len(self.mean) if self.columns is None else self.columns.width
        dtype = self.mean.dtype
        return jax.ShapeDtypeStruct((rows, width), dtype), jax.ShapeDtypeStruct((rows,), dtype)

    def on_one_device(self, action: Callable[[], None]) -> None:
        """Run `action`; the program around the requests runs on one device."""
        action()


if TYPE_CHECKING:  # both kinds of rows fulfill the protocol
    KINDS_OF_ROWS: tuple[type[SummableRows], ...] = (Rows, StreamRows)
