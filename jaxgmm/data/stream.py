"""`Stream`: rows that do not fit in memory, read block by block on every pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ..internal import checks
from . import source_checks
from .host_interpreter import fold_p, total
from .rows import Rows
from .sources import Source


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
            source_checks.untraced_rows(block, f"block {number} of the stream")
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
      mean, finest: (d,) of the rows, known beforehand: their mean, and the finest detail that
        rounding leaves of them (see `Rows.detail`).
      center: (d,), where coordinates start.
      n: the number of rows as far as a program depends on it, so that streams share programs.
      chunk_rows: how many rows are held at a time.
      shares: how many devices share them.
    """

    mean: jax.Array
    finest: jax.Array
    center: jax.Array
    n: int = dataclasses.field(metadata={"static": True})
    chunk_rows: int = dataclasses.field(metadata={"static": True})
    shares: int = dataclasses.field(metadata={"static": True})

    def about(self, center: jax.Array) -> StreamRows:
        """The same rows in coordinates that start at `center` (d,)."""
        return dataclasses.replace(self, center=center)

    def about_mean(self) -> StreamRows:
        """The same rows about their mean."""
        return self.about(self.mean)

    def detail(self) -> jax.Array:
        """(d,) the finest detail that rounding leaves of each feature, in units of eps."""
        return self.finest

    def total(self, function: Callable[..., Any], block_rows: int) -> Any:
        """Σ over blocks of function(x (d, b), w (b,)), a pytree: a request to the host."""
        block_rows = min(block_rows, self.chunk_rows // self.shares)
        x, weight = self._shapes(block_rows)
        x = jax.ShapeDtypeStruct(x.shape[::-1], x.dtype)
        tree = jax.tree.structure(jax.eval_shape(function, x, weight))
        flat = lambda x, weight: jax.tree.leaves(function(x, weight))
        return jax.tree.unflatten(tree, total(self.center, flat, (x, weight), block_rows))

    def fold(self, function: Callable[[Any, Rows], Any], carry: Any) -> Any:
        """function(carry, rows) over chunks of the rows, one after another: a request to the host.
        Chunks are `Rows` on one device."""
        leaves, tree = jax.tree.flatten(carry)

        def visit(leaves, x, weight):
            found = function(jax.tree.unflatten(tree, leaves), Rows(x, weight, self.center))
            return jax.tree.leaves(found)

        shapes = [jax.typeof(leaf) for leaf in leaves]
        traced = jax.make_jaxpr(visit)(shapes, *self._shapes(self.chunk_rows))
        found = fold_p.bind(*traced.consts, *leaves, function=traced.jaxpr)
        return jax.tree.unflatten(tree, found)

    def _shapes(self, rows: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Of so many rows and their weights."""
        d, dtype = len(self.mean), self.mean.dtype
        return jax.ShapeDtypeStruct((rows, d), dtype), jax.ShapeDtypeStruct((rows,), dtype)

    def on_one_device(self, action: Callable[[], None]) -> None:
        """Does it: there is one device."""
        action()
