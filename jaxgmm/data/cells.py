"""`Cells`: rows in an order in which neighbors belong to the same few components."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..internal.trees import zeros_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cells:
    """Rows that are near one another, in cells of r rows, each about a center of its own.

    The last rows of a cell may be padding. How the rows are divided affects how long a pass takes
    and nothing else. x is a copy, because gathering rows in each pass takes as long as a natural
    kernel's products.

    Attributes:
      x: (c, r, d) rows, relative to the center of their cell.
      weight: (c, r) row weights, 0 for padding.
      centers: (c, d) the mean of each cell, in the coordinates of the rows that were divided.
      counts: (c,) the number of rows in each cell without padding.
      axes: directions (m, d) in which components lie apart.
    """

    x: jax.Array
    weight: jax.Array
    centers: jax.Array
    counts: jax.Array
    axes: jax.Array

    @classmethod
    def gather(
        cls, x: jax.Array, weight: jax.Array | None, positions: jax.Array, axes: jax.Array
    ) -> Cells:
        """Return the cells of the rows x (n, d) at `positions` (c, r), which are n for padding."""
        n = len(x)
        held, inside = positions < n, jnp.minimum(positions, n - 1)
        take = lambda array: array.at[inside].get(mode="promise_in_bounds")
        weight = jnp.where(held, jnp.ones((), x.dtype) if weight is None else take(weight), 0)
        # The barrier keeps XLA from gathering rows again for each use of them.
        rows = jax.lax.optimization_barrier(take(x))
        counts = jnp.sum(held, axis=1, dtype=jnp.int32)
        # About a row of the cell, the mean of its rows loses no digits.
        near = jnp.where(held[..., None], rows - rows[:, :1], 0)
        centers = rows[:, 0] + jnp.sum(near, axis=1) / jnp.maximum(counts, 1)[:, None]
        return cls(rows - centers[:, None], weight, centers, counts, axes)

    @property
    def size(self) -> int:
        """The number r of rows in a cell, with padding."""
        return self.weight.shape[1]

    def cell(self, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return cell i in the coordinates of the rows: x (d, r), and row weights (r,)."""
        return (self.x[i] + self.centers[i][None]).T, self.weight[i]

    def total(self, function: Callable[..., Any], i: jax.Array, block_rows: int) -> Any:
        """Return Σ over blocks of cell i of function(x (d, b), w (b,)), a pytree.

        The rows x are relative to the cell's center. The number of rows in a block divides that of
        a cell.
        """

        def block(j: jax.Array) -> Any:
            start = tuple(map(jnp.int32, (i, j * block_rows, 0)))
            x = jax.lax.dynamic_slice(self.x, start, (1, block_rows, self.x.shape[2]))
            weight = jax.lax.dynamic_slice(self.weight, start[:2], (1, block_rows))
            return function(x[0].T, weight[0])

        add = lambda j, total: jax.tree.map(jnp.add, total, block(j))
        blocks = -(-self.counts[i] // block_rows)
        return jax.lax.fori_loop(0, blocks, add, zeros_of(block, jnp.int32(0)))
