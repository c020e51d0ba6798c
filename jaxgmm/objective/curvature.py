"""The gradient and the complete-data information in relative coordinates."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..mixture.coordinates import Relative
from ..mixture.mixture import Mixture
from .log_likelihood import expected
from .prior import Prior, log_prior
from .statistics import Statistics

RELATIVE = Relative()


def slope_of(at: Callable, offsets, sums: Statistics, prior: Prior | None):
    """The objective's gradient by offsets that mean the mixture at(offsets), from the statistics
    there: Fisher's identity."""
    here = at(offsets)
    return jax.grad(lambda o: expected(at(o), here, sums) + log_prior(at(o), prior))(offsets)


def _leafwise(mixture: Mixture, logits, means, held) -> jax.Array:
    """One number for each parameter, in one vector: per component (k,) for logits and for means,
    per covariance (c,) for its leaves."""
    spread = lambda values, leaf: jnp.broadcast_to(values[:, None], leaf.shape)
    covariance = jax.tree.map(lambda leaf: spread(held, leaf), mixture.covariance)
    made = Mixture(logits, spread(means, mixture.means), covariance)
    return jax.flatten_util.ravel_pytree(made)[0]


def free_directions(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Which parameters are used (p,), and the direction (p,) of the logits' common shift."""
    present = mixture.present.astype(mixture.dtype)
    held = (mixture.frame.pool(present) > 0).astype(mixture.dtype)
    none = jnp.zeros_like
    shift = _leafwise(mixture, present * RELATIVE.scale(mixture).logits, none(present), none(held))
    return _leafwise(mixture, present, present, held), shift / jnp.linalg.norm(shift)


def complete_information(mixture: Mixture, sums, prior: Prior | None) -> jax.Array:
    """Diagonal (p,) of the complete-data information per unit of weight, the prior's included,
    where EM's step is none: the counts behind each parameter against the scale's."""
    frame, present, total = mixture.frame, mixture.present, jnp.sum(sums.mass)
    weights = means = sums.mass
    held = frame.pool(sums.mass)
    if prior is not None:
        held = held + prior.strength
        if prior.concentration is not None:
            weights = jnp.maximum(weights + prior.concentration - 1, 0)
        if prior.mean is not None:
            means = means + prior.mean_strength
    share = jnp.where(present, RELATIVE.scale(mixture).logits ** 2, 0)

    def ratio(count, share):
        used = (share > 0) & (count > 0)
        return jnp.where(used, count / total / jnp.where(used, share, 1), 1)

    return _leafwise(
        mixture, ratio(weights, share), ratio(means, share), ratio(held, frame.pool(share))
    )
