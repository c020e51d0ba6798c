"""Minibatches: an algorithm that moves many times in one pass over the rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import cast_like, where
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate as evaluate_rows
from ..objective.statistics import Statistics
from .gradient import Gradient
from .stepwise import StepwiseEM


@dataclasses.dataclass(frozen=True)
class Stochastic:
    """An algorithm run over minibatches: stochastic gradient ascent, or online EM.

    One move is an epoch: the rows of positive weight in a new random order, a move of the inner
    algorithm for each minibatch (rows left over when their number is not a multiple sit out), and
    then one pass over all rows, so that objective, stopping rule and history are those of every
    other algorithm. An epoch counts its share of a pass, and that pass. Objectives may fall, and a
    step size that does not shrink never meets a tight tolerance: such a fit ends with max_steps.

    Of `Shards` each device orders its own rows, and every minibatch has an even part of each. A
    `Stream` is read once, chunk by chunk (of 4 MB, or 4096 rows if that is more), and each chunk's
    rows are in a new order: rows sorted by what they are should be shuffled before they are stored.
    (Of a large NumPy array that is read like a stream, each chunk has every so manyth row.)

    Args:
      algorithm: `Gradient(...)` of an optimizer without a line search, or `StepwiseEM()`.
      batch_rows: rows in a minibatch, of a stream at most a chunk.
      seed: of the random orders.

    Raises:
      ValueError: for another kind of algorithm, an optimizer with a line search (it would compare
        objectives of different rows), or numbers that are not whole and positive.

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

    def __post_init__(self):
        checks.whole(self.batch_rows, "batch_rows", 1)
        checks.whole(self.seed, "seed", 0, 2**31 - 1)
        searches = isinstance(self.algorithm, Gradient) and self.algorithm.searches
        if searches or not isinstance(self.algorithm, Gradient | StepwiseEM):
            raise ValueError(
                f"{self.algorithm!r} cannot run over minibatches: pass StepwiseEM(), or Gradient "
                "of an optimizer without a line search, e.g. "
                "Stochastic(Gradient(optax.adam, learning_rate=0.01))."
            )

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"stochastic {getattr(self.algorithm, 'name', type(self.algorithm).__name__)}"

    def init(self, mixture: Mixture, statistics: Statistics) -> tuple[Any, jax.Array]:
        """The inner algorithm's state, and how many epochs there were."""
        return self.algorithm.init(mixture, statistics), jnp.int32(0)

    def move(self, mixture: Mixture, state, statistics: Statistics, evaluate, prior):
        """One epoch, and one pass."""
        inner, epoch = state
        total = jnp.sum(statistics.mass)
        seed = jax.random.fold_in(jax.random.key(self.seed), epoch)

        def visit(carry, rows):
            """The minibatches of rows that are in memory, after `before` others."""
            moved, seen, before = carry
            size = min(max(self.batch_rows // rows.parts, 1), len(rows.x))
            order, counted = rows.shuffle(jax.random.fold_in(seed, before))
            batches = counted // size
            # What is too short for a minibatch sits out, unless it is all there is.
            batches = jnp.where(before == 0, jnp.maximum(batches, 1), batches)

            def step(i, moved):
                mixture, inner = moved
                chosen = jax.lax.dynamic_slice_in_dim(order, i * size, size)
                sums = evaluate_rows(mixture, rows.take(chosen), "auto")
                mass = jnp.sum(sums.mass)
                scale = total / jnp.where(mass > 0, mass, 1)
                sums = jax.tree.map(lambda leaf: scale * leaf, sums)
                # What these algorithms evaluate they hand on: the next minibatch knows better.
                after = self.algorithm.move(mixture, inner, sums, lambda _: sums, prior)[:2]
                return where(mass > 0, cast_like(after, moved), moved)

            moved = jax.lax.fori_loop(0, batches, step, moved)
            return moved, seen + jnp.minimum(batches * size, counted), before + counted

        start = (mixture, inner), jnp.int32(0), jnp.int32(0)
        (moved, inner), seen, counted = evaluate.rows.fold(visit, start)
        return moved, (inner, epoch + 1), evaluate(moved), 1 + seen / counted
