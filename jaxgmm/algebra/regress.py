"""`regress`: the mean and the covariance of the other features, given rows of some."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy.typing as npt

from ..internal.pytrees import pytree
from ..mixture.inputs import ROWS_PER_STEP
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .condition import Split, split
from .features import Features, given_values, other_features, resolve_features
from .univariate import probabilities, quantile_of, scales


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Regression:
    """The distribution of e features given n rows of the others; the result of `regress`.

    Attributes:
      mean: (n, e) conditional means, in the order of the features in the mixture.
      covariance: (n, e, e) conditional covariances.
      values: (n, j) the given values.
      split: the mixture, split into given and other features.
    """

    mean: jax.Array
    covariance: jax.Array
    values: jax.Array
    split: Split

    def __repr__(self) -> str:
        """Return a one-line summary."""
        *batch, n, e = self.mean.shape
        lanes = f"; batch of {' × '.join(map(str, batch))}" if batch else ""
        return f"Regression(n = {n}, {e} of {e + self.values.shape[-1]} features{lanes})"

    @property
    def standard_deviation(self) -> jax.Array:
        """Conditional standard deviations (n, e)."""
        return jnp.sqrt(jnp.diagonal(self.covariance, axis1=-2, axis2=-1))

    def quantile(self, p: npt.ArrayLike) -> jax.Array:
        """Return conditional quantiles of the only other feature, by bisection as `quantile`.

        Args:
          p: a probability, or probabilities (q,), above 0 and below 1.

        Returns:
          The quantiles (n,) or (n, q).

        Raises:
          ValueError: if there are several other features, or a probability is not between 0 and 1.
        """
        if self.mean.shape[-1] != 1:
            raise ValueError(
                f"quantile needs a single target feature, but this regression has "
                f"{self.mean.shape[-1]}: regress in the marginal of the given features and one "
                "other."
            )
        p = probabilities(p, self.split.given)
        if p.ndim > 1:
            raise ValueError(f"p has shape {p.shape}: pass a probability, or probabilities (q,).")
        return _quantiles(self.split, self.values, p)


def regress(
    mixture: Mixture,
    features: Features,
    values: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
) -> Regression:
    """Return the mean and the covariance of the other features, given rows of some features.

    This is Gaussian mixture regression (Ghahramani & Jordan 1994, NIPS 6; Sung 2004). Given a row,
    the other features have a mixture distribution, and these are its moments. The covariance is
    that of the prediction, including the spread between components. The function works under jit,
    vmap and grad.

    Args:
      mixture: a single mixture with finite parameters.
      features: the numbers of the given features, counted from 0, or their names; or a single one.
      values: (n, j) rows of the given features, in the order of `features`.
      names: the names of the mixture's features, if `features` contains names.

    Returns:
      A `Regression` in the mixture's dtype, with `mean` (n, e), `covariance` (n, e, e) and
      `standard_deviation` (n, e) of the other features in their original order. If there is one
      other feature, its method `quantile` returns conditional quantiles.

    Raises:
      ValueError: as `condition` does.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.5, 0.5], [[0.0, 0.0], [4.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]], family="tied"
    ... )
    >>> found = jaxgmm.regress(m, 0, [[0.0], [2.0], [4.0]])
    >>> found
    Regression(n = 3, 1 of 2 features)
    >>> np.asarray(found.mean[:, 0]).round(2), np.asarray(found.standard_deviation[:, 0]).round(2)
    (array([-0. ,  0.5,  1. ], dtype=float32), array([0.87, 1. , 0.87], dtype=float32))
    >>> np.asarray(found.quantile([0.1, 0.9])).round(1).shape
    (3, 2)
    """
    given = resolve_features(mixture, features, names)
    rest = other_features(mixture, given)
    return _regress(mixture, given_values(values, given, 2, mixture), given=given, rest=rest)


@jax.jit(static_argnames=("given", "rest"))
def _regress(
    mixture: Mixture, values: jax.Array, given: tuple[int, ...], rest: tuple[int, ...]
) -> Regression:
    parts = split(mixture, given, rest)
    k, e = parts.means.shape
    dense = parts.covariance.frame(e).dense
    inside = jnp.broadcast_to(dense, (k, e, e)).reshape(k, e * e)

    def describe(row: jax.Array) -> tuple[jax.Array, jax.Array]:
        weights, means = jnp.exp(parts.log_weights(row)), parts.moved(row)
        mean = jnp.sum(weights[:, None] * means, axis=0)
        apart = means - mean[None]
        between = jnp.sum(weights[:, None, None] * apart[:, :, None] * apart[:, None, :], axis=0)
        return parts.center + mean, matmul(weights, inside).reshape(e, e) + between

    mean, covariance = _over_values(describe, values)
    return Regression(mean, covariance, values, parts)


@jax.jit
def _quantiles(parts: Split, values: jax.Array, p: jax.Array) -> jax.Array:
    def of_row(row: jax.Array) -> jax.Array:
        given = parts.at(row)
        of_one = lambda q: quantile_of(given.log_weights, given.means[:, 0], scales(given), q)
        return jax.vmap(of_one)(p.reshape(-1)).reshape(p.shape)

    return _over_values(of_row, values)


def _over_values(function, values: jax.Array):
    """Return function(row) for every row of values (n, j), in batches of a few thousand rows."""
    if not len(values):
        return jax.vmap(function)(values)
    return jax.lax.map(function, values, batch_size=min(ROWS_PER_STEP, len(values)))
