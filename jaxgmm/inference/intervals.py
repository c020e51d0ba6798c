"""Confidence intervals from estimates and standard errors, on three scales."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks
from ..internal.compiling import jit_once

SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    # the transform, its derivative, and its inverse
    "plain": (lambda v: v, lambda v: jnp.ones_like(v), lambda t: t),
    "log": (jnp.log, lambda v: 1 / v, jnp.exp),
    "logit": (lambda v: jnp.log(v) - jnp.log1p(-v), lambda v: 1 / (v * (1 - v)), jax.nn.sigmoid),
}


def normal_quantile(level: float) -> float:
    """Return the half-width, in standard errors, of an interval that covers `level`."""
    return statistics.NormalDist().inv_cdf((1 + float(level)) / 2)


def check_level(level: Any) -> None:
    """Check that a level lies strictly between 0 and 1."""
    checks.between(level, "level", 1e-9, 1 - 1e-9)


def wald_interval(value: Any, error: Any, level: float, scale: str) -> tuple[Any, Any]:
    """Return the ends of Wald's interval for each number of a pytree.

    On another scale than "plain" it is computed for the transformed number and transformed back, so
    that it stays inside the range of the transform.
    """
    numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(value))
    return jit_once(_ends, numbers)(scale, value, error, normal_quantile(level))


def _ends(scale: str, value: Any, error: Any, quantile: jax.Array) -> tuple[Any, Any]:
    transform, slope, back = SCALES[scale]

    def end(sign: float) -> Any:
        def of_leaf(v: jax.Array, e: jax.Array) -> jax.Array:
            half = (sign * quantile).astype(v.dtype) * e * slope(v)
            return back(transform(v) + half)

        return jax.tree.map(of_leaf, value, error)

    return end(-1.0), end(1.0)
