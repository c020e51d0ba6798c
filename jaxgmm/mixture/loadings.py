"""Loadings and communalities of the components of low-rank families."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..families.low_rank import LowRank
from ..internal import checks
from ..numerics import lapack
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from .mixture import Mixture


def loadings(mixture: Mixture) -> jax.Array:
    """Return the loadings Λ_k of the features on the factors of each component.

    Args:
      mixture: a mixture of a low-rank family, e.g. `factors(2)`.

    Returns:
      (k, d, q) in the units of the data, with Σ_k = Λ_k Λ_kᵀ + Ψ_k. Rotations of the factors do not
      change Σ_k, so the factors are rotated to their principal axes: Λ_kᵀ Ψ_k⁻¹ Λ_k is diagonal,
      the factor that explains most comes first, and the sum of a factor's loadings in units of the
      noise is not negative. The loadings have no derivative if two factors explain
      equally much.

    Raises:
      ValueError: if `mixture` is not a single mixture of a low-rank family.

    (Lawley & Maxwell 1971, Factor Analysis as a Statistical Method, sec. 2.3.)

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [1.0], [[0.0, 0.0]], [[[2.0, 0.5], [0.5, 2.0]]], family=jaxgmm.ppca(1)
    ... )
    >>> np.asarray(jaxgmm.loadings(m)).round(3)[0]
    array([[0.707],
           [0.707]], dtype=float32)
    """
    member = _low_rank(mixture)
    inside = matmul(transpose(member.loadings), member.loadings)
    axes = lapack.eigh(inside)[1][..., ::-1]
    turned = matmul(member.loadings, axes)
    sign = jnp.where(jnp.sum(turned, axis=1, keepdims=True) < 0, -1, 1).astype(turned.dtype)
    return sign * turned * jnp.exp(-member.noise)[..., None]


def communalities(mixture: Mixture) -> jax.Array:
    """Return the fraction of each feature's variance in a component that the factors explain.

    Args:
      mixture: a mixture of a low-rank family, e.g. `factors(2)`.

    Returns:
      (k, d) numbers between 0 and 1. A number near 1 is a Heywood case: the feature has no noise of
      its own.

    Raises:
      ValueError: if `mixture` is not a single mixture of a low-rank family.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [1.0], [[0.0, 0.0]], [[[2.0, 0.5], [0.5, 2.0]]], family=jaxgmm.ppca(1)
    ... )
    >>> np.asarray(jaxgmm.communalities(m)).round(2)
    array([[0.25, 0.25]], dtype=float32)
    """
    squares = jnp.sum(_low_rank(mixture).loadings ** 2, axis=-1)
    return squares / (1 + squares)


def has_factors(mixture: Mixture) -> bool:
    """Return whether a mixture is of a low-rank family."""
    return isinstance(mixture.covariance, LowRank)


def _low_rank(mixture: Mixture) -> LowRank:
    checks.one_mixture(mixture)
    if not isinstance(mixture.covariance, LowRank):
        raise ValueError(
            f"family {mixture.family!r} has no factors: use a mixture of a low-rank family, such "
            "as 'factors-2'."
        )
    return mixture.covariance


def correlations_with_factors(mixture: Mixture) -> np.ndarray:
    """Return the correlations (k, d, q) of features and factors, in NumPy.

    Their squares add up to the communalities.
    """
    values = np.asarray(loadings(mixture), np.float64)
    variances = np.diagonal(np.asarray(mixture.covariances, np.float64), axis1=1, axis2=2)
    return values / np.sqrt(variances)[..., None]
