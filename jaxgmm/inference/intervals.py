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


# The numbers that a scale is for.
RANGES = {"plain": (-np.inf, np.inf), "log": (0.0, np.inf), "logit": (0.0, 1.0)}
# An error of a number that is fixed, such as the weight of the only component, up to rounding.
NO_ERROR = 1e-5


def normal_quantile(level: float) -> float:
    """Return the half-width, in standard errors, of an interval that covers `level`."""
    return statistics.NormalDist().inv_cdf((1 + float(level)) / 2)


def check_level(level: Any) -> None:
    """Check that a level lies strictly between 0 and 1."""
    checks.between(level, "level", 1e-9, 1 - 1e-9)


def wald_interval(value: Any, error: Any, level: float, scale: str) -> tuple[Any, Any]:
    """Return the ends of Wald's interval for each number of a pytree.

    On another scale than "plain" it is computed for the transformed number and transformed back, so
    that it stays inside the range of the transform. A number at the end of this range that has no
    error is its own interval.
    """
    if not checks.traced(value, error):
        jax.tree.map(lambda v, e: _check_range(np.asarray(v), np.asarray(e), scale), value, error)
    numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(value))
    return jit_once(_ends, numbers)(scale, value, error, normal_quantile(level))


def _check_range(value: np.ndarray, error: np.ndarray, scale: str) -> None:
    """Check that an interval of all numbers may be computed on a scale."""
    low, high = RANGES[scale]
    fixed = ((value == low) | (value == high)) & ~(error > NO_ERROR)
    outside = ~((low < value) & (value < high) | fixed | np.isnan(value))
    if outside.any():
        between = "positive numbers" if scale == "log" else "numbers between 0 and 1"
        raise ValueError(
            f"g returns {float(value[outside].flat[0]):.6g}, and the scale {scale!r} is for "
            f"{between}: use the scale 'plain'."
        )


def _ends(scale: str, value: Any, error: Any, quantile: jax.Array) -> tuple[Any, Any]:
    transform, slope, back = SCALES[scale]

    def end(sign: float) -> Any:
        def of_leaf(v: jax.Array, e: jax.Array) -> jax.Array:
            half = (sign * quantile).astype(v.dtype) * e * slope(v)
            fixed = ((v == RANGES[scale][0]) | (v == RANGES[scale][1])) & (e <= NO_ERROR)
            return jnp.where(fixed, v, back(transform(v) + half))

        return jax.tree.map(of_leaf, value, error)

    return end(-1.0), end(1.0)
