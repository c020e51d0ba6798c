"""`reduce`: a mixture of fewer components with the same mean and covariance."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks
from ..internal.pytrees import pytree
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.triangular import log_determinant
from .covariance_factors import of_covariances


def reduce(mixture: Mixture, n_components: int) -> Mixture:
    """Return a mixture of fewer components, by merging pairs of similar components.

    Two components are replaced by the Gaussian with their joint mean and covariance, so the mean
    and the covariance of the whole mixture stay the same. Each step merges the pair with the least
    B_ij = ½ [(π_i + π_j) log|Σ_ij| − π_i log|Σ_i| − π_j log|Σ_j|], an upper bound on the
    Kullback–Leibler divergence that the merger causes. The function works under jit and vmap, and
    under grad, which holds the choice of the pairs constant.

    Args:
      mixture: a single mixture with finite parameters.
      n_components: the number of components to keep, a plain whole number from 1 to the number of
        components that are present.

    Returns:
      The mixture of `n_components` full components, in the mixture's dtype. If exactly
      `n_components` are present, it is the mixture itself without absent components.

    Raises:
      ValueError: if `n_components` is not such a number, or `mixture` is not such a mixture.

    See Runnalls (2007), IEEE Trans. Aerospace and Electronic Systems 43, eq. 21.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.25, 0.25, 0.5], [[0.0], [1.0], [9.0]], [1.0, 1.0, 1.0], family="spherical"
    ... )
    >>> fewer = jaxgmm.reduce(m, 2)
    >>> fewer, np.sort(np.asarray(fewer.means)[:, 0])
    (Mixture(full, K = 2, d = 1, float32), array([0.5, 9. ], dtype=float32))
    """
    checks.one_mixture(mixture)
    traced = checks.traced(mixture.logits)
    present = None if traced else np.flatnonzero(np.asarray(mixture.present))
    most = mixture.n_components if present is None else len(present)
    n = checks.whole(n_components, "n_components", 1)
    if n > most:
        raise ValueError(
            f"n_components is {n}, and {most} components are present: pass at most {most}."
        )
    if n == mixture.n_components:
        return mixture
    if present is not None and n == len(present):
        return Mixture(
            mixture.logits[present],
            mixture.means[present],
            mixture.covariance.select(jnp.asarray(present)),
        )
    return _reduce(mixture, n=n)


@pytree
@dataclasses.dataclass(frozen=True)
class _Components:
    """Components in dense form: weights (k,), means (k, d) and covariances (k, d, d)."""

    weights: jax.Array
    means: jax.Array
    covariances: jax.Array


@jax.jit(static_argnames="n")
def _reduce(mixture: Mixture, n: int) -> Mixture:
    k, d = mixture.means.shape
    dense = jnp.broadcast_to(mixture.frame.dense, (k, d, d))
    weights = jnp.where(mixture.present, mixture.weights, 0)
    start = _Components(weights, mixture.means, dense)

    def merge(_: int, state: tuple[_Components, jax.Array]) -> tuple[_Components, jax.Array]:
        components, costs = state
        i, j = jnp.divmod(jnp.argmin(costs), k)
        left = jnp.sum(components.weights > 0)
        merged = jax.tree.map(
            lambda new, old: jnp.where(left > n, new, old),
            _put(components, i, j, _merged(_one(components, i), _one(components, j))),
            components,
        )
        row = _costs(merged, i)
        fresh = costs.at[i].set(row).at[:, i].set(row).at[j].set(jnp.inf).at[:, j].set(jnp.inf)
        return merged, jnp.where(left > n, fresh, costs)

    costs = jax.lax.map(lambda i: _costs(start, i), jnp.arange(k))
    end, _ = jax.lax.fori_loop(0, k - n, merge, (start, costs))
    kept = jnp.argsort(end.weights <= 0, stable=True)[:n]
    covariance = of_covariances(end.covariances[kept], shared=False)
    kept_weights = end.weights[kept]
    logits = jnp.where(
        kept_weights > 0, jnp.log(jnp.where(kept_weights > 0, kept_weights, 1)), -jnp.inf
    )
    return Mixture(logits, end.means[kept], covariance)


def _one(components: _Components, i: jax.Array) -> _Components:
    return jax.tree.map(lambda leaf: leaf[i], components)


def _put(components: _Components, i: jax.Array, j: jax.Array, new: _Components) -> _Components:
    """Return the components with `new` in the place of i, and without j."""
    placed = jax.tree.map(lambda leaf, value: leaf.at[i].set(value), components, new)
    return dataclasses.replace(placed, weights=placed.weights.at[j].set(0))


def _merged(first: _Components, second: _Components) -> _Components:
    """Return the component with the joint weight, mean and covariance of two."""
    weight = first.weights + second.weights
    share = second.weights / jnp.where(weight > 0, weight, 1)
    apart = second.means - first.means
    outer = apart[:, None] * apart[None]
    covariance = (1 - share) * first.covariances + share * second.covariances
    covariance = covariance + share * (1 - share) * outer
    return _Components(weight, first.means + share * apart, covariance)


def _costs(components: _Components, i: jax.Array) -> jax.Array:
    """Return the costs B_ij (k,) of merging component i with each other present one."""
    one = _one(components, i)
    weights = components.weights
    merged = jax.vmap(_merged, in_axes=(None, 0))(one, components)
    own, joint = _log_determinants(components.covariances), _log_determinants(merged.covariances)
    cost = merged.weights * joint - weights * own - one.weights * own[i]
    possible = (weights > 0) & (one.weights > 0) & (jnp.arange(len(weights)) != i)
    return jnp.where(possible, jax.lax.stop_gradient(cost) / 2, jnp.inf)


def _log_determinants(covariances: jax.Array) -> jax.Array:
    """Return log|Σ| of covariances (k, d, d), which are scaled to unit variances first."""
    scale = jnp.sqrt(jnp.diagonal(covariances, axis1=-2, axis2=-1))
    root = lapack.cholesky(covariances / (scale[:, :, None] * scale[:, None, :]))
    return 2 * (jnp.sum(jnp.log(scale), axis=-1) + log_determinant(root))
