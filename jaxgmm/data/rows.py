"""`Rows`: the data as something that a function can be summed over, block by block.

Every kind of data gives a program the same few things: `n`, `about(center)`, `about_mean()`,
`detail()`, and above all `total(function)`. `Rows` are those of an array in memory, or of one
device's share of it; `StreamRows` (see `stream.py`) are those of blocks that the host reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Padding copies x, and with more rows than this compiling is the lesser part of a fit.
BUCKETED_ROWS = 1 << 16
# Rows that stand for all of them where a start is made: all, as long as there may be padding.
SAMPLE_ROWS = BUCKETED_ROWS


def compensated(total: jax.Array, lost: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """total + value, and what rounding has lost so far (Kahan 1965, doi 10.1145/363707.363723)."""
    value = value - lost
    grown = total + value
    return grown, (grown - total) - value


def bucket(n: int) -> int:
    """How many rows n are padded to, so that nearby n share a program: the next of eight steps
    between powers of two, at most an eighth more; beyond BUCKETED_ROWS, n itself."""
    if n > BUCKETED_ROWS:
        return n
    step = max(8, 1 << max((n - 1).bit_length() - 4, 0))
    return -(-n // step) * step


def finest_detail(size, distance):
    """The finest detail in units of eps, of numbers of this size at this distance from the center.

    Numbers are rounded where they are stored, to eps times their size at the most; what is computed
    from them is rounded relative to their distance from the center."""
    return size + 3 * distance


def _even(n: int, most: int) -> int:
    """Rows in a block, where so many at the most are wished: all if they are fewer than two blocks,
    else such that the last block hardly overlaps."""
    return n if n < 2 * most else min(most, -(-n // -(-n // most) // 16) * 16)


def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The places (m,) in rising order, and the weights (m,), of rows that stand for n: all of them,
    or SAMPLE_ROWS, one from each of so many strata of neighbors, weighted by its length, so that
    weighted sums have the right expectation. The same for every key, so that starts share them."""
    if n <= SAMPLE_ROWS:
        return np.arange(n), np.ones(n)
    edges = np.arange(SAMPLE_ROWS + 1) * n // SAMPLE_ROWS
    length = np.diff(edges)
    inside = np.random.default_rng(0).random(SAMPLE_ROWS) * length
    return edges[:-1] + inside.astype(int), length.astype(float)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """n rows of d features with their weights, in coordinates that start at `center`.

    Attributes:
      x: (n, d).
      weight: (n,), or None where every row counts once. A padding row has weight 0.
      center: (d,), subtracted from each block as it is read: near the data, so that float32 keeps
        its digits, without a second copy of x.
      rows_per_block: rows in a block, whatever a sum asks for; None for what it asks for.
      axis: the mesh axis whose devices each hold a share of the rows (inside `jax.shard_map`, where
        x is this device's share), or None. Sums are then over all shares.
      n_rows: how many rows all shares have together; None for those of x.
    """

    x: jax.Array
    weight: jax.Array | None
    center: jax.Array
    rows_per_block: int | None = dataclasses.field(default=None, metadata={"static": True})
    axis: str | None = dataclasses.field(default=None, metadata={"static": True})
    n_rows: int | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def of(cls, x: jax.Array, weight: jax.Array | None, rows_per_block=None) -> Rows:
        """The rows of an array, in its own coordinates."""
        return cls(x, weight, jnp.zeros(x.shape[1], x.dtype), rows_per_block)

    @classmethod
    def centered(cls, x: jax.Array, weight: jax.Array | None) -> Rows:
        """The rows of an array about (nearly) their weighted mean."""
        return cls.of(x, weight).about_mean()

    @property
    def n(self) -> int:
        """How many rows there are."""
        return len(self.x) if self.n_rows is None else self.n_rows

    @property
    def shares(self) -> int:
        """How many devices hold a share."""
        return 1 if self.axis is None else jax.lax.axis_size(self.axis)

    def about(self, center: jax.Array) -> Rows:
        """The same rows in coordinates that start at `center` (d,)."""
        return dataclasses.replace(self, center=center)

    def about_mean(self) -> Rows:
        """The same rows about (nearly) their weighted mean."""
        if self.weight is None:
            near, counts = jnp.mean(self.x, axis=0), jnp.ones((), self.x.dtype)
        else:  # some row that counts, of each share that has one
            first = jnp.argmax(self.weight > 0)
            near, counts = self.x[first], (self.weight[first] > 0).astype(self.x.dtype)
        near, counts = self._sum((counts * near, counts))
        rows = self.about(near / counts)
        mass, moved = rows.total(lambda x, w: (jnp.sum(w), jnp.sum(w[None] * x, axis=1)), 1 << 16)
        return self.about(rows.center + moved / mass)

    def taken(self, index: jax.Array) -> Rows:
        """The rows at these places, of each share: a minibatch."""
        weight = None if self.weight is None else self.weight[index]
        return dataclasses.replace(self, x=self.x[index], weight=weight, n_rows=None)

    def sampled(self) -> Rows:
        """A weighted sample of many rows; few rows themselves."""
        if len(self.x) <= SAMPLE_ROWS:
            return self
        places, weight = sample(len(self.x))
        rows = self.taken(places.astype(np.int32))
        weight = jnp.asarray(weight, rows.x.dtype)
        weight = weight if rows.weight is None else weight * rows.weight
        return dataclasses.replace(rows, weight=weight)

    def shuffled(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The places (n,) of each share's rows in random order, those of weight 0 last; and how
        many come before those, in the share that has the fewest. What a row is drawn with depends
        on its place alone, so that padding changes nothing."""
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
        """function(carry, rows) over parts of the rows that are in memory, one after another: here
        over all of them at once."""
        return function(carry, self)

    def total(self, function: Callable[..., Any], block_rows: int, *beside: jax.Array) -> Any:
        """Σ over blocks of function(x (d, b), w (b,), *block of each array beside), a pytree.

        Arrays beside x have a leading axis of rows. The last block overlaps the one before it, with
        weight 0 where it does, so that x is read where it lies; sums are compensated. Fewer rows
        than two blocks are one: less work than two that overlap. Shares are added up by one
        all-reduce."""
        n = len(self.x)
        block_rows = self.rows_per_block or _even(n, block_rows)

        def block(start, fresh_from, size):
            cut = lambda array: jax.lax.dynamic_slice_in_dim(array, start, size)
            x = cut(self.x) - self.center[None]
            weight = jnp.ones(size, x.dtype) if self.weight is None else cut(self.weight)
            weight = jnp.where(start + jnp.arange(size) >= fresh_from, weight, 0)
            return function(x.T, weight, *map(cut, beside))

        if n <= block_rows:
            return self._sum(block(0, 0, n))

        def step(carry, i):
            total, lost = carry
            start = i * block_rows
            value = block(jnp.minimum(start, n - block_rows), start, block_rows)
            pairs = jax.tree.map(compensated, total, lost, value)
            return jax.tree.transpose(jax.tree.structure(value), None, pairs), None

        shapes = jax.eval_shape(lambda: block(0, 0, block_rows))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        steps = jnp.arange(-(-n // block_rows))
        return self._sum(jax.lax.scan(step, (zeros, zeros), steps)[0][0])

    def detail(self) -> jax.Array:
        """(d,) the finest detail that rounding leaves of each feature, in units of eps: that of the
        rows themselves, |x|, and a few times that of sums over them, |x − center|, at the most
        among rows of positive weight."""
        size = finest_detail(jnp.abs(self.x), jnp.abs(self.x - self.center[None]))
        if self.weight is not None:
            size = jnp.where(self.weight[:, None] > 0, size, 0)
        largest = jnp.max(size, axis=0)
        return largest if self.axis is None else jax.lax.pmax(largest, self.axis)

    def on_one_device(self, action: Callable[[], None]) -> None:
        """Does what is done once, not once on each device: calling the host."""
        if self.axis is None:
            action()
        else:
            jax.lax.cond(jax.lax.axis_index(self.axis) == 0, action, lambda: None)

    def _sum(self, shares: Any) -> Any:
        """The sum over shares, as one all-reduce of one vector."""
        if self.axis is None:
            return shares
        flat, unravel = jax.flatten_util.ravel_pytree(shares)
        return unravel(jax.lax.psum(flat, self.axis))


SMALL = 4096
