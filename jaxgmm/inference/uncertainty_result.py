"""`Uncertainty`: how certain the parameters of a fitted mixture, and functions of them, are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..divergences.estimate import Estimate
from ..internal import checks
from ..internal.compiling import jit_once
from ..internal.feature_names import resolve_feature_names
from ..internal.pytrees import pytree
from ..internal.text_table import Table
from ..mixture.inputs import check_mixture_and_array
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.products import matmul
from ..objective.expected_derivatives import offsets_of
from .intervals import SCALES, check_level, wald_interval
from .parameters import Parameters, parameter_table, parameters_of, scale_of, without_absent
from .row_scores import score_products

REASONS = {
    "saddle": "The mixture is a saddle point of the objective, so it has no standard errors: fit "
    "it again from other starts, or with fewer components.",
    "flat": "The objective is flat in some direction, so there are no standard errors: use fewer "
    "components, a prior, or float64.",
    "not stationary": "The mixture is not at a maximum, so the errors are only indicative: fit it "
    "to a smaller tolerance.",
    "maximum": "",
}

DEPENDENT_SCORES = (
    "The scores of the rows depend on one another, so their products have no inverse: use method "
    "'observed', or more rows or clusters."
)


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Uncertainty:
    """The result of `uncertainty`; under vmap every field has a leading axis.

    Numbers refer to relative coordinates about `point` (see `jaxgmm.Relative`), in the order of the
    mixture's leaves. Where the mixture is a saddle or flat, errors are NaN, and `reason` says why.

    Attributes:
      mixture: the given mixture.
      point: the mixture at which derivatives were taken: the given one, or one Newton step
        further, which removes what the tolerance of the fit left.
      covariance: (p, p) the covariance of the relative coordinates, 0 in directions that do not
        change the density.
      information: (p, p) the observed information, the negative Hessian of the objective.
      inverse_information: (p, p) its inverse in the other directions.
      em_gain: () EM's gain D of the given mixture.
      eigenvalue: () the smallest eigenvalue of the information per unit of row weight.
      tolerance: () the bound of D below which the mixture counts as stationary.
    """

    mixture: Mixture
    point: Mixture
    covariance: jax.Array
    information: jax.Array
    inverse_information: jax.Array
    em_gain: jax.Array
    eigenvalue: jax.Array
    tolerance: jax.Array

    @property
    def verdict(self) -> str | np.ndarray:
        """The kind of point: "maximum", "saddle", "flat" or "not stationary".

        The rules are those of `Certificate.verdict`. For a batch it is an array of words.
        """
        em_gain, lowest = np.asarray(self.em_gain), np.asarray(self.eigenvalue)
        noise = np.sqrt(np.finfo(em_gain.dtype).eps)
        words = np.select(
            [~(em_gain < np.asarray(self.tolerance)), lowest < -noise, lowest <= noise],
            ["not stationary", "saddle", "flat"],
            "maximum",
        )
        return words if words.ndim else str(words)

    @property
    def reason(self) -> str | np.ndarray:
        """A sentence that says why there are no errors, or why not to trust them, or "".

        For a batch it is an array of sentences.
        """
        without = np.isnan(np.asarray(self.covariance)).all(axis=(-2, -1))
        words = np.vectorize(_reason, otypes=[object])(self.verdict, without)
        return words if words.ndim else str(words)

    @property
    def standard_errors(self) -> Parameters:
        """The standard errors of weights (k,), means (k, d) and dense covariances (k, d, d).

        For an absent component, that of the weight is 0 and the others are NaN.
        """
        compute = jit_once(_standard_errors, self.covariance.size)
        return _for_each_lane(functools.partial(compute, None), self)

    def of(self, g: Callable[[Mixture], Any]) -> Estimate:
        """Return the estimate of a function of the mixture, by the delta method.

        Args:
          g: any differentiable function of a mixture that returns an array or a pytree. Passing the
            same function object again does not compile again.

        Returns:
          An `Estimate` with `value` g(mixture), `standard_error` of the same structure, and the
          `covariance` (q, q) of the flattened value.
        """
        compute = jit_once(_of, self.covariance.size)
        return _for_each_lane(functools.partial(compute, g), self)

    def interval(
        self, g: Callable[[Mixture], Any], level: float = 0.95, scale: str = "plain"
    ) -> tuple[Any, Any]:
        """Return Wald's confidence interval of a function of the mixture.

        Args:
          g: see `of`.
          level: the probability with which the interval covers the true value.
          scale: "plain"; "log" for positive numbers, such as variances; or "logit" for numbers
            between 0 and 1, such as weights. The interval stays inside that range.

        Returns:
          The lower and the upper end, each with the structure of g(mixture). Under jit or vmap
          they are NaN for a number outside of the scale.

        Raises:
          ValueError: for an invalid argument, or a number outside of the scale.
        """
        check_level(level)
        checks.choice(scale, "scale", SCALES)
        estimate = self.of(g)
        return wald_interval(estimate.value, estimate.standard_error, level, scale)

    def draw(self, key: jax.Array, n: int) -> Mixture:
        """Return n mixtures (a batch) from the normal distribution of the relative coordinates.

        Every draw is a valid mixture of the family. Draws are NaN where there are no errors.
        """
        checks.random_key(key)
        checks.one_mixture(self.mixture)
        return _draw(checks.whole(n, "n", 1), key, self)

    def influence(self, x: Any, g: Callable[[Mixture], Any]) -> jax.Array:
        """Return the derivative of g(mixture) by the weight of each row, as (n, q).

        The mixture moves to the new maximum when the weight changes. Entry (n, i) is approximately
        what adding row n once more would change in entry i of the flattened value.

        Args:
          x: (n, d) rows, one array.
          g: see `of`.
        """
        _, rows, _ = check_mixture_and_array(self.mixture, x)
        rows = rows.astype(self.covariance.dtype)
        return jit_once(_influence, rows.shape[0] * len(self.covariance))(g, self, rows)

    def table(self, features: Sequence[str] | None = None, level: float = 0.95) -> Table:
        """Return a table of every parameter with its standard error and its interval.

        Intervals of weights are computed on the logit scale and those of variances on the log
        scale.

        Args:
          features: names of the d features.
          level: the level of the intervals.
        """
        check_level(level)
        checks.one_mixture(self.mixture)
        names = resolve_feature_names(features, None, self.mixture.n_features)
        errors = jax.tree.map(lambda leaf: np.asarray(leaf, float), self.standard_errors)
        blank = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan), errors)
        columns = {"standard error": errors, "low": blank, "high": blank}
        table = parameter_table(self.mixture, columns, names, str(self.reason))
        for scale in SCALES:
            rows = [row for row in table if scale_of(row["parameter"]) == scale]
            value, error = (
                np.array([row[name] for row in rows]) for name in ("estimate", "standard error")
            )
            ends = wald_interval(value, error, level, scale)
            for row, low, high in zip(rows, *map(np.asarray, ends), strict=True):
                row["low"], row["high"] = float(low), float(high)
        return table

    def __repr__(self) -> str:
        """Return the kind of point and the mixture in one line."""
        if checks.traced(self) or np.ndim(self.em_gain):
            return f"Uncertainty({self.mixture!r})"
        return f"Uncertainty({self.mixture!r}: {self.verdict})"

    def __str__(self) -> str:
        return repr(self) if checks.traced(self) or np.ndim(self.em_gain) else str(self.table())


def _reason(verdict: str, without: bool) -> str:
    """Return the reason for a verdict, and for errors all of which are NaN or not."""
    if verdict == "not stationary" and without:
        return "The mixture is not at a maximum, so it has no standard errors: fit it first."
    return DEPENDENT_SCORES if verdict == "maximum" and without else REASONS[verdict]


def _for_each_lane(function: Callable[[Uncertainty], Any], found: Uncertainty) -> Any:
    """Return function(found), mapped over every leading axis of a batch."""
    if jnp.ndim(found.mixture.means) == 2:
        return function(found)
    return jax.vmap(lambda lane: _for_each_lane(function, lane))(found)


def jacobian_of(g: Callable[[Mixture], Any], point: Mixture) -> jax.Array:
    """Return the derivatives (q, p) of the flattened g by the relative coordinates at a mixture."""
    zero, mixture_at = offsets_of(point)
    return jax.jacfwd(lambda offsets: ravel_pytree(g(mixture_at(offsets)))[0])(zero)


def _standard_errors(_: None, found: Uncertainty) -> Parameters:
    jacobian = jacobian_of(parameters_of, found.point)
    variance = jnp.sum(matmul(jacobian, found.covariance) * jacobian, axis=1)
    unravel = ravel_pytree(parameters_of(found.point))[1]
    errors = unravel(jnp.sqrt(jnp.maximum(variance, 0)))  # maximum keeps NaN
    return without_absent(found.mixture, errors)


def _of(g: Callable[[Mixture], Any], found: Uncertainty) -> Estimate:
    value = jax.tree.map(jnp.asarray, g(found.mixture))
    jacobian = jacobian_of(g, found.point)
    covariance = matmul(matmul(jacobian, found.covariance), jacobian.T)
    flat, unravel = ravel_pytree(value)
    variance = jnp.maximum(jnp.diagonal(covariance), 0)
    return Estimate(value, unravel(jnp.sqrt(variance).astype(flat.dtype)), covariance)


@functools.partial(jax.jit, static_argnums=0)
def _draw(n: int, key: jax.Array, found: Uncertainty) -> Mixture:
    _, mixture_at = offsets_of(found.point)
    values, vectors = (part[0] for part in lapack.eigh(found.covariance[None]))
    normal = jax.random.normal(key, (n, len(values)), values.dtype)
    offsets = matmul(normal * jnp.sqrt(jnp.maximum(values, 0))[None], vectors.T)
    return jax.vmap(mixture_at)(offsets)


def _influence(g: Callable[[Mixture], Any], found: Uncertainty, x: jax.Array) -> jax.Array:
    jacobian = jacobian_of(g, found.point)
    return score_products(found.point, x, matmul(jacobian, found.inverse_information))
