"""`Ordering`: an order of the rows in which neighbors belong to the same few components."""

from __future__ import annotations

import dataclasses

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ordering:
    """An order of rows, and the directions in which their components lie apart.

    Both only affect how long a pass takes, whatever they are.

    Attributes:
      positions: the positions (n,) of the rows in x. With several parts, each part has its own.
      axes: directions (m, d) in the features.
    """

    positions: jax.Array
    axes: jax.Array
