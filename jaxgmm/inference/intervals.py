"""Confidence intervals from estimates and standard errors, on three scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..internal import checks

SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    # the transform, its derivative, and its inverse
    "plain": (lambda v: v, lambda v: jnp.ones_like(v), lambda t: t),
    "log": (jnp.log, lambda v: 1 / v, jnp.exp),
    "logit": (lambda v: jnp.log(v) - jnp.log1p(-v), lambda v: 1 / (v * (1 - v)), jax.nn.sigmoid),
}


def normal_quantile(level: float, dtype: Any) -> jax.Array:
    """Return the half-width, in standard errors, of an interval that covers `level`."""
    return jax.scipy.special.ndtri(jnp.asarray((1 + level) / 2, dtype))


def check_level(level: Any) -> None:
    """Check that a level lies strictly between 0 and 1."""
    checks.between(level, "level", 1e-9, 1 - 1e-9)


def wald_interval(value: Any, error: Any, level: float, scale: str) -> tuple[Any, Any]:
    """Return the ends of Wald's interval for each number of a pytree.

    On another scale than "plain" it is computed for the transformed number and transformed back, so
    that it stays inside the range of the transform.
    """
    transform, slope, back = SCALES[scale]

    def end(sign: float) -> Any:
        def of_leaf(v: jax.Array, e: jax.Array) -> jax.Array:
            return back(transform(v) + sign * normal_quantile(level, v.dtype) * e * slope(v))

        return jax.tree.map(of_leaf, value, error)

    return end(-1.0), end(1.0)
