"""`kl_variational` and `entropy_bounds`: approximations in closed form of integrals without one."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ..algebra.pairs import bhattacharyya_distances, check_pair, component_divergences
from ..internal import checks
from ..mixture.mixture import Mixture


def kl_variational(a: Mixture, b: Mixture) -> jax.Array:
    """Return the variational approximation of the Kullback–Leibler divergence of two mixtures.

    It is Σ_i π_i log [Σ_j π_j exp(−D(p_i ‖ p_j)) / Σ_j ω_j exp(−D(p_i ‖ q_j))] with the divergences
    D of single Gaussians. This is the difference of two lower bounds, and hence *not a bound*. It
    differs from the divergence by up to a quarter in some cases, and it is negative in others. It
    is 0 for equal mixtures, and it has derivatives. `kl` estimates the divergence itself.

    Args:
      a: the mixture p.
      b: the mixture q, in the same features.

    Returns:
      The approximation () in nats, in the wider dtype.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features.

    See Hershey & Olsen (2007), ICASSP, eq. 20.

    >>> p = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> q = jaxgmm.Mixture.from_parameters([1.0], [[1.0]], [[[1.0]]])
    >>> print(f"{jaxgmm.kl_variational(p, q):.3f}")
    0.500
    """
    return _kl_variational(*check_pair(a, b))


@jax.jit
def _kl_variational(a: Mixture, b: Mixture) -> jax.Array:
    own, other = (
        jax.nn.logsumexp(mixture.log_weights[None] - component_divergences(a, mixture), axis=1)
        for mixture in (a, b)
    )
    return jnp.sum(a.weights * (own - other))


def entropy_bounds(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return a lower and an upper bound on the differential entropy of a mixture.

    Both are Σ_i π_i [h_i − log Σ_j π_j exp(−D_ij)] with the entropies h of the components. The
    Bhattacharyya distance as D gives the lower bound, and the Kullback–Leibler divergence the upper
    one. Both are exact for well separated components. The bounds have derivatives. `entropy`
    estimates the entropy itself.

    Args:
      mixture: a single mixture with finite parameters.

    Returns:
      The bounds (low, high) in nats, each () in the mixture's dtype.

    Raises:
      ValueError: if `mixture` is not such a mixture.

    See Kolchinsky & Tracey (2017), Entropy 19, eqs. 10, 13 and 19.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
    >>> low, high = jaxgmm.entropy_bounds(m)
    >>> print(f"{low:.1f} {high:.1f}")
    1.6 2.0
    """
    checks.one_mixture(mixture)
    return _entropy_bounds(mixture)


@jax.jit
def _entropy_bounds(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    k, d = mixture.means.shape
    log_determinant = jnp.broadcast_to(mixture.frame.log_determinant, (k,))
    own = d / 2 * (1 + math.log(2 * math.pi)) - log_determinant

    def bound(distance: jax.Array) -> jax.Array:
        near = jax.nn.logsumexp(mixture.log_weights[None] - distance, axis=1)
        return jnp.sum(mixture.weights * (own - near))

    low = bound(bhattacharyya_distances(mixture, mixture))
    return low, bound(component_divergences(mixture, mixture))
