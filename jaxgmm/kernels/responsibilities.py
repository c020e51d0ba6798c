"""Weighted responsibilities of the rows of one block, by Bayes' rule or by another rule."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

# A rule maps the log-joint (k, b) and the row weights (b,) to weighted responsibilities (k, b), and
# to what each row adds to the objective of that rule, per unit of weight (b,).
Rule = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def weighted_responsibilities(
    log_joint: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return weighted responsibilities w r (k, b) and log p (b,) of a block of rows.

    The arguments are the log-joint (k, b) and the row weights (b,). The result is w e / Σ e with
    e = exp(a − max a), so that responsibilities sum to 1 even for a row far from every component.
    """
    largest = jax.lax.stop_gradient(jnp.max(log_joint, axis=0))
    unscaled = jnp.exp(log_joint - largest[None])
    total = jnp.sum(unscaled, axis=0)
    return unscaled * (weight / total)[None], largest + jnp.log(total)


def tempered(beta: jax.Array) -> Rule:
    """Return the rule with responsibilities in proportion to (π N)^β, for an inverse temperature β.

    A row's value is log(Σ_k (π_k N_k)^β) / β, the negative free energy of statistical physics.
    """

    def rule(log_joint: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        own_beta = beta.astype(log_joint.dtype)
        weighted, value = weighted_responsibilities(own_beta * log_joint, weight)
        return weighted, value / own_beta

    return rule


def most_probable(log_joint: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Assign each row to its most probable component; the first one, if several are equal.

    This is a `Rule`. A row's value is the largest log-joint.
    """
    component = jnp.argmax(log_joint, axis=0)
    assigned = jnp.arange(len(log_joint))[:, None] == component[None]
    return jnp.where(assigned, weight[None], 0), jnp.max(log_joint, axis=0)
