"""`Cells`: rows in an order in which neighbors belong to the same few components."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..internal.pytrees import pytree
from ..internal.trees import zeros_of


@pytree
@dataclasses.dataclass(frozen=True)
class Cells:
    """Rows that are near one another, in cells of r rows, each about a center of its own.

    The last rows of a cell may be padding. How the rows are divided affects how long a pass takes
    and nothing else. A copy of the rows in the order of the cells saves time: gathering them in
    each pass takes as long as a natural kernel's products.

    Attributes:
      x: (c, r, d) a copy of the rows, relative to the center of their cell; or the rows (n, d).
      positions: (c, r) the positions in x of a cell's rows, or None if x is a copy.
      origin: (d,) the origin of the coordinates in which the rows are divided.
      weight: (c, r) row weights, 0 for padding.
      centers: (c, d) the mean of each cell, in these coordinates.
      counts: (c,) the number of rows in each cell without padding.
      axes: directions (m, d) in which components lie apart.
    """

    x: jax.Array
    positions: jax.Array | None
    origin: jax.Array
    weight: jax.Array
    centers: jax.Array
    counts: jax.Array
    axes: jax.Array

    @classmethod
    def of(
        cls,
        x: jax.Array,
        weight: jax.Array | None,
        origin: jax.Array,
        positions: jax.Array,
        axes: jax.Array,
        copies: bool,
    ) -> Cells:
        """Return the cells of the rows x (n, d) at `positions` (c, r), which are n for padding.

        The other arguments are attributes, and whether to copy the rows.
        """
        inside = jnp.minimum(positions, len(x) - 1)

        def describe(cell: tuple[jax.Array, jax.Array]) -> tuple[Any, ...]:
            places, held = cell
            rows = _take(x, places) - origin[None]
            own = jnp.ones((), x.dtype) if weight is None else _take(weight, places)
            count = jnp.sum(held, dtype=jnp.int32)
            # About a row of the cell, the mean of its rows loses no digits.
            near = jnp.where(held[:, None], rows - rows[:1], 0)
            center = rows[0] + jnp.sum(near, axis=0) / jnp.maximum(count, 1)
            copy = rows - center[None] if copies else None
            return copy, jnp.where(held, own, 0), center, count

        # One cell after another, so that nothing else is as large as x.
        copy, weights, centers, counts = jax.lax.map(describe, (inside, positions < len(x)))
        if copies:
            return cls(copy, None, origin, weights, centers, counts, axes)
        return cls(x, inside, origin, weights, centers, counts, axes)

    @property
    def gathers(self) -> bool:
        """Whether each pass gathers the rows, which takes as long as products of features."""
        return self.positions is not None

    @property
    def size(self) -> int:
        """The number r of rows in a cell, with padding."""
        return self.weight.shape[1]

    def cell(self, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return cell i in the coordinates of the rows: x (d, r), and row weights (r,)."""
        x, weight = self._block(i, jnp.int32(0), self.size)
        return x + self.centers[i][:, None], weight

    def total(self, function: Callable[..., Any], i: jax.Array, block_rows: int) -> Any:
        """Return Σ over blocks of cell i of function(x (d, b), w (b,)), a pytree.

        The rows x are relative to the cell's center. The number of rows in a block divides that of
        a cell.
        """
        sums = lambda j: function(*self._block(i, j * block_rows, block_rows))
        add = lambda j, total: jax.tree.map(jnp.add, total, sums(j))
        blocks = -(-self.counts[i] // block_rows)
        return jax.lax.fori_loop(0, blocks, add, zeros_of(sums, jnp.int32(0)))

    def _block(self, i: jax.Array, start: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        """Return rows of cell i relative to its center, x (d, size), and their weights (size,)."""
        at, shape = (jnp.int32(i), jnp.int32(start)), (1, size)
        weight = jax.lax.dynamic_slice(self.weight, at, shape)[0]
        if self.positions is None:
            d = self.x.shape[2]
            return jax.lax.dynamic_slice(self.x, (*at, jnp.int32(0)), (*shape, d))[0].T, weight
        rows = _take(self.x, jax.lax.dynamic_slice(self.positions, at, shape)[0])
        return (rows - self.origin[None] - self.centers[i][None]).T, weight


def _take(array: jax.Array, places: jax.Array) -> jax.Array:
    return array.at[places].get(mode="promise_in_bounds")
