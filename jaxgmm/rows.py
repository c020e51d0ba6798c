"""`Rows`: the data as something that a function can be summed over, block by block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def _add(total: jax.Array, lost: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """total + value, and what rounding has lost so far (Kahan 1965, doi 10.1145/363707.363723)."""
    value = value - lost
    grown = total + value
    return grown, (grown - total) - value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """n rows of d features with their weights, in coordinates that start at `centre`.

    Attributes:
      x: (n, d).
      weight: (n,), or None where every row counts once. A padding row has weight 0.
      centre: (d,), subtracted from each block as it is read: near the data, so that float32 keeps
        its digits, without a second copy of x.
    """

    x: jax.Array
    weight: jax.Array | None
    centre: jax.Array

    @classmethod
    def centred(cls, x: jax.Array, weight: jax.Array | None) -> Rows:
        """The rows about (nearly) their weighted mean."""
        about = jnp.mean(x, axis=0) if weight is None else x[jnp.argmax(weight > 0)]
        rows = cls(x, weight, about)
        mass, moved = rows.total(lambda x, w: (jnp.sum(w), jnp.sum(w[None] * x, axis=1)), 1 << 16)
        return dataclasses.replace(rows, centre=about + moved / mass)

    def total(self, function: Callable[..., Any], block_rows: int, *beside: jax.Array) -> Any:
        """Σ over blocks of function(x (d, b), w (b,), *block of each array beside), a pytree.

        Arrays beside x have a leading axis of rows. The last block overlaps the one before it, with
        weight 0 where it does, so that x is read where it lies; sums are compensated."""
        n = len(self.x)

        def block(start, fresh_from, size):
            cut = lambda array: jax.lax.dynamic_slice_in_dim(array, start, size)
            x = cut(self.x) - self.centre[None]
            weight = jnp.ones(size, x.dtype) if self.weight is None else cut(self.weight)
            weight = jnp.where(start + jnp.arange(size) >= fresh_from, weight, 0)
            return function(x.T, weight, *map(cut, beside))

        if n <= block_rows:
            return block(0, 0, n)

        def step(carry, i):
            total, lost = carry
            start = i * block_rows
            value = block(jnp.minimum(start, n - block_rows), start, block_rows)
            pairs = jax.tree.map(_add, total, lost, value)
            return jax.tree.transpose(jax.tree.structure(value), None, pairs), None

        shapes = jax.eval_shape(lambda: block(0, 0, block_rows))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        steps = jnp.arange(-(-n // block_rows))
        return jax.lax.scan(step, (zeros, zeros), steps)[0][0]

    def magnitude(self) -> jax.Array:
        """(d,) largest |x| per feature among rows of positive weight, in the data's own origin:
        its rounding is the finest detail that the data can show."""
        size = jnp.abs(self.x)
        if self.weight is not None:
            size = jnp.where(self.weight[:, None] > 0, size, 0)
        return jnp.max(size, axis=0)
