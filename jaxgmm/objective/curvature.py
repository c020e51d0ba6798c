"""The gradient and the complete-data information in relative coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..mixture.mixture import Mixture
from ..mixture.relative_coordinates import Relative
from ..numerics import lapack
from .log_likelihood import expected
from .prior import Prior, log_prior
from .statistics import Statistics

RELATIVE = Relative()


def slope_of(
    at: Callable[[Any], Mixture], offsets: Any, sums: Statistics, prior: Prior | None
) -> Any:
    """Return the objective's gradient with respect to `offsets`, by Fisher's identity.

    `at` maps offsets to a mixture, and `sums` are the statistics at at(offsets).
    """
    here = at(offsets)
    return jax.grad(lambda o: expected(at(o), here, sums) + log_prior(at(o), prior))(offsets)


def _per_parameter(
    mixture: Mixture, logits: jax.Array, means: jax.Array, covariances: Any
) -> jax.Array:
    """Return a vector (p,) with one number for each parameter of a local mixture.

    The numbers are per component (k,) for logits and means. Those of the covariances are a function
    of a leaf, which returns a number for each entry of its leading axis.
    """
    broadcast = lambda values, leaf: jnp.broadcast_to(
        values.reshape(len(values), *[1] * (leaf.ndim - 1)), leaf.shape
    )
    zero = RELATIVE.zero(mixture)
    covariance = jax.tree.map(lambda leaf: broadcast(covariances(leaf), leaf), zero.covariance)
    return ravel_pytree(Mixture(logits, broadcast(means, zero.means), covariance))[0]


def _of_leaf(values: jax.Array, leaf: jax.Array) -> jax.Array:
    """Return values (c,) of covariances for a leaf, as their sum where covariances share it."""
    return values if len(leaf) == len(values) else jnp.sum(values, keepdims=True)


def free_directions(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return which parameters are used, and the directions that change nothing.

    The first vector (p,) is 1 for parameters of present components and 0 for all others. The second
    result (g, p) contains orthonormal rows. The first row adds the same number to all logits, which
    does not change the mixture. The others are those of the family's `gauge`.
    """
    present = mixture.present.astype(mixture.dtype)
    used = mixture.frame.pool(present)
    logits = present * RELATIVE.scale(mixture).logits
    nothing = lambda leaf: jnp.zeros(len(leaf), leaf.dtype)
    shift = _per_parameter(mixture, logits, jnp.zeros_like(present), nothing)
    is_used = lambda leaf: (_of_leaf(used, leaf) > 0).astype(mixture.dtype)
    used_entries = _per_parameter(mixture, present, present, is_used)
    return used_entries, orthonormal(jnp.concatenate([shift[None], _gauge(mixture)]))


def _gauge(mixture: Mixture) -> jax.Array:
    """Return the offsets (g, p) along which the family's covariances do not change."""
    scale = RELATIVE.scale(mixture)
    directions = mixture.covariance.gauge()
    count = len(jax.tree.leaves(directions)[0])
    nothing = lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype)
    covariance = jax.tree.map(lambda a, b: a * b[None], directions, scale.covariance)
    offsets = Mixture(nothing(scale.logits), nothing(scale.means), covariance)
    return jax.vmap(lambda tree: ravel_pytree(tree)[0])(offsets)


def orthonormal(rows: jax.Array) -> jax.Array:
    """Return orthonormal rows (g, p) with the same span as linearly independent ones."""
    if len(rows) == 1:
        return rows / jnp.linalg.norm(rows)
    return lapack.orthogonal(rows.T[None])[0].T


def complete_information(mixture: Mixture, sums: Statistics, prior: Prior | None) -> jax.Array:
    """Return the diagonal (p,) of the complete-data information, at a fixed point of EM.

    It is per unit of row weight, in relative coordinates, and includes the prior's information.
    Each entry is the share of rows (and pseudo-rows) that determine the parameter, divided by the
    share that its relative coordinate is scaled with. Entries of unused parameters are 1.
    """
    frame, present, total = mixture.frame, mixture.present, jnp.sum(sums.mass)
    weights = means = sums.mass
    covariances = frame.pool(sums.mass)
    if prior is not None:
        covariances = covariances + prior.strength
        if prior.concentration is not None:
            weights = jnp.maximum(weights + prior.concentration - 1, 0)
        if prior.mean is not None:
            means = means + prior.mean_strength
    scaled = jnp.where(present, RELATIVE.scale(mixture).logits ** 2, 0)

    def ratio(count: jax.Array, scaled: jax.Array) -> jax.Array:
        used = (scaled > 0) & (count > 0)
        return jnp.where(used, count / total / jnp.where(used, scaled, 1), 1)

    return _per_parameter(
        mixture,
        logits=ratio(weights, scaled),
        means=ratio(means, scaled),
        covariances=lambda leaf: ratio(
            _of_leaf(covariances, leaf), _of_leaf(frame.pool(scaled), leaf)
        ),
    )
