"""Quantities of each pair of components, one from each of two mixtures."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ..internal import checks
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.logarithms import logarithm_and_excess
from ..numerics.products import matmul
from ..numerics.triangular import inverse
from .covariance_factors import (
    covariance_roots,
    is_diagonal,
    log_whitening,
    triangular_whitening,
)


def check_pair(first: Mixture, second: Mixture) -> tuple[Mixture, Mixture]:
    """Return two mixtures of the same features in the wider dtype of the two.

    Raises:
      ValueError: if one of them is not a single mixture, or they have different numbers of
        features.
    """
    checks.one_mixture(first, "first mixture")
    checks.one_mixture(second, "second mixture")
    if first.n_features != second.n_features:
        raise ValueError(
            f"the mixtures have {first.n_features} and {second.n_features} features: pass mixtures "
            "of the same features, e.g. by marginal."
        )
    dtype = jnp.promote_types(first.dtype, second.dtype)
    cast = lambda leaf: leaf if leaf.dtype == dtype else leaf.astype(dtype)
    return jax.tree.map(cast, first), jax.tree.map(cast, second)


def differences(first: Mixture, second: Mixture) -> jax.Array:
    """Return μ_i − μ'_j as (k, l, d)."""
    return first.means[:, None] - second.means[None]


def _each(values: jax.Array, count: int) -> jax.Array:
    """Return values (c, …) of the covariances as values (k, …) of the components."""
    return jnp.broadcast_to(values, (count, *values.shape[1:]))


def _dense(mixture: Mixture) -> jax.Array:
    return _each(mixture.frame.dense, mixture.n_components)


def component_divergences(first: Mixture, second: Mixture) -> jax.Array:
    """Return the Kullback–Leibler divergences D(N_i ‖ N'_j) as (k, l).

    With T = W'_j L_i and y = W'_j (μ_i − μ'_j), twice the divergence is Σ_a [t_aa² − 1 − log t_aa²]
    + Σ_{a>b} t_ab² + |y|². It is computed as a sum of nonnegative terms.
    """
    k, l = len(first.means), len(second.means)
    log_ratio = (
        _each(log_whitening_of(second), l)[None] - _each(log_whitening_of(first), k)[:, None]
    )
    # t − 1 is expm1 of the logarithm, so that it is 0 exactly for equal factors.
    beyond = jnp.expm1(log_ratio)
    _, excess = logarithm_and_excess(jnp.exp(log_ratio))
    scales = jnp.sum(2 * excess + beyond**2, axis=-1)
    if is_diagonal(first) and is_diagonal(second):
        whitening = _each(jnp.exp(log_whitening(second)), l)
        y = whitening[None] * differences(first, second)
        return (scales + jnp.sum(y**2, axis=-1)) / 2
    whitening = _each(triangular_whitening(second), l)[None]
    roots = _each(inverse(triangular_whitening(first), often=False), k)[:, None]
    product = jnp.tril(matmul_pairs(whitening, roots), -1)
    y = jnp.sum(whitening * differences(first, second)[:, :, None], axis=-1)
    return (scales + jnp.sum(product**2, axis=(-2, -1)) + jnp.sum(y**2, axis=-1)) / 2


def log_whitening_of(mixture: Mixture) -> jax.Array:
    """Return the logarithms (c, d) of the diagonals of `triangular_whitening`."""
    if is_diagonal(mixture):
        return log_whitening(mixture)
    return jnp.log(jnp.diagonal(triangular_whitening(mixture), axis1=-2, axis2=-1))


