"""Stochastic algorithms with variance reduction: minibatches that correct a whole pass."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..internal.trees import finite
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate as evaluate_rows
from ..objective.log_likelihood import restate
from ..objective.statistics import Statistics
from .epochs import EpochAlgorithm
from .gradient import Gradient
from .stepwise import StepwiseEM

CONSTANT = StepwiseEM(decay=0.0, scale=0.5)


@dataclasses.dataclass(frozen=True)
class VarianceReduced(EpochAlgorithm):
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

    kind: ClassVar[str] = "variance-reduced"
    visits: ClassVar[int] = 2

    def estimate(
        self, mixture: Mixture, batch: Rows, snapshot: Mixture, statistics: Statistics
    ) -> tuple[Statistics, jax.Array]:
        """Return the snapshot's statistics, corrected by the minibatch, and its mass."""
        new = evaluate_rows(mixture, batch, "auto")
        old = evaluate_rows(snapshot, batch, "auto")
        mass = jnp.sum(new.mass)
        scale = jnp.sum(statistics.mass) / jnp.where(mass > 0, mass, 1)
        rest = jax.tree.map(lambda s, o: s - scale * o, statistics, old)
        rest = restate(rest, snapshot, mixture)
        return jax.tree.map(lambda r, n: r + scale * n, rest, new), mass

    def accepts(self, mixture: Mixture) -> jax.Array:
        """Return whether the mixture is finite, which an estimate does not ensure."""
        logits = jnp.where(mixture.present, mixture.logits, 0)
        return finite(logits, mixture.means, mixture.covariance)
