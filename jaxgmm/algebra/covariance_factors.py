"""Lower-triangular factors of the covariances of any family, and families made from factors.

A layout's whitening factors need not be triangular. Where they are not, one QR factorization gives
the triangular factors of the same covariances. It forms no covariance, so that its digits are those
of the whitening factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from ..families.diagonal import Diagonal, Spherical
from ..families.diagonal_layout import DiagonalLayout
from ..families.family import Family
from ..families.full import Full, Tied
from ..families.layout import Layout
from ..families.triangular_layout import TriangularLayout
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.triangular import inverse, parts, transpose


def is_diagonal(mixture: Mixture) -> bool:
    """Return whether the family of a mixture has diagonal covariances."""
    return mixture.frame.uncorrelated


def n_covariances(mixture: Mixture) -> int:
    """Return the number c of covariances: k, or 1 if all components share one."""
    return 1 if mixture.frame.shared else mixture.n_components


def whitening_matrices(mixture: Mixture) -> jax.Array:
    """Return the layout's whitening factors W as matrices (c, d, d), triangular or not."""
    return _columns(mixture.frame, mixture.frame.whiten, n_covariances(mixture), mixture.dtype)


def covariance_roots(mixture: Mixture) -> jax.Array:
    """Return L = W⁻¹ as matrices (c, d, d) with Σ = L Lᵀ, triangular or not."""
    return _columns(mixture.frame, mixture.frame.unwhiten, n_covariances(mixture), mixture.dtype)


def _columns(frame: Layout, function, c: int, dtype) -> jax.Array:
    """Return the matrices (c, d, d) of a function that is linear in vectors (c, d)."""
    unit = jnp.eye(frame.d, dtype=dtype)
    image = lambda e: function(jnp.broadcast_to(e[None], (c, frame.d)))
    return jax.vmap(image, out_axes=-1)(unit)


def triangular_whitening(mixture: Mixture, order: Sequence[int] | None = None) -> jax.Array:
    """Return lower-triangular W (c, d, d) with positive diagonals, of features in another order.

    The factors W' of the features x[order] fulfill W'ᵀW' = A'A with A = W[:, order]. With R the
    triangular factor of A with reversed columns, W' is R reversed in rows and columns.

    Args:
      mixture: the mixture.
      order: a permutation of the d features, or None for their own order.
    """
    d = mixture.n_features
    order = tuple(range(d)) if order is None else tuple(order)
    if isinstance(mixture.frame, TriangularLayout) and order == tuple(range(d)):
        return mixture.frame.factor
    if is_diagonal(mixture):
        return jnp.exp(log_whitening(mixture))[:, np.array(order), None] * _unit(mixture)
    return _reversed_root(whitening_matrices(mixture)[:, :, np.array(order[::-1])])


def log_whitening(mixture: Mixture) -> jax.Array:
    """Return the logarithms (c, d) of the whitening factors of diagonal covariances."""
    return -cast(DiagonalLayout, mixture.frame).log_scales


def _unit(mixture: Mixture) -> jax.Array:
    return jnp.eye(mixture.n_features, dtype=mixture.dtype)[None]


def _reversed_root(matrix: jax.Array) -> jax.Array:
    """Return lower-triangular W with WᵀW = AᵀA, where the columns of A (c, m, d) are reversed."""
    return transpose(lapack.lower_root(matrix))[:, ::-1, ::-1]


def whitening_of_sum(*factors: jax.Array) -> jax.Array:
    """Return lower-triangular W (c, d, d) with WᵀW = Σ FᵀF, the sum of precisions."""
    stacked = jnp.concatenate(factors, axis=-2)
    return _reversed_root(stacked[:, :, ::-1])


def whitening_of_root(root: jax.Array) -> jax.Array:
    """Return lower-triangular W (c, e, e) of the covariances R Rᵀ, for R (c, e, d) with d ≥ e."""
    return inverse(lapack.lower_root(transpose(root)), often=False)


def of_whitening(factor: jax.Array, shared: bool) -> Family:
    """Return full covariances, or tied ones if `shared`, with lower-triangular W (c, d, d)."""
    diagonal, lower = parts(factor)
    return (Tied if shared else Full)(jnp.log(diagonal), lower)


def of_covariances(covariances: jax.Array, shared: bool) -> Family:
    """Return full covariances, or tied ones if `shared`, from dense matrices (c, d, d)."""
    return Tied.from_own(covariances[0], jnp) if shared else Full.from_own(covariances, jnp)


def diagonal_part(mixture: Mixture, features: Sequence[int]) -> Family:
    """Return the covariances of some features of a mixture with diagonal covariances.

    Spherical covariances stay spherical, and all others become diagonal.
    """
    if type(mixture.covariance) is Spherical:
        return mixture.covariance
    log_diagonal = log_whitening(mixture)[:, np.array(features)]
    return Diagonal(jnp.broadcast_to(log_diagonal, (mixture.n_components, len(features))))
