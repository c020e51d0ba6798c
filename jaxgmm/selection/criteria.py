"""Information criteria, and what they count."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ..families.family import Family
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..objective.statistics import Statistics, about_mixture, statistics


def free_parameters(family: type[Family], k, d: int):
    """Free parameters of k components in d dimensions: weights, means and covariances."""
    return k - 1 + k * d + family.n_parameters(k, d)


def n_parameters(mixture: Mixture) -> jax.Array | int:
    """Free parameters of the present components: weights, means and covariances. An int, or an
    array under jit or vmap. Raises ValueError for what is not one finite mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> jaxgmm.n_parameters(m)  # a weight, two means, two variances
    5
    """
    checks.one_mixture(mixture)
    present = jnp.sum(mixture.present)
    k = present if checks.traced(present) else int(present)
    return free_parameters(type(mixture.covariance), k, mixture.n_features)


def entropy(mixture: Mixture, sums: Statistics) -> jax.Array:
    """−Σ w r log r of the responsibilities, from the statistics at `mixture`."""
    # Q(θ | θ), where residuals stand in their own frame
    square = jnp.sum(mixture.frame.trace(sums.spread))
    constants = jnp.where(mixture.present, mixture.log_constants, 0)
    return jnp.maximum(sums.log_likelihood - jnp.sum(sums.mass * constants) + square / 2, 0)


def _of_rows(rows, mixture):
    at, rows = about_mixture(mixture, rows)
    sums = statistics(at, rows)
    return sums.log_likelihood, entropy(at, sums), jnp.sum(sums.mass)


def _fit_and_certainty(mixture, x, weight, devices):
    """ℓ, the entropy of the responsibilities, and Σ w, in one pass."""
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    return data.compute(_of_rows, mixture)


def aic(mixture: Mixture, x, *, weight=None, devices: Sequence | None = None) -> jax.Array:
    """Akaike's criterion −2ℓ + 2p as (), in the wider dtype of mixture and x; lower is better
    (scikit-learn's sign).

    x is (n, d): an array, or `Blocks`, `Shards` or a `Stream`; weight (n,) or None; `devices` share
    an array of many rows, all local ones by default. Raises ValueError as `log_likelihood`. (Akaike
    1974, IEEE Trans. Automatic Control 19, eq. 6.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(f"{jaxgmm.aic(m, [[0.0], [2.0]]):.2f}")
    19.06
    """
    likelihood, _, _ = _fit_and_certainty(mixture, x, weight, devices)
    return 2 * n_parameters(mixture) - 2 * likelihood


def bic(mixture: Mixture, x, *, weight=None, devices: Sequence | None = None) -> jax.Array:
    """Bayesian information criterion −2ℓ + p log Σw as (); lower is better (scikit-learn's sign;
    mclust prints its negative). Arguments and errors as `aic`. (Schwarz 1978, Ann. Statist. 6.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(f"{jaxgmm.bic(m, [[0.0], [2.0]]):.2f}")
    12.53
    """
    likelihood, _, n = _fit_and_certainty(mixture, x, weight, devices)
    return n_parameters(mixture) * jnp.log(n) - 2 * likelihood


def icl(mixture: Mixture, x, *, weight=None, devices: Sequence | None = None) -> jax.Array:
    """Integrated completed likelihood BIC + 2 E as (), E = −Σ w r log r the entropy of the
    responsibilities; lower is better. Arguments and errors as `aic`. (Biernacki, Celeux & Govaert
    2000, IEEE PAMI 22, with responsibilities for labels: McLachlan & Peel 2000, sec. 6.10.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x = [[0.0], [2.0]]
    >>> bool(jaxgmm.icl(m, x) > jaxgmm.bic(m, x))  # the row at 2 is doubtful
    True
    """
    likelihood, uncertainty, n = _fit_and_certainty(mixture, x, weight, devices)
    return n_parameters(mixture) * jnp.log(n) - 2 * likelihood + 2 * uncertainty
