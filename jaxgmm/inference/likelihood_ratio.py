"""`likelihood_ratio`: whether a mixture with more components fits significantly better."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..algorithms.protocol import Algorithm
from ..algorithms.registry import by_name
from ..algorithms.squarem import SQUAREM
from ..batches.slots import Outcome, Tasks, run_tasks
from ..data.open_data import open_data
from ..internal import checks
from ..internal.warn import warn
from ..mixture.mixture import Mixture
from ..mixture.sampling import sample
from ..objective import prior as priors
from ..objective.log_likelihood import log_likelihood
from ..objective.prior import Prior
from ..starts.initialization import split
from .bootstrap import rows_in_memory
from .bootstrap_result import usable

# Every start makes this many steps, and then the best ones run to their end.
FIRST_STEPS, CONTINUED = 10, 2
# A larger fraction of failed fits brings a warning.
MOST_FAILED = 0.03


@dataclasses.dataclass(frozen=True)
class LikelihoodRatio:
    """The result of `likelihood_ratio`.

    Attributes:
      statistic: T, twice the difference of the log-likelihoods of both mixtures.
      null: the same for the data sets drawn from the smaller mixture whose fits did not fail.
      p_value: (1 + the number of null values of at least T + the number of failed data sets)
        / (1 + r) for r data sets. It can only be too high.
      status: (r,) how the larger fit of each null data set ended, a `Status`.
      failed: the number of null data sets of which a fit failed.
    """

    statistic: float
    null: np.ndarray
    p_value: float
    status: np.ndarray
    failed: int = 0

    def __str__(self) -> str:
        parts = [f"T = {self.statistic:.2f}, p = {self.p_value:.3f}"]
        if len(self.null):
            quantiles = np.quantile(self.null, [0.05, 0.5, 0.95])
            parts += [f"5 %, 50 % and 95 % of {len(self.null)} null values: "]
            parts[-1] += ", ".join(f"{value:.2f}" for value in quantiles)
        if self.failed:
            parts += [f"{self.failed} of {len(self.status)} null fits failed, and count as larger"]
        return "; ".join(parts)


def likelihood_ratio(
    key: jax.Array,
    x: Any,
    smaller: Mixture,
    larger: Mixture,
    *,
    replicates: int = 199,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    algorithm: Algorithm | str = SQUAREM(),
    tolerance: float = 1e-7,
    max_steps: int = 1000,
) -> LikelihoodRatio:
    """Test whether `larger` fits significantly better than `smaller`, by a parametric bootstrap.

    The χ² distribution does not hold for numbers of components, so the statistic is compared with
    its values for data that are drawn from the smaller mixture. Each of these data sets is fitted
    as well as the rows were: the larger mixture starts from every split of a component of the
    smaller one and from `larger` itself, and the best two starts run to their end. With fewer
    starts the null values would be too low.

    Args:
      key: a JAX random key.
      x: (n, d) rows, an array or `Blocks`.
      smaller: the fit with fewer components.
      larger: the fit with one component more, of the same family.
      replicates: the number of null data sets.
      weight: (n,) row weights that count rows, or None for ones.
      prior: the prior of both fits, as in `fit`.
      algorithm: the algorithm of the null fits, by name or as for `fit`.
      tolerance: that of the null fits, as in `fit`.
      max_steps: that of the null fits, as in `fit`.

    Returns:
      A `LikelihoodRatio`.

    Raises:
      ValueError: for an invalid argument; if `larger` does not have one component more, or is not
        the better fit.

    Warns:
      UserWarning: if more than 3 % of the null fits failed.

    Source: McLachlan 1987, Applied Statistics 36; McLachlan & Peel 2000, sec. 6.4.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=4.0).x
    >>> one, two = (jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, k)) for k in (1, 2))
    >>> key = jax.random.key(2)
    >>> jaxgmm.likelihood_ratio(key, x, one.mixture, two.mixture, replicates=19).p_value
    0.05
    """
    checks.random_key(key)
    replicates = checks.whole(replicates, "replicates", 2)
    algorithm = by_name(algorithm)
    smaller, x, weights = rows_in_memory("likelihood_ratio", smaller, x, weight)
    larger, _, _ = rows_in_memory("likelihood_ratio", larger, x, weight)
    present = [int(np.sum(np.asarray(m.present))) for m in (smaller, larger)]
    if present[1] != present[0] + 1 or type(smaller.covariance) is not type(larger.covariance):
        raise ValueError(
            f"the mixtures have {present[0]} and {present[1]} components of families "
            f"{smaller.family!r} and {larger.family!r}: pass one of K and one of K + 1 components "
            "of the same family."
        )
    prior = priors.resolve_prior(prior, open_data(x, weights, warn_of_columns=None))
    values = [float(log_likelihood(m, x, weight=weights)) for m in (smaller, larger)]
    statistic = 2 * (values[1] - values[0])
    if statistic < 0:
        raise ValueError(
            f"larger is not the better fit (T = {statistic:.3g}): fit it from more starts."
        )
    n = len(x) if weights is None else int(np.round(np.asarray(weights, np.float64).sum()))
    draw = jax.jit(jax.vmap(lambda one: sample(one, smaller, n)[0]))
    rows = draw(jax.random.split(key, replicates)).astype(x.dtype)
    ones = jnp.ones((1, n), x.dtype)
    tolerance = checks.not_negative(tolerance, "tolerance")

    def run(starts: Mixture, rows: jax.Array, steps: int) -> Outcome:
        tasks = Tasks(starts, rows, ones)
        return run_tasks(
            tasks, len(rows), prior, algorithm=algorithm, tolerance=tolerance, max_steps=steps
        )

    few = run(jax.tree.map(lambda leaf: leaf[None], smaller), rows, max_steps)
    many = _best_of_starts(run, _starts_of_larger(smaller, larger), rows, max_steps)
    null = 2 * np.asarray(many.log_likelihood - few.log_likelihood, np.float64)
    good = np.isfinite(null) & usable(many.status) & usable(few.status)
    failed = int(np.sum(~good))
    if failed > MOST_FAILED * replicates:
        warn(
            f"{failed} of {replicates} null fits failed, and count as if they were larger than T: "
            "use a prior, which keeps covariances from becoming singular."
        )
    p_value = (1 + np.sum(null[good] >= statistic) + failed) / (1 + replicates)
    return LikelihoodRatio(statistic, null[good], float(p_value), np.asarray(many.status), failed)


def _starts_of_larger(smaller: Mixture, larger: Mixture) -> Mixture:
    """Return starts with one component more: every split of the smaller one, and the larger one."""
    chosen = np.flatnonzero(np.asarray(larger.present))
    larger = _select(larger, chosen)
    chosen = np.flatnonzero(np.asarray(smaller.present))
    places = np.append(chosen, chosen[0])
    if len(chosen) > 1:
        wide = _select(smaller, places)
        wide = dataclasses.replace(wide, logits=wide.logits.at[-1].set(-jnp.inf))
    else:  # leaves do not show whether components would share them
        weights, means = [1.0, 0.0], smaller.means[places]
        covariances = smaller.covariances[places]
        wide = Mixture.from_parameters(weights, means, covariances, smaller.family)
    splits = jax.jit(jax.vmap(split, in_axes=(None, 0)))(wide, jnp.arange(len(chosen)))
    join = lambda many, one: jnp.concatenate([many, one[None]])
    return jax.tree.map(join, splits, larger)


def _select(mixture: Mixture, components: np.ndarray) -> Mixture:
    index = jnp.asarray(components, jnp.int32)
    covariance = mixture.covariance.select(index)
    return Mixture(mixture.logits[index], mixture.means[index], covariance)


def _best_of_starts(run: Any, starts: Mixture, rows: jax.Array, max_steps: int) -> Outcome:
    """Return the best fit of each data set (r, n, d) over all starts."""
    count, replicates = len(starts.logits), len(rows)
    repeat = lambda leaf: jnp.repeat(leaf, count, axis=0)
    tile = lambda leaf: jnp.tile(leaf, (replicates, *[1] * (leaf.ndim - 1)))
    first = run(jax.tree.map(tile, starts), repeat(rows), FIRST_STEPS)
    objective = np.nan_to_num(np.asarray(first.objective), nan=-np.inf).reshape(replicates, count)
    kept = min(CONTINUED, count)
    best = np.argsort(-objective, axis=1)[:, :kept]
    places = (np.arange(replicates)[:, None] * count + best).ravel()
    chosen = jax.tree.map(lambda leaf: leaf[places], first.mixture)
    end = run(chosen, jnp.repeat(rows, kept, axis=0), max_steps)
    objective = np.nan_to_num(np.asarray(end.objective), nan=-np.inf).reshape(replicates, kept)
    winner = np.arange(replicates) * kept + np.argmax(objective, axis=1)
    return jax.tree.map(lambda leaf: leaf[winner], end)
