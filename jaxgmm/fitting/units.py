"""The unit of a fit's loop, for rows that are very large or very small.

A mixture contains logarithms of scales. For standard deviations of 1e-9 they are near 21, where
float32 numbers are 2e-6 apart, and a fit ends when its steps no longer change them. In a unit in
which they are near 0 they have all digits. `fit` multiplies rows and start by a power of two, which
rounds nothing, and converts the result back. EM's gain D does not depend on units.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.rows import Rows
from ..data.sources import Data
from ..families.has_logarithms import HasLogarithms
from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from .result import Fit

# Below 8, the logarithms are at most 5e-7 apart. Most data stay in their own unit, without a copy.
LARGEST_LOGARITHM = 8.0
# If only the start is tiny or huge, squares of ordinary rows stay in the range of float32.
LARGEST_EXPONENT = 40


class Rise(NamedTuple):
    """What the unit of the data adds to values in the unit of the loop.

    Attributes:
      log_likelihood: () what it adds to the log-likelihood.
      log_determinant: () what it adds to log|W| of each covariance.
    """

    log_likelihood: jax.Array
    log_determinant: jax.Array

    def of_objective(self, mixture: Mixture, prior: Prior | None) -> jax.Array:
        """Return what it adds to the log-likelihood + log prior."""
        if prior is None:
            return self.log_likelihood
        frame = mixture.frame
        used = frame.pool(mixture.present) > 0
        terms = jnp.where(used, prior.strength * self.log_determinant, 0)
        return self.log_likelihood + frame.sum_covariances(terms)


def choose_exponent(start: Mixture) -> int:
    """Return the exponent of a power of two that gives the start scales near 1.

    It is 0, which changes nothing, unless the start's logarithms are large; for a traced start,
    whose logarithms are not known; and for families that are not known to have them.
    """
    covariance = start.covariance
    if not isinstance(covariance, HasLogarithms) or checks.traced(start):
        return 0
    logarithms = np.asarray(covariance.logarithms, np.float64)
    if len(logarithms) > 1:
        logarithms = logarithms[np.asarray(start.logits) > -np.inf]
    typical = float(np.mean(logarithms))
    if not abs(typical) > LARGEST_LOGARITHM:
        return 0
    return round(np.clip(typical / math.log(2), -LARGEST_EXPONENT, LARGEST_EXPONENT))


def enter_unit(
    exponent: int, data: Data, mixture: Mixture, prior: Prior | None
) -> tuple[Data, Mixture, Prior | None, Rise | None]:
    """Return data, start and prior for features times 2 to the power `exponent`, and the `Rise`.

    For 0 they are the arguments, and None.
    """
    if exponent == 0:
        return data, mixture, prior, None
    unit = jnp.asarray(exponent * math.log(2), data.dtype)
    rise = Rise(unit * data.compute(_count_values), unit * data.n_features)
    prior = None if prior is None else prior.rescale(exponent)
    return data.rescale(exponent), mixture.rescale(exponent), prior, rise


def leave_unit(exponent: int, result: Fit, rise: Rise | None) -> Fit:
    """Return the result of a loop in the unit of the data, as its objectives are already."""
    if rise is None:
        return result
    return dataclasses.replace(
        result,
        mixture=result.mixture.rescale(-exponent),
        log_likelihood=result.log_likelihood + rise.log_likelihood,
    )


def _count_values(rows: Rows) -> jax.Array:
    """Return the number of values that are not missing, with row weights."""
    count = lambda x, weight: jnp.sum(jnp.where(jnp.isnan(x), 0, weight[None]))
    return rows.total(count, 1 << 16)
