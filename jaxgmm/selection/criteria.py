"""Information criteria, and the numbers of parameters that they contain.

They compare mixtures; `choice_of_k.py` chooses among the fits of a sweep by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..data.rows import Rows
from ..families.family import Family
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..objective.responsibility_entropy import responsibility_entropy
from ..objective.statistics import about_mixture, statistics


def free_parameters(family: type[Family], k: Any, d: int) -> Any:
    """Return the number of free parameters (weights, means and covariances).

    k is the number of components, an int or an array, and d the number of features.
    """
    return k - 1 + k * d + family.n_parameters(k, d)


def n_parameters(mixture: Mixture) -> jax.Array | int:
    """Return the number of free parameters: weights, means and covariances.

    Args:
      mixture: a mixture. Absent components do not count.

    Returns:
      An int, or an array () under jit or vmap.

    Raises:
      ValueError: if `mixture` is not one finite mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> jaxgmm.n_parameters(m)  # a weight, two means, two variances
    5
    """
    checks.one_mixture(mixture)
    present = jnp.sum(mixture.present)
    k = present if checks.traced(present) else int(present)
    return free_parameters(type(mixture.covariance), k, mixture.n_features)


def aic_of(log_likelihood: Any, p: Any) -> Any:
    """Return AIC, from ℓ and the number of free parameters."""
    return 2 * p - 2 * log_likelihood


def bic_of(log_likelihood: Any, p: Any, log_weight: Any) -> Any:
    """Return BIC, from ℓ, the number of free parameters and log Σw."""
    return p * log_weight - 2 * log_likelihood


def icl_of(log_likelihood: Any, p: Any, log_weight: Any, entropy: Any) -> Any:
    """Return ICL, from the numbers that BIC needs and the entropy −Σ w r log r."""
    return bic_of(log_likelihood, p, log_weight) + 2 * entropy


def _sums_of_rows(rows: Rows, mixture: Mixture) -> tuple[jax.Array, jax.Array, jax.Array]:
    centered, rows = about_mixture(mixture, rows)
    sums = statistics(centered, rows)
    return sums.log_likelihood, responsibility_entropy(centered, rows, sums), jnp.sum(sums.mass)


def _sums(mixture: Mixture, x, weight, devices) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return ℓ, the entropy of the responsibilities, and Σ w, from one pass."""
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    return data.compute(_sums_of_rows, mixture)


def aic(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> jax.Array:
    """Return Akaike's information criterion −2ℓ + 2p, where p is the number of free parameters.

    Args:
      mixture: the fitted mixture.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      devices: the devices that share an array of many rows; by default all local ones.

    Returns:
      The criterion (), in the wider dtype of mixture and x. Lower is better, as in scikit-learn.

    Raises:
      ValueError: for invalid arguments, as `log_likelihood` does.

    (Akaike 1974, IEEE Trans. Automatic Control 19, eq. 6.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(f"{jaxgmm.aic(m, [[0.0], [2.0]]):.2f}")
    19.06
    """
    likelihood, _, _ = _sums(mixture, x, weight, devices)
    return aic_of(likelihood, n_parameters(mixture))


def bic(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> jax.Array:
    """Return the Bayesian information criterion −2ℓ + p log Σw.

    p is the number of free parameters and Σw the sum of the row weights.

    Args:
      mixture: the fitted mixture.
      x: (n, d) rows, as for `aic`.
      weight: (n,) row weights, or None for ones.
      devices: the devices that share an array of many rows; by default all local ones.

    Returns:
      The criterion (), in the wider dtype of mixture and x. Lower is better, as in scikit-learn;
      mclust prints its negative.

    Raises:
      ValueError: for invalid arguments, as `log_likelihood` does.

    (Schwarz 1978, Ann. Statist. 6.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(f"{jaxgmm.bic(m, [[0.0], [2.0]]):.2f}")
    12.53
    """
    likelihood, _, n = _sums(mixture, x, weight, devices)
    return bic_of(likelihood, n_parameters(mixture), jnp.log(n))


def icl(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> jax.Array:
    """Return the integrated completed likelihood criterion BIC + 2 E.

    E = −Σ w r log r is the entropy of the responsibilities r.

    Args:
      mixture: the fitted mixture.
      x: (n, d) rows, as for `aic`.
      weight: (n,) row weights, or None for ones.
      devices: the devices that share an array of many rows; by default all local ones.

    Returns:
      The criterion (), in the wider dtype of mixture and x. Lower is better.

    Raises:
      ValueError: for invalid arguments, as `log_likelihood` does.

    (Biernacki, Celeux & Govaert 2000, IEEE PAMI 22; with responsibilities instead of labels,
    McLachlan & Peel 2000, sec. 6.10.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x = [[0.0], [2.0]]
    >>> bool(jaxgmm.icl(m, x) > jaxgmm.bic(m, x))  # the row at 2 is doubtful
    True
    """
    likelihood, responsibility_entropy, n = _sums(mixture, x, weight, devices)
    return icl_of(likelihood, n_parameters(mixture), jnp.log(n), responsibility_entropy)
