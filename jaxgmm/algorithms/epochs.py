"""Epochs: many moves of an algorithm over minibatches, in a random order of the rows."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..internal import checks
from ..internal.trees import cast_like, where
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .gradient import Gradient
from .protocol import Pass
from .stepwise import StepwiseEM


class EpochAlgorithm(abc.ABC):
    """An algorithm whose move is an epoch over minibatches, and then one pass over all rows.

    Attributes:
      algorithm: the inner algorithm, which makes a move for each minibatch.
      batch_rows: the number of rows in a minibatch.
      seed: the seed of the random orders.
      kind: the word before the inner algorithm's name in tables.
      visits: how often each row of a minibatch is evaluated.
    """

    algorithm: Gradient | StepwiseEM
    batch_rows: int
    seed: int
    kind: ClassVar[str]
    visits: ClassVar[int]

    def __post_init__(self) -> None:
        checks.whole(self.batch_rows, "batch_rows", 1)
        checks.whole(self.seed, "seed", 0, 2**31 - 1)
        check_inner(self.algorithm)

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.kind} {getattr(self.algorithm, 'name', type(self.algorithm).__name__)}"

    @abc.abstractmethod
    def estimate(
        self, mixture: Mixture, batch: Rows, snapshot: Mixture, statistics: Statistics
    ) -> tuple[Statistics, jax.Array]:
        """Return an estimate of the statistics of all rows, and the mass () of the minibatch.

        Args:
          mixture: the mixture at which they are wanted.
          batch: the minibatch.
          snapshot: the mixture before the epoch.
          statistics: the statistics of all rows at `snapshot`.
        """

    def accepts(self, mixture: Mixture) -> jax.Array | bool:
        """Return whether a move that leads to this mixture is made. By default every move is."""
        return True

    def init(self, mixture: Mixture, statistics: Statistics) -> tuple[Any, jax.Array]:
        """Return the inner algorithm's state, and the number of epochs so far."""
        return self.algorithm.init(mixture, statistics), jnp.int32(0)

    def move(
        self,
        mixture: Mixture,
        state: tuple[Any, jax.Array],
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, tuple[Any, jax.Array], Statistics, jax.Array]:
        """Make one epoch, then one pass."""
        inner, epoch = state

        def step(batch: Rows, moved: tuple[Mixture, Any]) -> tuple[Mixture, Any]:
            at, inner = moved
            sums, mass = self.estimate(at, batch, mixture, statistics)
            # The inner algorithms only return the statistics that they evaluate after their move.
            # They are not used here, because the next minibatch has its own, so this evaluator
            # makes no pass.
            after = self.algorithm.move(at, inner, sums, lambda _: sums, prior)[:2]
            usable = (mass > 0) & self.accepts(after[0])
            return where(usable, cast_like(after, moved), moved)

        seed = jax.random.fold_in(jax.random.key(self.seed), epoch)
        (moved, inner), seen = one_epoch(
            evaluate.rows, seed, self.batch_rows, step, (mixture, inner)
        )
        return moved, (inner, epoch + 1), evaluate(moved), 1 + self.visits * seen


def one_epoch(
    rows: Rows,
    key: jax.Array,
    batch_rows: int,
    step: Callable[[Rows, Any], Any],
    carry: Any,
) -> tuple[Any, jax.Array]:
    """Apply carry = step(batch, carry) to minibatches of the rows, in a random order.

    Returns the carry, and the fraction of the rows of positive weight that were visited.
    """

    def visit(folded: Any, rows: Rows) -> Any:
        """Visit the minibatches of rows that are in memory.

        `before` is the number of rows in the parts visited earlier, `seen` the number of those
        that were in a minibatch.
        """
        carry, seen, before = folded
        size = min(max(batch_rows // rows.parts, 1), len(rows.x))
        order, counted = rows.shuffle(jax.random.fold_in(key, before))
        batches = counted // size
        # Rows that are too few for a minibatch are left out, unless there are no others.
        batches = jnp.where(before == 0, jnp.maximum(batches, 1), batches)

        def visit_batch(i: jax.Array, carry: Any) -> Any:
            return step(rows.take(jax.lax.dynamic_slice_in_dim(order, i * size, size)), carry)

        carry = jax.lax.fori_loop(0, batches, visit_batch, carry)
        return carry, seen + jnp.minimum(batches * size, counted), before + counted

    carry, seen, counted = rows.fold(visit, (carry, jnp.int32(0), jnp.int32(0)))
    return carry, seen / counted


def check_inner(algorithm: Any) -> None:
    """Raise ValueError for an algorithm that cannot run over minibatches."""
    searches = isinstance(algorithm, Gradient) and algorithm.searches
    if searches or not isinstance(algorithm, Gradient | StepwiseEM):
        raise ValueError(
            f"{algorithm!r} cannot run over minibatches: pass StepwiseEM(), or Gradient with an "
            "optimizer without a line search, e.g. Gradient(optax.adam, learning_rate=0.01)."
        )
