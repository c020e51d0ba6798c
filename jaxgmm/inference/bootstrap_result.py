"""`Bootstrap`: fits of many resampled data sets, and what they say of the first fit."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..divergences.estimate import Estimate
from ..fitting.status import Status
from ..internal import checks
from ..internal.compiling import jit_once
from ..internal.feature_names import resolve_feature_names
from ..internal.text_table import Table
from ..internal.warn import warn
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from .intervals import check_level
from .parameters import Parameters, parameter_table, parameters_of, without_absent
from .uncertainty import uncertainty
from .uncertainty_result import Uncertainty

KINDS = ("bca", "percentile")
# The quantiles and the distribution function of a standard normal variable, on the host.
QUANTILE = np.vectorize(statistics.NormalDist().inv_cdf, otypes=[float])
PROBABILITY = np.vectorize(statistics.NormalDist().cdf, otypes=[float])


@dataclasses.dataclass(frozen=True, repr=False)
class Bootstrap:
    """The result of `bootstrap`, with r replicates.

    Attributes:
      mixture: the fit of the original rows.
      mixtures: the fits of the replicates, a batch of r mixtures whose components are in the order
        of those of `mixture`.
      status: (r,) how each fit ended, a `Status`. Fits that collapsed are left out of errors and
        intervals.
      agreement: (r,) the fraction of the original rows' weight that both the replicate and
        `mixture` give to the same component. A low value says that the components of the replicate
        are other ones.
      swapped: (r,) whether the components had to be reordered.
      log_likelihood: (r,) that of each replicate for its own rows, in nats.
      passes: (r,) passes over the rows.
      x: (n, d) the original rows.
      weight: (n,) their weights.
      prior: the prior of all fits, or None.
    """

    mixture: Mixture
    mixtures: Mixture
    status: jax.Array
    agreement: jax.Array
    swapped: jax.Array
    log_likelihood: jax.Array
    passes: jax.Array
    x: jax.Array
    weight: jax.Array
    prior: Prior | None

    @property
    def usable(self) -> np.ndarray:
        """Which fits did not collapse, as booleans (r,)."""
        return usable(self.status)

    @functools.cached_property
    def uncertainty(self) -> Uncertainty:
        """The `Uncertainty` of `mixture`, from which BCa intervals get their acceleration."""
        return uncertainty(self.mixture, self.x, weight=self.weight, prior=self.prior)

    @property
    def standard_errors(self) -> Parameters:
        """The standard deviations of weights, means and covariances over the replicates."""
        return without_absent(self.mixture, self.of(parameters_of).standard_error)

    def of(self, g: Callable[[Mixture], Any]) -> Estimate:
        """Return the estimate of a function of a mixture, with its error over the replicates.

        Args:
          g: any function of a mixture that returns an array or a pytree.

        Returns:
          An `Estimate` with `value` g(mixture), `standard_error` of the same structure, and the
          `covariance` (q, q) of the flattened value.
        """
        value, draws, unravel = self._draws(g)
        covariance = np.atleast_2d(np.cov(draws.T))
        error = np.sqrt(np.diag(covariance)).astype(draws.dtype)
        return Estimate(value, unravel(jnp.asarray(error)), jnp.asarray(covariance, draws.dtype))

    def covariance(self, g: Callable[[Mixture], Any]) -> jax.Array:
        """Return the covariance (q, q) of a function of a mixture over the replicates."""
        covariance = self.of(g).covariance
        assert covariance is not None
        return covariance

    def interval(
        self, g: Callable[[Mixture], Any], level: float = 0.95, kind: str = "bca"
    ) -> tuple[Any, Any]:
        """Return a confidence interval of a function of a mixture.

        Args:
          g: see `of`; differentiable for "bca".
          level: the probability with which the interval covers the true value.
          kind: "percentile" takes quantiles of the replicates. "bca" corrects them for bias and for
            an error that depends on the value. Its acceleration comes from the derivatives of g by
            the row weights, without further fits.

        Returns:
          The lower and the upper end, each with the structure of g(mixture).

        Warns:
          UserWarning: if the mixture is no maximum, so that "bca" knows no acceleration.

        Source: Efron 1987, J. American Statistical Association 82.
        """
        check_level(level)
        checks.choice(kind, "kind", KINDS)
        value, draws, unravel = self._draws(g)
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        fractions = np.broadcast_to(tails[:, None], (2, draws.shape[1]))
        if kind == "bca":
            fractions = self._corrected(g, np.asarray(ravel_pytree(value)[0]), draws, tails)
        low, high = (
            np.array([_quantile(draws[:, i], part[i]) for i in range(draws.shape[1])])
            for part in fractions
        )
        return unravel(jnp.asarray(low, draws.dtype)), unravel(jnp.asarray(high, draws.dtype))

    def table(self, features: Sequence[str] | None = None, level: float = 0.95) -> Table:
        """Return a table of every parameter, its standard error, and its BCa interval."""
        names = resolve_feature_names(features, None, self.mixture.n_features)
        low, high = self.interval(parameters_of, level)
        columns = {"standard error": self.standard_errors, "low": low, "high": high}
        columns = {name: jax.tree.map(np.asarray, column) for name, column in columns.items()}
        failed = int(np.sum(~self.usable))
        note = f"{len(self.usable)} replicates" + (f", {failed} failed" if failed else "")
        return parameter_table(self.mixture, columns, names, note)

    def _draws(self, g: Callable[[Mixture], Any]) -> tuple[Any, np.ndarray, Callable[..., Any]]:
        """Return g(mixture), the usable replicates' flattened values (r, q), and the unraveling."""
        evaluate = jit_once(_values, self.mixtures.means.size)
        value, draws = evaluate(g, self.mixture, self.mixtures)
        return value, np.asarray(draws)[self.usable], ravel_pytree(value)[1]

    def _corrected(
        self, g: Callable[[Mixture], Any], value: np.ndarray, draws: np.ndarray, tails: np.ndarray
    ) -> np.ndarray:
        """Return the fractions (2, q) of the replicates at which BCa intervals end."""
        influence = np.asarray(self.uncertainty.influence(self.x, g), np.float64)
        weight = np.asarray(self.weight, np.float64)[:, None]
        skew, size = np.sum(weight * influence**3, axis=0), np.sum(weight * influence**2, axis=0)
        if np.isnan(influence).any():
            warn(
                "the acceleration of BCa intervals is unknown, and taken as 0. "
                f"{self.uncertainty.reason}"
            )
        acceleration = np.where(size > 0, skew / (6 * np.where(size > 0, size, 1) ** 1.5), 0)
        below = np.mean(draws < value, axis=0) + np.mean(draws == value, axis=0) / 2
        least = 0.5 / len(draws)
        bias = QUANTILE(np.clip(below, least, 1 - least))
        shifted = bias + QUANTILE(tails)[:, None]
        return np.asarray(PROBABILITY(bias + shifted / (1 - acceleration * shifted)))

    def __repr__(self) -> str:
        """Return the number of replicates and the mixture in one line."""
        return f"Bootstrap({self.mixture!r}: {len(self.usable)} replicates)"

    def __str__(self) -> str:
        return str(self.table())


def usable(status: jax.Array) -> np.ndarray:
    """Return which fits did not collapse, by their `Status` (r,), as booleans."""
    return ~np.isin(np.asarray(status), (Status.DEGENERATE, Status.NONFINITE))


def _quantile(draws: np.ndarray, fraction: float) -> float:
    """Return a quantile of draws (r,), with r + 1 equal steps between draws and ends."""
    place = np.clip(fraction * (len(draws) + 1) - 1, 0, len(draws) - 1)
    return float(np.interp(place, np.arange(len(draws)), np.sort(draws)))


def _values(
    g: Callable[[Mixture], Any], mixture: Mixture, mixtures: Mixture
) -> tuple[Any, jax.Array]:
    flat = lambda lane: ravel_pytree(g(lane))[0]
    value = jax.tree.map(jnp.asarray, g(mixture))
    return value, jax.lax.map(flat, mixtures, batch_size=64)
