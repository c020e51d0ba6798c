"""`bootstrap`: the distribution of a fit over resampled data."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..algorithms.em import EM
from ..algorithms.protocol import Algorithm
from ..algorithms.registry import by_name
from ..data.open_data import open_data
from ..data.sources import Blocks, Source
from ..internal import checks
from ..internal.compiling import jit_once
from ..internal.warn import warn
from ..mixture.densities import sample
from ..mixture.inputs import check_mixture_and_array
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.prior import Prior
from .bootstrap_result import Bootstrap
from .labels import match_labels
from .slots import Tasks, run_tasks

METHODS = ("rows", "bayesian", "mixture")
# Warnings: too many failed replicates, or replicates whose components do not match the fit's.
MOST_FAILED, LEAST_AGREEMENT, MOST_DISAGREEING = 0.1, 0.8, 0.05


def bootstrap(
    key: jax.Array,
    x: Any,
    mixture: Mixture,
    *,
    replicates: int = 999,
    method: str = "rows",
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    algorithm: Algorithm | str = EM(),
    tolerance: float = 1e-9,
    max_steps: int = 1000,
) -> Bootstrap:
    """Fit a mixture again to many resampled data sets.

    Args:
      key: a JAX random key.
      x: (n, d) rows, an array or `Blocks`.
      mixture: the fit of these rows, from which every replicate starts.
      replicates: the number of data sets.
      method: "rows" draws as many rows with replacement, in proportion to their weights.
        "bayesian" multiplies the row weights by exponential random numbers and keeps their sum
        (the weighted likelihood bootstrap), so no row is left out. "mixture" draws new rows from
        the mixture.
      weight: (n,) row weights, or None for ones. They count rows: a weight of 2 is two rows.
      prior: the prior of the fit, as in `fit`. All replicates have the same one.
      algorithm: the algorithm of the fits, by name or as for `fit`.
      tolerance: as in `fit`.
      max_steps: as in `fit`.

    Returns:
      A `Bootstrap`: the replicates with their components in the order of those of `mixture`, and
      errors and intervals of any function of a mixture.

    Warns:
      UserWarning: if more than 10 % of the fits failed, or if the components of more than 5 % of
        them are not those of `mixture`.

    Raises:
      ValueError: for an invalid argument.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap; Newton & Raftery 1994, J.
    Royal Stat. Soc. B 56; for mixtures, McLachlan & Peel 2000, sec. 2.16.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2))
    >>> result = jaxgmm.bootstrap(jax.random.key(2), x, found.mixture, replicates=50)
    >>> result.standard_errors.weights.shape
    (2,)
    """
    checks.random_key(key)
    checks.choice(method, "method", METHODS)
    replicates = checks.whole(replicates, "replicates", 2)
    algorithm = by_name(algorithm)
    mixture, x, weight = rows_in_memory("bootstrap", mixture, x, weight)
    prior = priors.resolve_prior(prior, open_data(x, weight, warn_of_columns=None))
    counts = jnp.ones(len(x), x.dtype) if weight is None else weight
    weights = counts[None]
    rows = x[None]
    if method == "mixture":
        draw = jax.jit(jax.vmap(lambda one: sample(one, mixture, len(x))[0]))
        rows = draw(jax.random.split(key, replicates))
    else:
        total = int(np.round(np.asarray(counts, np.float64).sum()))
        drawing = Drawing(method, replicates, max(total, 1), weight is not None)
        weights = jit_once(_resample, replicates * len(x))(drawing, key, counts)
    starts = jax.tree.map(lambda leaf: leaf[None], mixture)
    found = run_tasks(
        Tasks(starts, rows, weights),
        replicates,
        prior,
        algorithm=algorithm,
        tolerance=checks.not_negative(tolerance, "tolerance"),
        max_steps=checks.whole(max_steps, "max_steps", 1),
    )
    mixtures, agreement, swapped = match_labels(mixture, found.mixture, x, counts)
    result = Bootstrap(
        mixture=mixture,
        mixtures=mixtures,
        status=found.status,
        agreement=agreement,
        swapped=swapped,
        log_likelihood=found.log_likelihood,
        passes=found.passes,
        x=x,
        weight=counts,
        prior=prior,
    )
    _warn_of(result)
    return result


def rows_in_memory(
    name: str, mixture: Mixture, x: Any, weight: Any
) -> tuple[Mixture, jax.Array, jax.Array | None]:
    """Return a checked mixture with rows and weights that are arrays with values."""
    if isinstance(x, Blocks):
        x = x.array
    if isinstance(x, Source):
        raise ValueError(f"{name} resamples rows in memory: pass x as an array (n, d).")
    if checks.traced(mixture, x, weight):
        raise ValueError(f"{name} runs a loop on the host: call it outside jit, vmap and grad.")
    return check_mixture_and_array(mixture, x, weight)


class Drawing(NamedTuple):
    """What row weights are drawn: the method, how many, their sum, and whether rows have counts."""

    method: str
    replicates: int
    total: int
    weighted: bool


def _resample(drawing: Drawing, key: jax.Array, counts: jax.Array) -> jax.Array:
    """Return row weights (replicates, n) of "rows" or "bayesian"."""
    keys = jax.random.split(key, drawing.replicates)
    cumulative = jnp.cumsum(counts)
    last = len(counts) - 1

    def draw_rows(key: jax.Array) -> jax.Array:
        places = jax.random.uniform(key, (drawing.total,), counts.dtype) * cumulative[-1]
        index = jnp.minimum(jnp.searchsorted(cumulative, places, side="right"), last)
        return jnp.zeros_like(counts).at[index].add(1)

    def draw_weights(key: jax.Array) -> jax.Array:
        shape = counts.shape
        drawn = (
            jax.random.gamma(key, counts, shape, counts.dtype)
            if drawing.weighted
            else jax.random.exponential(key, shape, counts.dtype)
        )
        return drawn * (cumulative[-1] / jnp.sum(drawn))

    draw = draw_rows if drawing.method == "rows" else draw_weights
    return jax.lax.map(draw, keys, batch_size=64)


def _warn_of(result: Bootstrap) -> None:
    failed = 1 - np.mean(result.usable)
    if failed > MOST_FAILED:
        warn(
            f"{failed:.0%} of the replicates failed, and are left out of errors and intervals: use "
            "a prior or fewer components.",
        )
    apart = np.mean(np.asarray(result.agreement)[result.usable] < LEAST_AGREEMENT)
    if apart > MOST_DISAGREEING:
        warn(
            f"in {apart:.0%} of the replicates the components are not those of the fit: they are "
            "not identified. Report functions that do not depend on labels, such as a density.",
        )
