"""`Kernel`: what a pass needs of the code that evaluates one block of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax

from ..mixture.mixture import Mixture

Moments = tuple[jax.Array, jax.Array, jax.Array]


class Kernel(Protocol):
    """The computation of one block of rows x (d, b), and of what follows from their sums.

    Attributes:
      mixture: the mixture, in the coordinates of the rows.
    """

    mixture: Mixture

    @property
    def fills_cores(self) -> bool:
        """Whether a large block is mostly matrix products, which XLA computes on several cores."""

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers of the mixture's dtype that a block stores for each row."""

    @property
    def numbers_in_sums(self) -> int:
        """The count of numbers of the mixture's dtype in a block's sums."""

    def log_joint(self, x: jax.Array) -> tuple[jax.Array, Any]:
        """Return the log-joint (k, b) of a block, and what `sums` needs of it."""

    def sums(self, x: jax.Array, intermediate: Any, weighted_responsibilities: jax.Array) -> Any:
        """Return a block's sums, a pytree, for weighted responsibilities w r (k, b)."""

    def statistics(self, sums: Any) -> Moments:
        """Return mass, shift and spread from the sums over all blocks."""


KernelClass = Callable[[Mixture, int], Kernel]  # of a mixture and the number of lanes
