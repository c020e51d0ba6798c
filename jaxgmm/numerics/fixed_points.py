"""Fixed points of contractions, with derivatives in both modes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# The number of iterations by which a derivative is computed, and the most for a value.
DERIVATIVE_STEPS = 60
MOST_STEPS = 200


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def fixed_point(step: Callable[[jax.Array, Any], jax.Array], start: jax.Array, data: Any) -> Any:
    """Return the positive x with x = step(x, data), by iteration from `start`.

    It ends when no entry of x changes by more than rounding, or after 200 iterations. The
    derivative is that of the fixed point with respect to `data`, whatever the start is.

    Args:
      step: a contraction of arrays x. It must not depend on traced values other than its arguments.
      start: the first x.
      data: the other numbers that the contraction depends on.
    """
    precision = 4 * jnp.finfo(start.dtype).eps

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        number, before, now = state
        moves = jnp.any(jnp.abs(now - before) > precision * jnp.abs(before))
        return (number == 0) | ((number < MOST_STEPS) & moves)

    def iterate(state: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, jax.Array, jax.Array]:
        number, _, now = state
        return number + 1, now, step(now, data)

    return jax.lax.while_loop(unfinished, iterate, (jnp.int32(0), start, start))[2]


@fixed_point.defjvp
def _(step, primals, tangents):
    start, data = primals
    x = fixed_point(step, start, data)
    direct = jax.jvp(lambda at: step(x, at), (data,), tangents[1:])[1]
    through = lambda slope: jax.jvp(lambda at: step(at, data), (x,), (slope,))[1]
    add = lambda _, slope: direct + through(slope)
    return x, jax.lax.fori_loop(0, DERIVATIVE_STEPS, add, jnp.zeros_like(x))
