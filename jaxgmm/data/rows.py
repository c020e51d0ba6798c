"""`Rows`: rows over which a function can be summed, block by block.

A compiled program receives its data in one of two forms. `Rows` wraps an array in memory, or one
device's part of such an array. `StreamRows` (see `stream.py`) stands for blocks that the host
reads. `SummableRows` (see `summable_rows.py`) is the contract that both fulfill.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..internal.pytrees import pytree
from ..internal.trees import zeros_of
from ..numerics.compensated import add_trees_compensated
from .cells import Cells
from .columns import Block, Columns, features_of
from .row_counts import even_block_rows, sample

# Of rows that need more bytes than this, cells hold the positions instead of a copy.
LARGEST_COPY = 1 << 26
# Sums of at most so many numbers are added over devices together.
JOINED = 1 << 10


def finest_detail(size: Any, distance: Any) -> Any:
    """Return the resolution of numbers in units of eps; smaller differences are rounding error.

    Storing a number rounds it by at most eps times its size. What is computed from it is rounded
    relative to its distance from the center.

    Args:
      size: absolute values of the numbers.
      distance: their distances from the center, of the same shape.
    """
    return size + 3 * distance


@pytree
@dataclasses.dataclass(frozen=True)
class Rows:
    """n rows of d features with row weights, in coordinates with their origin at `center`.

    Attributes:
      x: rows (n, d), or the packed array (n, width) of rows that are not fully observed.
      weight: row weights (n,), or None if every row counts once. Padding rows have weight 0.
      center: the origin (d,), subtracted from each block when it is read. If it is near the data,
        float32 keeps its digits without a second copy of x.
      rows_per_block: the number of rows in a block, whatever a sum asks for; None to let each sum
        choose.
      axis: the mesh axis whose devices each have a part of the rows (inside `jax.shard_map`, where
        x is this device's part), or None. Sums run over all parts.
      n_rows: the number of rows in all parts together; None for the number of rows of x.
      columns: what the columns of a packed array hold; None if x contains the features alone.
      cells: a copy of the rows in cells of near ones, for passes that use this; or None.
    """

    x: jax.Array
    weight: jax.Array | None
    center: jax.Array
    rows_per_block: int | None = dataclasses.field(default=None, metadata={"static": True})
    axis: str | None = dataclasses.field(default=None, metadata={"static": True})
    n_rows: int | None = dataclasses.field(default=None, metadata={"static": True})
    columns: Columns | None = dataclasses.field(default=None, metadata={"static": True})
    cells: Cells | None = None

    @classmethod
    def of(
        cls,
        x: jax.Array,
        weight: jax.Array | None,
        rows_per_block: int | None = None,
        columns: Columns | None = None,
    ) -> Rows:
        """Wrap an array, in its own coordinates."""
        d = x.shape[1] if columns is None else columns.features
        return cls(x, weight, jnp.zeros(d, x.dtype), rows_per_block, columns=columns)

    @classmethod
    def about_own_mean(
        cls, x: jax.Array, weight: jax.Array | None, columns: Columns | None = None
    ) -> Rows:
        """Wrap an array, in coordinates with their origin near the weighted mean."""
        return cls.of(x, weight, columns=columns).about_mean()

    @property
    def features(self) -> jax.Array:
        """The features (n, d), with NaN for missing values."""
        return features_of(self.x, self.columns)

    @property
    def has_gaps(self) -> bool:
        """Whether values may be missing."""
        return self.columns is not None and self.columns.most > 0

    @property
    def shared_noise(self) -> jax.Array | None:
        """The columns of the noise that all rows share, or None."""
        return None if self.columns is None else self.columns.shared_noise(self.x)

    @property
    def n(self) -> int:
        """The number of rows, in all parts together."""
        return len(self.x) if self.n_rows is None else self.n_rows

    @property
    def parts(self) -> int:
        """The number of devices that each have a part of the rows."""
        return 1 if self.axis is None else jax.lax.axis_size(self.axis)

    def about(self, center: jax.Array) -> Rows:
        """Return the same rows in coordinates with their origin at `center` (d,)."""
        return dataclasses.replace(self, center=center)

    def about_mean(self) -> Rows:
        """Return the same rows in coordinates with their origin near the weighted mean.

        Where values are missing, the mean of a feature is that of its values.
        """
        if self.has_gaps:
            return self._about_mean_of_values()
        features = self.features
        if self.weight is None:
            near, counts = jnp.mean(features, axis=0), jnp.ones((), self.x.dtype)
        else:  # one row of positive weight from each part that has one
            first = jnp.argmax(self.weight > 0)
            near, counts = features[first], (self.weight[first] > 0).astype(self.x.dtype)
        near, counts = self.sum_parts((counts * near, counts))
        rows = self.about(near / counts)
        mass, moved = rows.total(lambda x, w: (jnp.sum(w), jnp.sum(w[None] * x, axis=1)), 1 << 16)
        return self.about(rows.center + moved / mass)

    def _about_mean_of_values(self) -> Rows:
        def sums(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
            seen = ~jnp.isnan(x)
            counted = jnp.where(seen, weight[None], 0)
            return jnp.sum(counted, axis=1), jnp.sum(counted * jnp.where(seen, x, 0), axis=1)

        rows = self.about(jnp.zeros_like(self.center))
        for _ in range(2):  # the second mean, about the first one, has all digits
            mass, moved = rows.total(sums, 1 << 16)
            rows = rows.about(rows.center + moved / jnp.where(mass > 0, mass, 1))
        return rows

    def ordered(self) -> Rows:
        """Return the rows of each part in the order of how many of their values are missing.

        Sums do not depend on the order, and a block takes as long as its row with the most gaps.
        """
        if not self.has_gaps:
            return self
        return self.take(jnp.argsort(jnp.sum(jnp.isnan(self.features), axis=1)), self.n_rows)

    def take(self, index: jax.Array | np.ndarray, n_rows: int | None = None) -> Rows:
        """Return the rows at these positions of each part, for example a minibatch."""
        weight = None if self.weight is None else self.weight[index]
        return dataclasses.replace(self, x=self.x[index], weight=weight, n_rows=n_rows, cells=None)

    def in_cells(self, positions_of: Callable[[Rows], jax.Array], axes: jax.Array) -> Rows:
        """Return the same rows with `Cells` of the rows at positions_of(rows) (c, r)."""
        copies = self.x.nbytes <= LARGEST_COPY
        cells = Cells.of(self.x, self.weight, self.center, positions_of(self), axes, copies)
        return dataclasses.replace(self, cells=cells)

    def total_cells(self, function: Callable[[Rows], Any]) -> Any:
        """Return function(rows), which sums over cells: rows in memory are a single chunk."""
        return function(self)

    def subsample(self) -> Rows:
        """Return a weighted sample of many rows; few rows are returned as they are.

        See `row_counts.sample`. Each part is sampled by itself.
        """
        positions, lengths = sample(len(self.x))
        if len(positions) == len(self.x):
            return self
        rows = self.take(positions.astype(np.int32))
        weight = jnp.asarray(lengths, rows.x.dtype)
        weight = weight if rows.weight is None else weight * rows.weight
        return dataclasses.replace(rows, weight=weight)

    def shuffle(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return a random order (n,) of each part's rows, and how many of them to use.

        Rows of weight 0 come last, and the number () is that of the rows before them in the part
        that has the fewest. A row's random number depends on its position alone, so that padding
        does not change the order of the other rows.
        """
        drawn = jax.random.bits(key, (len(self.x),), jnp.uint32)
        counted = jnp.int32(len(self.x))
        if self.weight is not None:
            counts = self.weight > 0
            drawn = jnp.where(counts, drawn, np.uint32(2**32 - 1))
            counted = jnp.sum(counts, dtype=jnp.int32)
        if self.axis is not None:
            counted = jax.lax.pmin(counted, self.axis)
        return jnp.argsort(drawn), counted

    def fold(self, function: Callable[[Any, Rows], Any], carry: Any) -> Any:
        """Return function(carry, rows): rows in memory are a single chunk."""
        return function(carry, self)

    def total(self, function: Callable[..., Any], block_rows: int, *row_arrays: jax.Array) -> Any:
        """Return Σ over blocks of function(x (d, b), w (b,), *block of each row array), a pytree.

        See `total_packed`.
        """
        return self.total_packed(
            lambda packed, *rest: function(packed[: len(self.center)], *rest),
            block_rows,
            *row_arrays,
        )

    def total_blocks(
        self, function: Callable[..., Any], block_rows: int, *row_arrays: jax.Array
    ) -> Any:
        """Return Σ over blocks of function(block, w (b,), *block of each row array), a pytree."""
        split = Block if self.columns is None else self.columns.split
        call = lambda packed, *rest: function(split(packed), *rest)
        return self.total_packed(call, block_rows, *row_arrays)

    def total_packed(
        self, function: Callable[..., Any], block_rows: int, *row_arrays: jax.Array
    ) -> Any:
        """Return Σ over blocks of function(packed (width, b), w (b,), *blocks of the row arrays).

        The last block overlaps the one before it, with weight 0 where it does, so that x is read
        without a copy. Fewer rows than two blocks are summed as one block, which is less work than
        two that overlap. Sums are compensated, and one all-reduce adds up the parts.

        Args:
          function: maps one block to a pytree of sums.
          block_rows: the number of rows in a block, about.
          *row_arrays: further arrays with a leading axis of rows, cut into the same blocks.
        """
        n, beside = len(self.x), self.x.shape[1] - len(self.center)
        origin = jnp.pad(self.center, (0, beside)) if beside else self.center
        block_rows = self.rows_per_block or even_block_rows(n, block_rows)

        def block(start, fresh_from, size):
            cut = lambda array: jax.lax.dynamic_slice_in_dim(array, start, size)
            x = cut(self.x) - origin[None]
            weight = jnp.ones(size, x.dtype) if self.weight is None else cut(self.weight)
            weight = jnp.where(start + jnp.arange(size) >= fresh_from, weight, 0)
            return function(x.T, weight, *map(cut, row_arrays))

        if n <= block_rows:
            return self.sum_parts(block(0, 0, n))

        def step(carry, i):
            start = i * block_rows
            value = block(jnp.minimum(start, n - block_rows), start, block_rows)
            return add_trees_compensated(*carry, value), None

        zeros = zeros_of(lambda: block(0, 0, block_rows))
        steps = jnp.arange(-(-n // block_rows))
        return self.sum_parts(jax.lax.scan(step, (zeros, zeros), steps)[0][0])

    def detail(self) -> jax.Array:
        """Return the resolution (d,) of each feature in units of eps.

        It is the largest `finest_detail` among rows of positive weight, from the size of a row |x|
        and its distance from the origin |x − center|.
        """
        x = self.features
        size = finest_detail(jnp.abs(x), jnp.abs(x - self.center[None]))
        if self.has_gaps:
            size = jnp.where(jnp.isnan(x), 0, size)
        if self.weight is not None:
            size = jnp.where(self.weight[:, None] > 0, size, 0)
        largest = jnp.max(size, axis=0)
        return largest if self.axis is None else jax.lax.pmax(largest, self.axis)

    def on_one_device(self, action: Callable[[], None]) -> None:
        """Run `action`, such as a call of the host, on one device only."""
        if self.axis is None:
            action()
        else:
            jax.lax.cond(jax.lax.axis_index(self.axis) == 0, action, lambda: None)

    def sum_parts(self, sums: Any) -> Any:
        """Return the sum over all parts of a pytree, by one all-reduce for all of its small leaves.

        Large leaves have their own. Joined to others, a Hessian becomes part of a function of which
        XLA makes wrong code in JAX 0.10, and the process crashes.
        """
        if self.axis is None:
            return sums
        leaves, structure = jax.tree.flatten(sums)
        small = [jnp.size(leaf) <= JOINED for leaf in leaves]
        flat, unravel = ravel_pytree([leaf for leaf, few in zip(leaves, small, strict=True) if few])
        joined = iter(unravel(jax.lax.psum(flat, self.axis)))
        add = lambda leaf, few: next(joined) if few else jax.lax.psum(leaf, self.axis)
        return jax.tree.unflatten(structure, map(add, leaves, small))
