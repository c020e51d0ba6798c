"""Compensated summation."""

from __future__ import annotations

import jax


def add_compensated(
    total: jax.Array, lost: jax.Array, value: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return total + value and the rounding error so far.

    This is compensated summation (Kahan 1965, doi 10.1145/363707.363723).
    """
    value = value - lost
    grown = total + value
    return grown, (grown - total) - value
