"""`tic`: Takeuchi's information criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from ..data.rows import Rows
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.information import dtype_of_moments, numbers_in_information
from ..objective.newton_system import evaluate_near
from ..objective.prior import Prior


def tic(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    devices: Sequence[jax.Device] | None = None,
) -> jax.Array:
    """Return Takeuchi's information criterion −2ℓ + 2 tr(I⁻¹ Σ w s sᵀ).

    I is the observed information and s are the scores of the rows. The penalty replaces the number
    of parameters in AIC, and is right for large n even if the rows are not draws from a mixture of
    this kind. With a prior it counts the effective number of parameters.

    Args:
      mixture: a maximum of the objective.
      x: (n, d) rows, as for `aic`.
      weight: (n,) row weights, or None for ones.
      prior: the prior with which the mixture was fitted, as in `fit`.
      devices: the devices that share an array of many rows; by default all local ones.

    Returns:
      The criterion (), in the wider dtype of mixture and x. Lower is better. It is NaN where the
      mixture is no maximum.

    Raises:
      ValueError: as in `fit`.

    (Takeuchi 1976; Burnham & Anderson 2002, Model Selection and Multimodel Inference, sec. 7.3.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2))
    >>> bool(abs(jaxgmm.tic(found.mixture, x) / jaxgmm.aic(found.mixture, x) - 1) < 0.05)
    True
    """
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    numbers = numbers_in_information(mixture, data.n)
    moments = dtype_of_moments(mixture, data.n)
    prior = priors.resolve_prior(prior, data)
    return data.compute_once(_tic, mixture, prior, numbers=numbers, moments=moments)


def _tic(rows: Rows, mixture: Mixture, prior: Prior | None, moments: str | None) -> jax.Array:
    near = evaluate_near(rows, mixture, prior, moments=moments)
    penalty = jnp.trace(matmul(near.inverse, near.found.outer))
    return 2 * penalty - 2 * near.first.log_likelihood
