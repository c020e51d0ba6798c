"""Minibatches: an algorithm that makes many moves during one pass over the rows."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate as evaluate_rows
from ..objective.statistics import Statistics
from .epochs import EpochAlgorithm
from .gradient import Gradient
from .stepwise import StepwiseEM


@dataclasses.dataclass(frozen=True)
class Stochastic(EpochAlgorithm):
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

    kind: ClassVar[str] = "stochastic"
    visits: ClassVar[int] = 1

    def estimate(
        self, mixture: Mixture, batch: Rows, snapshot: Mixture, statistics: Statistics
    ) -> tuple[Statistics, jax.Array]:
        """Return the minibatch's statistics in proportion, and its mass."""
        sums = evaluate_rows(mixture, batch, "auto")
        mass = jnp.sum(sums.mass)
        scale = jnp.sum(statistics.mass) / jnp.where(mass > 0, mass, 1)
        return jax.tree.map(lambda leaf: scale * leaf, sums), mass
