"""The stopping rules of a fit, by name."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

StoppingRule = Callable[[jax.Array, jax.Array, jax.Array, ArrayLike], jax.Array]


def _em_gain(
    tolerance: jax.Array, gain: jax.Array, objective: jax.Array, previous: ArrayLike
) -> jax.Array:
    return gain < tolerance


def _absolute(
    tolerance: jax.Array, gain: jax.Array, objective: jax.Array, previous: ArrayLike
) -> jax.Array:
    change = jnp.abs(objective - previous)
    # A rejected trial step leaves the objective unchanged, which is no reason to stop unless EM's
    # gain is small too.
    return (change < tolerance) & ((change > 0) | (gain < tolerance))


def _relative(
    tolerance: jax.Array, gain: jax.Array, objective: jax.Array, previous: ArrayLike
) -> jax.Array:
    change, scale = jnp.abs(objective - previous), jnp.abs(objective)
    return (change < tolerance * scale) & ((change > 0) | (gain < tolerance))


STOPPING: dict[str, StoppingRule] = {
    "em-gain": _em_gain,
    "relative": _relative,
    "absolute": _absolute,
}
