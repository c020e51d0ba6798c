"""Weighted responsibilities of the rows of one block, by Bayes' rule or by another rule."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..internal.one_cpu_function import as_one_cpu_function
from ..numerics.short_axis_sums import fold, reduce_by_library

# For so few numbers of each lane, one function of machine code takes less time than one for each
# operation.
FEW_NUMBERS = 4096

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
    return _bayes(reduce_by_library, log_joint, weight)


def rule_for_lanes(lanes: int) -> Rule:
    """Return `weighted_responsibilities` for a batch of that many mixtures, as a rule."""
    return weighted_responsibilities if lanes == 1 else of_lane


def of_lane(log_joint: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return `weighted_responsibilities`, computed for one of many lanes."""
    few = log_joint.size <= FEW_NUMBERS
    return (_in_one_function if few else weighted_responsibilities)(log_joint, weight)


def _bayes(
    reduce: Callable[..., jax.Array], log_joint: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Compute `weighted_responsibilities` with a function that combines entries as `fold` does."""
    largest = jax.lax.stop_gradient(reduce(jnp.maximum, log_joint, axis=0))
    unscaled = jnp.exp(log_joint - largest)
    evidence = reduce(jnp.add, unscaled, axis=0)
    return unscaled * (weight[None] / evidence), (largest + jnp.log(evidence))[0]


def _narrowed(rule: Rule) -> Rule:
    """Return a rule of float64 arguments and results that computes in float32."""

    def narrowed(log_joint: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        weighted, value = rule(log_joint.astype(jnp.float32), weight.astype(jnp.float32))
        return weighted.astype(log_joint.dtype), value.astype(weight.dtype)

    return narrowed


_in_one_function = as_one_cpu_function(functools.partial(_bayes, fold))
_narrowed_in_one_function = as_one_cpu_function(_narrowed(functools.partial(_bayes, fold)))


def of_lane_narrowed(log_joint: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return `of_lane` of float64 arguments in float64, but computed in float32.

    Where the rule is one function of machine code, the conversions are part of it.
    """
    few = log_joint.size <= FEW_NUMBERS
    narrowed = _narrowed_in_one_function if few else _narrowed(weighted_responsibilities)
    return narrowed(log_joint, weight)


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
