"""Minibatches: an algorithm that makes many moves during one pass over the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..internal import checks
from ..internal.trees import cast_like, where
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate as evaluate_rows
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .gradient import Gradient
from .protocol import Pass
from .stepwise import StepwiseEM


@dataclasses.dataclass(frozen=True)
class Stochastic:
    """An algorithm that runs over minibatches: stochastic gradient ascent, or online EM.

    One move is an epoch. It puts the rows of positive weight in a new random order, and makes one
    move of the inner algorithm for each minibatch. If the number of rows is not a multiple of
    `batch_rows`, the remaining rows are left out of this epoch. Then one pass over all rows
    follows, so that the objective, the stopping rule and the history mean the same as for every
    other algorithm. An epoch counts as the fraction of the rows that it visits, plus that pass.
    The objective may decrease. A step size that does not shrink never meets a tight tolerance; such
    a fit ends at max_steps.

    For `Shards`, each device orders its own rows, and every minibatch has an equal part from each
    device. A `Stream` is read once, in chunks of 4 MB, or of 4096 rows if that is more, and the
    rows of each chunk are put in a new order. Shuffle rows that are stored in a meaningful order.
    (A large NumPy array may be read like a stream. Then each chunk takes its rows at regular
    intervals from the whole array.)

    Args:
      algorithm: `Gradient(...)` with an optimizer without a line search, or `StepwiseEM()`.
      batch_rows: the number of rows in a minibatch; for a stream, at most a chunk.
      seed: the seed of the random orders.

    Raises:
      ValueError: if the algorithm is of another kind or has a line search (which would compare
        objectives of different rows), or if `batch_rows` is not a positive whole number, or `seed`
        is not a whole number from 0 to 2³¹ − 1.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> online = jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=50)
    >>> found = jaxgmm.fit(x, start, online, max_steps=5)
    >>> bool(found.objective > found.history[0]), float(found.passes)  # two for each epoch
    (True, 11.0)
    """

    algorithm: Gradient | StepwiseEM
    batch_rows: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        checks.whole(self.batch_rows, "batch_rows", 1)
        checks.whole(self.seed, "seed", 0, 2**31 - 1)
        check_inner(self.algorithm)

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"stochastic {getattr(self.algorithm, 'name', type(self.algorithm).__name__)}"

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
        total = jnp.sum(statistics.mass)

        def step(batch: Rows, moved: tuple[Mixture, Any]) -> tuple[Mixture, Any]:
            mixture, inner = moved
            sums = evaluate_rows(mixture, batch, "auto")
            mass = jnp.sum(sums.mass)
            scale = total / jnp.where(mass > 0, mass, 1)
            sums = jax.tree.map(lambda leaf: scale * leaf, sums)
            # The inner algorithms only return the statistics that they evaluate after their move.
            # They are not used here, because the next minibatch has its own, so this evaluator
            # makes no pass.
            after = self.algorithm.move(mixture, inner, sums, lambda _: sums, prior)[:2]
            return where(mass > 0, cast_like(after, moved), moved)

        seed = jax.random.fold_in(jax.random.key(self.seed), epoch)
        (moved, inner), seen = one_epoch(
            evaluate.rows, seed, self.batch_rows, step, (mixture, inner)
        )
        return moved, (inner, epoch + 1), evaluate(moved), 1 + seen


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
