"""Information criteria, and the numbers of parameters that they contain.

They compare mixtures; `choice_of_k.py` chooses among the fits of a sweep by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..data.columns import Block
from ..data.rows import Rows
from ..families.family import Family
from ..internal import checks
from ..kernels.block_size import block_rows
from ..kernels.block_sums import log_joint_of_block
from ..kernels.choice import with_kernel
from ..kernels.protocol import Kernel
from ..kernels.shared_noise import measured
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..objective.statistics import Statistics, about_mixture, statistics


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


def entropy(mixture: Mixture, sums: Statistics) -> jax.Array:
    """Return −Σ w r log r of the responsibilities r, from the statistics at `mixture`."""
    # ℓ − Q(θ | θ); Q is simple here, since residuals are whitened by the mixture itself.
    square = jnp.sum(mixture.frame.trace(sums.spread))
    constants = jnp.where(mixture.present, mixture.log_constants, 0)
    return jnp.maximum(sums.log_likelihood - jnp.sum(sums.mass * constants) + square / 2, 0)


def entropy_of_rows(mixture: Mixture, rows: Rows) -> jax.Array:
    """Return −Σ w r log r of the responsibilities r, from a pass over rows of any kind.

    The mixture is in the rows' coordinates.
    """

    def run(kernel: Kernel) -> jax.Array:
        def sum_block(block: Block, weight: jax.Array) -> jax.Array:
            log_shares = jax.nn.log_softmax(log_joint_of_block(kernel, block), axis=0)
            terms = jnp.where(log_shares > -jnp.inf, jnp.exp(log_shares) * log_shares, 0)
            return -jnp.sum(weight * jnp.sum(terms, axis=0))

        return rows.total_blocks(sum_block, block_rows(kernel))

    near = measured(mixture, rows.columns, rows.shared_noise)
    return with_kernel("whitened", near, rows.n, run, rows.columns)


def entropy_at(mixture: Mixture, rows: Rows, sums: Statistics) -> jax.Array:
    """Return −Σ w r log r, from the statistics at `mixture` if the rows are fully observed."""
    return entropy(mixture, sums) if rows.columns is None else entropy_of_rows(mixture, rows)


def _sums_of_rows(rows: Rows, mixture: Mixture) -> tuple[jax.Array, jax.Array, jax.Array]:
    centered, rows = about_mixture(mixture, rows)
    sums = statistics(centered, rows)
    return sums.log_likelihood, entropy_at(centered, rows, sums), jnp.sum(sums.mass)


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