def matmul_pairs(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the products (k, l, d, d) of matrices that broadcast against each other."""
    shape = jnp.broadcast_shapes(first.shape, second.shape)
    flat = lambda array: jnp.broadcast_to(array, shape).reshape(-1, *shape[2:])
    return matmul(flat(first), flat(second)).reshape(shape)


def log_overlaps(first: Mixture, second: Mixture) -> jax.Array:
    """Return log ∫ N_i N'_j = log N(μ_i; μ'_j, Σ_i + Σ'_j) as (k, l)."""
    d = first.n_features
    log_determinant, square = _of_sums(first, second)
    return -(log_determinant + square + d * math.log(2 * math.pi)) / 2


def bhattacharyya_distances(first: Mixture, second: Mixture) -> jax.Array:
    """Return the Bhattacharyya distances −log ∫ √(N_i N'_j) as (k, l).

    They are ⅛ δᵀS⁻¹δ + ½ log(|S| / √(|Σ||Σ'|)) with S = (Σ + Σ')/2.
    """
    d = first.n_features
    log_determinant, square = _of_sums(first, second)
    own = [_each(mixture.frame.log_determinant, len(mixture.means)) for mixture in (first, second)]
    within = own[0][:, None] + own[1][None]  # −½ log(|Σ||Σ'|)
    return square / 4 + (log_determinant - d * math.log(2) + within) / 2


def _of_sums(first: Mixture, second: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return log|Σ_i + Σ'_j| and (μ_i − μ'_j)ᵀ(Σ_i + Σ'_j)⁻¹(μ_i − μ'_j), each (k, l)."""
    k, l, d = len(first.means), len(second.means), first.n_features
    apart = differences(first, second)
    if is_diagonal(first) and is_diagonal(second):
        variances = [
            _each(jnp.exp(-2 * log_whitening(mixture)), len(mixture.means))
            for mixture in (first, second)
        ]
        total = variances[0][:, None] + variances[1][None]
        return jnp.sum(jnp.log(total), axis=-1), jnp.sum(apart**2 / total, axis=-1)
    shared = first.frame.shared and second.frame.shared
    one, other = (mixture.frame.dense if shared else _dense(mixture) for mixture in (first, second))
    total = (one[:, None] + other[None]).reshape(-1, d, d)
    # Features are scaled to unit variance first, so that small ones lose no digits.
    scale = jnp.sqrt(jnp.diagonal(total, axis1=-2, axis2=-1))
    correlation = total / (scale[:, :, None] * scale[:, None, :])
    root, inverse_root = cholesky_and_inverse(correlation, often=False)
    whitening = inverse_root / scale[:, None, :]
    log_scale = jnp.log(scale) + jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1))
    pairs = (1, 1) if shared else (k, l)
    log_determinant = 2 * jnp.sum(log_scale, axis=-1).reshape(pairs)
    y = jnp.sum(whitening.reshape(*pairs, d, d) * apart[:, :, None], axis=-1)
    return jnp.broadcast_to(log_determinant, (k, l)), jnp.sum(y**2, axis=-1)


def squared_bures(first: Mixture, second: Mixture) -> tuple[jax.Array, jax.Array | None]:
    """Return squared Wasserstein distances (k, l) of components, and rotations (k, l, d, d).

    The rotation U is the polar factor of L'_jᵀL_i, and the squared distance |μ_i − μ'_j|² +
    ‖L_i − L'_j U‖² is a sum of squares, so that nothing cancels. The optimal map of component i to
    j is L'_j U W_i. Diagonal covariances need no rotation, and the second result is None.
    """
    k, l = len(first.means), len(second.means)
    apart = jnp.sum(differences(first, second) ** 2, axis=-1)
    if is_diagonal(first) and is_diagonal(second):
        deviations = [
            _each(jnp.exp(-log_whitening(mixture)), len(mixture.means))
            for mixture in (first, second)
        ]
        return apart + jnp.sum((deviations[0][:, None] - deviations[1][None]) ** 2, axis=-1), None
    one, other = (
        _each(covariance_roots(mixture), len(mixture.means)) for mixture in (first, second)
    )
    inner = matmul_pairs(jnp.swapaxes(other, -1, -2)[None], one[:, None])
    d = first.n_features
    rotation = lapack.polar(inner.reshape(-1, d, d)).reshape(k, l, d, d)
    moved = matmul_pairs(other[None], rotation)
    return apart + jnp.sum((one[:, None] - moved) ** 2, axis=(-2, -1)), rotation
