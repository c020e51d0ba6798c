"""When a fit stops."""

from __future__ import annotations

import jax.numpy as jnp


def _em_gain(tolerance, gain, objective, previous):
    return gain < tolerance


def _absolute(tolerance, gain, objective, previous):
    change = jnp.abs(objective - previous)
    # A trial that was not taken leaves the objective as it was: no reason to stop before a fixed
    # point.
    return (change < tolerance) & ((change > 0) | (gain < tolerance))


def _relative(tolerance, gain, objective, previous):
    change, scale = jnp.abs(objective - previous), jnp.abs(objective)
    return (change < tolerance * scale) & ((change > 0) | (gain < tolerance))


STOPPING = {"em-gain": _em_gain, "relative": _relative, "absolute": _absolute}
