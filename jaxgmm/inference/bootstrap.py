"""`bootstrap`: the distribution of a fit over resampled data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..algorithms.em import EM
from ..algorithms.protocol import Algorithm
from ..algorithms.registry import by_name
from ..batches.slots import Tasks, run_tasks
from ..data.observed import Observed
from ..data.open_data import open_data
from ..data.sources import Blocks, Source
from ..internal import checks
from ..internal.warn import warn
from ..mixture.inputs import check_mixture_and_array
from ..mixture.mixture import Mixture
from ..mixture.sampling import sample
from ..objective import prior as priors
from ..objective.prior import Prior
from .bootstrap_result import Bootstrap
from .match_components import match_labels

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
    counts = jnp.asarray(np.ones(len(x), x.dtype)) if weight is None else weight
    weights, rows, starts = map(_as_lane, (counts, x, mixture))
    if method == "mixture":
        draw = jax.jit(jax.vmap(lambda one: sample(one, mixture, len(x))[0]))
        rows = draw(jax.random.split(key, replicates))
    else:
        weights = _resample(key, method, replicates, counts)
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
    if isinstance(x, Observed):
        raise ValueError(
            f"{name} needs fully observed rows without labels: pass an array (n, d) of them, e.g. "
            "the rows without missing values."
        )
    if isinstance(x, Source):
        raise ValueError(f"{name} resamples rows in memory: pass x as an array (n, d).")
    if checks.traced(mixture, x, weight):
        raise ValueError(f"{name} runs a loop on the host: call it outside jit, vmap and grad.")
    return check_mixture_and_array(mixture, x, weight)


def _as_lane(tree: Any) -> Any:
    """Return arrays with a leading axis of 1, by NumPy: by JAX, each shape is another program."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[None]), tree)


def _resample(key: jax.Array, method: str, replicates: int, counts: jax.Array) -> jax.Array:
    """Return row weights (replicates, n) of "rows" or "bayesian"."""
    # On the host, since compiling a program would take longer than all replicates of small data.
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    cumulative = np.cumsum(np.asarray(counts, np.float64))
    n, total = len(cumulative), cumulative[-1]
    if method == "rows":
        places = random.random((replicates, max(int(np.round(total)), 1))) * total
        index = np.minimum(np.searchsorted(cumulative, places, side="right"), n - 1)
        index += n * np.arange(replicates)[:, None]
        drawn = np.bincount(index.ravel(), minlength=replicates * n)
        return jnp.asarray(drawn.reshape(replicates, n), counts.dtype)
    shares = random.gamma(np.asarray(counts, np.float64), size=(replicates, n))
    return jnp.asarray(shares * (total / shares.sum(axis=1, keepdims=True)), counts.dtype)


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
