"""`product` and `join`: mixtures made of two or more."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ..families.diagonal import Diagonal, Spherical
from ..families.full import Full
from ..internal import checks
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..numerics.triangular import solve
from .covariance_factors import (
    of_whitening,
    triangular_whitening,
    whitening_matrices,
    whitening_of_sum,
)
from .pairs import check_pair, differences, log_overlaps

# Families in which any covariances of two mixtures can stand side by side.
WITHOUT_COMMON_PART = (Full, Diagonal, Spherical)


def product(a: Mixture, b: Mixture) -> tuple[Mixture, jax.Array]:
    """Return the normalized product of two densities, p q / ∫ p q, and the integral's logarithm.

    The product of two Gaussians is a Gaussian whose precision is the sum of theirs, times the
    density N(μ_i; μ_j, Σ_i + Σ_j). Its whitening factor is the triangular factor of W_i on top of
    W_j. The function works under jit, vmap and grad.

    Args:
      a: a mixture of k components.
      b: a mixture of l components in the same features.

    Returns:
      The mixture of k·l components, those of a's first component first, and log ∫ p q as (), both
      in the wider dtype. Two tied mixtures give a tied one, and others a full one.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features.

    See Petersen & Pedersen (2012), The Matrix Cookbook, eq. 371.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> both, log_integral = jaxgmm.product(m, m)
    >>> both.n_components, np.asarray(both.means)[:, 0].round(2)
    (4, array([0., 2., 2., 4.], dtype=float32))
    """
    return _product(*check_pair(a, b))


@jax.jit
def _product(a: Mixture, b: Mixture) -> tuple[Mixture, jax.Array]:
    k, l, d = len(a.means), len(b.means), a.n_features
    shared = a.frame.shared and b.frame.shared
    one, other = whitening_matrices(a), whitening_matrices(b)
    one, other = (
        w if shared else jnp.broadcast_to(w, (n, d, d)) for w, n in ((one, k), (other, l))
    )
    pairs = (1, 1, d, d) if shared else (k, l, d, d)
    first, second = (
        jnp.broadcast_to(w, pairs).reshape(-1, d, d) for w in (one[:, None], other[None])
    )
    factor = whitening_of_sum(first, second)
    # The mean is μ_i + Σ Σ_j⁻¹ (μ_j − μ_i), with Σ = W⁻¹W⁻ᵀ of the product.
    second = jnp.broadcast_to(second, (k * l, d, d))
    apart = -differences(a, b).reshape(k * l, d)
    pulled = matmul(jnp.swapaxes(second, 1, 2), matmul(second, apart[..., None]))[..., 0]
    moved = solve(factor, solve(factor, pulled, transposed=True))
    means = (a.means[:, None] + moved.reshape(k, l, d)).reshape(k * l, d)
    logits = a.log_weights[:, None] + b.log_weights[None] + log_overlaps(a, b)
    log_integral = jax.nn.logsumexp(logits)
    mixture = Mixture((logits - log_integral).reshape(-1), means, of_whitening(factor, shared))
    return mixture, log_integral


def join(mixtures: Sequence[Mixture], weights: npt.ArrayLike) -> Mixture:
    """Return the mixture of several mixtures, Σ_j v_j p_j, which has the components of all.

    The function works under jit, vmap and grad.

    Args:
      mixtures: one or more mixtures of the same features.
      weights: (m,) weights v of 0 or more, which sum to 1, one for each mixture.

    Returns:
      The mixture of all components, those of the first mixture first, in the wider dtype. If all
      mixtures are full, diagonal or spherical, the result is of the same family; otherwise it is
      full. The components of a mixture of weight 0 are absent.

    Raises:
      ValueError: if there are no mixtures, they have different numbers of features, or the weights
        are negative, do not sum to 1, or are not one for each mixture.

    >>> m = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> n = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[3.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.join([m, n], [0.2, 0.8]).weights).round(3)
    array([0.2, 0.4, 0.4], dtype=float32)
    """
    mixtures = list(mixtures)
    if not mixtures:
        raise ValueError("mixtures is empty: pass at least one mixture.")
    first, *others = mixtures
    checks.one_mixture(first)
    for other in others:
        check_pair(first, other)
    shares = checks.array(weights, "weights")
    if shares.shape != (len(mixtures),):
        raise ValueError(
            f"weights has shape {shares.shape}: for {len(mixtures)} mixtures pass "
            f"({len(mixtures)},)."
        )
    if not checks.traced(shares):
        values = np.asarray(shares, np.float64)
        if not (values >= 0).all() or not abs(values.sum() - 1) <= 1e-5:
            raise ValueError(f"weights are {values}: pass weights of 0 or more that sum to 1.")
    dtype = jnp.result_type(*(mixture.dtype for mixture in mixtures))
    wide = [jax.tree.map(lambda leaf: leaf.astype(dtype), mixture) for mixture in mixtures]
    return _join(wide, checks.cast(shares, "weights", dtype))


@jax.jit
def _join(mixtures: list[Mixture], weights: jax.Array) -> Mixture:
    logits = [jnp.log(weights[j]) + m.log_weights for j, m in enumerate(mixtures)]
    kinds = {type(mixture.covariance) for mixture in mixtures}
    if len(kinds) == 1 and kinds <= set(WITHOUT_COMMON_PART):
        members = [mixture.covariance for mixture in mixtures]
        covariance = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *members)
    else:
        shape = lambda m: (m.n_components, m.n_features, m.n_features)
        factors = [jnp.broadcast_to(triangular_whitening(m), shape(m)) for m in mixtures]
        covariance = of_whitening(jnp.concatenate(factors), shared=False)
    means = jnp.concatenate([mixture.means for mixture in mixtures])
    return Mixture(jnp.concatenate(logits), means, covariance)
