"""Whether the natural and the double kernel are accurate enough: bounds on their rounding errors.

The rule: a kernel may be used where the bound on its rounding error at a mixture is at most a
limit. The natural kernel forms second moments about the center of the rows and moves them to each
component's mean. It loses digits where a component is narrow for its distance from the center,
because large numbers then cancel, so its bound is the rounding unit of the dtype times how much
larger those numbers are than the component's covariance. The double kernel does the same in
float64, so its bound is smaller by about the ratio of the rounding units. The whitened kernel
subtracts means first, loses nothing of the kind, and has no bound here. `choice.kernel_position`
takes the fastest kernel that the rule allows.

A sweep allows its fits more than the limit until they near their end (see `batches/lanes.py`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture

# The largest `rounding` at which the natural kernel is used for dense covariances, and the largest
# `double_rounding` at which the double kernel is used.
SAFE_ROUNDING = {"float32": 3e-5, "float64": 3e-11}


def rounding_of_each(mixture: Mixture) -> jax.Array:
    """Return a practical bound (k,) on the natural kernel's rounding error.

    It bounds the error of an entry of a component's second moments, in units of its present
    covariance. In trials over dimensions, widths and shapes the actual error was about a fifth of
    it, and seldom more than all of it, with rows in random order. It can be 20 times as large where
    a block begins with the few rows of a component and continues with many rows that hardly belong
    to it: the terms of the latter are lost in the component's sums. The error of a single
    log-density, in nats, can be several times the bound, but it differs from row to row.
    """
    growth = jnp.where(mixture.present, mixture.frame.amplification(mixture.means), 0)
    return 2 * float(jnp.finfo(mixture.dtype).eps) * growth


def rounding(mixture: Mixture) -> jax.Array:
    """Return the largest bound () of `rounding_of_each`."""
    return jnp.max(rounding_of_each(mixture))


def safe_rounding(mixture: Mixture) -> float:
    """Return the largest `rounding` at which the natural kernel is used for such a mixture.

    Up to this value, parameters after 200 steps of EM with overlapping components were within 1e-4
    of those in float64, in units of each component's covariance.
    """
    return SAFE_ROUNDING[str(mixture.dtype)] * mixture.frame.averaging


def natural_is_safe(mixture: Mixture) -> jax.Array:
    """Return whether the natural kernel's `rounding` at this mixture is at most `safe_rounding`."""
    return rounding(mixture) <= safe_rounding(mixture)


def double_rounding(of_natural: Any, n_features: int) -> Any:
    """Return a practical bound on the double kernel's rounding error, in the units of `rounding`.

    `of_natural` is the natural kernel's bound in float32. The products have the same bound in units
    of float64's eps, times 8: relative to their width, the rows of such a component are so far away
    that they are nearly equal numbers, and the errors of their sums do not cancel. In trials over 2
    to 128 features, errors were up to 8 times the bound without this factor at widths of 1e-5 of
    the distance, and up to 10 times at 3e-6, where the kernel is not used. The rest is float32,
    with the natural kernel's bound at the center. The rounding of a log-density to float32, which
    all kernels share, is not counted.
    """
    single, double = float(jnp.finfo(jnp.float32).eps), float(jnp.finfo(jnp.float64).eps)
    return 8 * double / single * of_natural + 2 * single * n_features**0.5


def double_is_safe(of_natural: Any, n_features: int) -> Any:
    """Return whether `double_rounding` is at most the limit in float32, where it is used."""
    return double_rounding(of_natural, n_features) <= SAFE_ROUNDING["float32"]
