"""Stochastic algorithms with variance reduction: minibatches that correct a whole pass."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..internal import checks
from ..internal.trees import cast_like, finite, where
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate as evaluate_rows
from ..objective.log_likelihood import restate
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .gradient import Gradient
from .minibatches import check_inner, one_epoch
from .protocol import Pass
from .stepwise import StepwiseEM

CONSTANT = StepwiseEM(decay=0.0, scale=0.5)


@dataclasses.dataclass(frozen=True)
class VarianceReduced:
    """An algorithm that runs over minibatches, with variance reduction.

    One move is an epoch over minibatches, as for `Stochastic`, followed by one pass over all rows.
    That pass is also the snapshot of the next epoch: with the snapshot's mixture θ̃ and its
    statistics S̃, a minibatch estimates the statistics at the current mixture θ by

        S̃ + (Σ w / Σ_batch w) (s_batch(θ) − s_batch(θ̃)),

    whose error vanishes as θ and θ̃ approach the optimum. Therefore a constant step size converges
    linearly to a fixed point of EM, which no constant step size of `Stochastic` does. An estimate
    that leads to a mixture that is not finite (a mass that is not positive, second moments that are
    not positive definite) is left out.

    Each minibatch is evaluated at two mixtures, so that an epoch counts as twice the fraction of
    rows that it visits, plus 1.

    Args:
      algorithm: `StepwiseEM(decay=0, scale=γ)`, whose step size γ is constant, or `Gradient(...)`
        with an optimizer without a line search, which is stochastic variance-reduced gradient
        ascent.
      batch_rows: the number of rows in a minibatch.
      seed: the seed of the random orders.

    Raises:
      ValueError: as for `Stochastic`; in `fit`, for families with few factors.

    Source: Chen, Zhu, Teh & Zhang 2018, NeurIPS, "Stochastic expectation maximization with variance
    reduction", eq. 6; Karimi, Wai, Moulines & Lavielle 2019, NeurIPS, sec. 2.2.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.VarianceReduced(batch_rows=50))
    >>> bool(found.converged), bool(found.passes == 1 + 3 * found.steps)
    (True, True)
    """

    algorithm: Gradient | StepwiseEM = CONSTANT
    batch_rows: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        checks.whole(self.batch_rows, "batch_rows", 1)
        checks.whole(self.seed, "seed", 0, 2**31 - 1)
        check_inner(self.algorithm)

    @property
    def name(self) -> str:
        """The name in tables."""
        inner = getattr(self.algorithm, "name", type(self.algorithm).__name__)
        return f"variance-reduced {inner}"

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
        """Make one epoch, then the pass that is the next snapshot."""
        snapshot, (inner, epoch), total = mixture, state, jnp.sum(statistics.mass)

        def step(batch: Rows, moved: tuple[Mixture, Any]) -> tuple[Mixture, Any]:
            mixture, inner = moved
            new = evaluate_rows(mixture, batch, "auto")
            old = evaluate_rows(snapshot, batch, "auto")
            mass = jnp.sum(new.mass)
            scale = total / jnp.where(mass > 0, mass, 1)
            rest = jax.tree.map(lambda s, o: s - scale * o, statistics, old)
            rest = restate(rest, snapshot, mixture)
            sums = jax.tree.map(lambda r, n: r + scale * n, rest, new)
            after = self.algorithm.move(mixture, inner, sums, lambda _: sums, prior)[:2]
            logits = jnp.where(mixture.present, after[0].logits, 0)
            usable = (mass > 0) & finite(logits, after[0].means, after[0].covariance)
            return where(usable, cast_like(after, moved), moved)

        seed = jax.random.fold_in(jax.random.key(self.seed), epoch)
        (moved, inner), seen = one_epoch(
            evaluate.rows, seed, self.batch_rows, step, (mixture, inner)
        )
        return moved, (inner, epoch + 1), evaluate(moved), 1 + 2 * seen
