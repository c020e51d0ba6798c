"""`affine`, `convolve` and `moments`: images of a mixture, and the mean and covariance of one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ..internal import checks
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .covariance_factors import covariance_roots, of_covariances, of_whitening, whitening_of_root


def affine(mixture: Mixture, matrix: npt.ArrayLike, offset: npt.ArrayLike = 0.0) -> Mixture:
    """Return the distribution of A x + b, where x has the distribution of the mixture.

    The Cholesky factor of A Σ Aᵀ is the triangular factor of a QR factorization of (A L)ᵀ, so that
    no covariance is formed. The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters.
      matrix: A (e, d) of full row rank, or (d,) for one linear combination of the features.
      offset: b (e,), or a number.

    Returns:
      The mixture in e dimensions, in the mixture's dtype. Tied covariances stay tied, and others
      become full.

    Raises:
      ValueError: if a shape is wrong, a number is not finite, A is not of full row rank, or
        `mixture` is not such a mixture. Ranks are not checked under jit, vmap and grad.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0, 1.0], [4.0, 1.0]], [1.0, 2.0],
    ...                                    family="spherical")
    >>> total = jaxgmm.affine(m, [1.0, 1.0])  # the sum of both features
    >>> np.asarray(total.means)[:, 0], np.asarray(total.covariances)[:, 0, 0].round(3)
    (array([1., 5.], dtype=float32), array([2., 4.], dtype=float32))
    """
    checks.one_mixture(mixture)
    d = mixture.n_features
    a = checks.array(matrix, "matrix")
    a = a[None] if a.ndim == 1 else a
    if a.ndim != 2 or a.shape[1] != d or not 1 <= a.shape[0] <= d:
        raise ValueError(
            f"matrix has shape {a.shape}: for {d} features pass (e, {d}) with e from 1 to {d}."
        )
    b = checks.array(offset, "offset")
    if b.shape not in ((), (len(a),)):
        raise ValueError(f"offset has shape {b.shape}: pass a number or ({len(a)},).")
    if not checks.traced(a, b):
        _check_matrix(np.asarray(a, np.float64), np.asarray(b, np.float64))
    dtype = mixture.dtype
    b = jnp.broadcast_to(checks.cast(b, "offset", dtype), (len(a),))
    return _affine(mixture, checks.cast(a, "matrix", dtype), b)


def _check_matrix(a: np.ndarray, b: np.ndarray) -> None:
    """Check that A is of full row rank and that all numbers are finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("matrix or offset contains NaN or infinity: pass finite numbers.")
    length = np.linalg.norm(a, axis=1)
    rank = np.linalg.matrix_rank(a / np.where(length > 0, length, 1)[:, None])
    if rank < len(a):
        raise ValueError(
            f"matrix has {len(a)} rows and rank {rank}, so that the result has no density: leave "
            "out the rows that are combinations of others."
        )


@jax.jit
def _affine(mixture: Mixture, a: jax.Array, b: jax.Array) -> Mixture:
    factor = whitening_of_root(matmul(a[None], covariance_roots(mixture)))
    means = matmul(mixture.means, a.T) + b[None]
    return Mixture(mixture.logits, means, of_whitening(factor, mixture.frame.shared))


def convolve(mixture: Mixture, covariance: npt.ArrayLike) -> Mixture:
    """Return the distribution of x + noise, for independent normal noise of mean zero.

    The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters.
      covariance: (d, d) the covariance of the noise, positive semidefinite, in squared units of
        the data.

    Returns:
      The mixture with Σ_k + covariance, in the mixture's dtype. Tied covariances stay tied, and
      others become full.

    Raises:
      ValueError: if the covariance has another shape, is not symmetric, finite or positive
        semidefinite, or `mixture` is not such a mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[2.0]]])
    >>> np.asarray(jaxgmm.convolve(m, [[0.5]]).covariances)[:, 0, 0].round(3)
    array([1.5, 2.5], dtype=float32)
    """
    checks.one_mixture(mixture)
    d = mixture.n_features
    noise = checks.array(covariance, "covariance")
    if noise.shape != (d, d):
        raise ValueError(f"covariance has shape {noise.shape}: for {d} features pass ({d}, {d}).")
    if not checks.traced(noise):
        _check_semidefinite(np.asarray(noise, np.float64))
    return _convolve(mixture, checks.cast(noise, "covariance", mixture.dtype))


def _check_semidefinite(matrix: np.ndarray) -> None:
    if not np.isfinite(matrix).all():
        raise ValueError("covariance contains NaN or infinity: pass finite numbers.")
    size = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-5 * size:
        raise ValueError("covariance is not symmetric: pass (covariance + covariance.T) / 2.")
    if np.linalg.eigvalsh(matrix).min() < -1e-5 * size:
        raise ValueError(
            "covariance has a negative variance in some direction: pass a positive semidefinite "
            "matrix."
        )


@jax.jit
def _convolve(mixture: Mixture, noise: jax.Array) -> Mixture:
    covariance = of_covariances(mixture.frame.dense + noise[None], mixture.frame.shared)
    return Mixture(mixture.logits, mixture.means, covariance)


def moments(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return the mean and the covariance of a mixture as a whole.

    The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters.

    Returns:
      The mean (d,) and the covariance (d, d), in the mixture's dtype and units.

    Raises:
      ValueError: if `mixture` is not such a mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> mean, covariance = jaxgmm.moments(m)
    >>> np.asarray(mean).round(3), np.asarray(covariance).round(3)
    (array([2.], dtype=float32), array([[5.]], dtype=float32))
    """
    checks.one_mixture(mixture)
    return _moments(mixture)


@jax.jit
def _moments(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    weights = mixture.weights
    center = jax.lax.stop_gradient(jnp.sum(weights[:, None] * mixture.means, axis=0))
    apart = mixture.means - center[None]
    rest = jnp.sum(weights[:, None] * apart, axis=0)  # what rounding and derivatives leave
    apart = apart - rest[None]
    inside = jnp.sum(weights[:, None, None] * mixture.frame.dense, axis=0)
    return center + rest, inside + matmul((weights[:, None] * apart).T, apart)
