"""`log_inner`, `l2` and `cauchy_schwarz`: integrals of products of densities, in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..algebra.pairs import check_pair, log_overlaps
from ..mixture.mixture import Mixture


def log_inner(a: Mixture, b: Mixture) -> jax.Array:
    """Return the logarithm of the inner product ∫ p q of two densities, in closed form.

    It is log Σ_ij π_i ω_j N(μ_i; μ_j, Σ_i + Σ_j). The function works under jit, vmap and grad.

    Args:
      a: the mixture p.
      b: the mixture q, in the same features.

    Returns:
      The logarithm (), in the wider dtype.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features.

    >>> m = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> print(f"{jaxgmm.log_inner(m, m):.3f}")  # −½ log 4π
    -1.266
    """
    return _log_inner(*check_pair(a, b))


@jax.jit
def _log_inner(a: Mixture, b: Mixture) -> jax.Array:
    return jax.nn.logsumexp(a.log_weights[:, None] + b.log_weights[None] + log_overlaps(a, b))


def l2(a: Mixture, b: Mixture) -> jax.Array:
    """Return the squared L2 distance ∫ (p − q)² of two densities, in closed form.

    It is exactly 0 for equal mixtures. It has the units of a density, so it is tiny for wide
    mixtures of many features; `cauchy_schwarz` has no units. The function works under jit, vmap and
    grad.

    Args:
      a: the mixture p.
      b: the mixture q, in the same features.

    Returns:
      The squared distance (), in the wider dtype.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features.

    See Jian & Vemuri (2011), IEEE PAMI 33, eq. 4.

    >>> p = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> q = jaxgmm.Mixture.from_parameters([1.0], [[1.0]], [[[1.0]]])
    >>> print(f"{jaxgmm.l2(p, q):.4f} {jaxgmm.l2(p, p):.4f}")
    0.1248 0.0000
    """
    a, b = check_pair(a, b)
    return _l2(_log_inner(a, a), _log_inner(b, b), _log_inner(a, b))


@jax.jit
def _l2(first: jax.Array, second: jax.Array, between: jax.Array) -> jax.Array:
    # expm1 of differences is 0 exactly for equal mixtures, and otherwise loses no digits.
    value = jnp.exp(between) * (jnp.expm1(first - between) + jnp.expm1(second - between))
    return jnp.where(value > 0, value, 0 * value)


def cauchy_schwarz(a: Mixture, b: Mixture) -> jax.Array:
    """Return the Cauchy–Schwarz divergence −log [∫ p q / √(∫ p² ∫ q²)], in closed form.

    It is symmetric, exactly 0 for equal mixtures and positive for others, and it has no units. The
    function works under jit, vmap and grad.

    Args:
      a: the mixture p.
      b: the mixture q, in the same features.

    Returns:
      The divergence () in nats, in the wider dtype.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features.

    See Kampa, Hasanbelliu & Príncipe (2011), IJCNN, eq. 8.

    >>> p = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> q = jaxgmm.Mixture.from_parameters([1.0], [[2.0]], [[[1.0]]])
    >>> print(f"{jaxgmm.cauchy_schwarz(p, q):.3f} {jaxgmm.cauchy_schwarz(p, p):.3f}")
    1.000 0.000
    """
    a, b = check_pair(a, b)
    value = (_log_inner(a, a) - _log_inner(a, b)) / 2 + (_log_inner(b, b) - _log_inner(a, b)) / 2
    return jnp.where(value > 0, value, 0 * value)
