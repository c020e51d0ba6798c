"""Compensated summation."""

from __future__ import annotations

from typing import Any

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


def add_trees_compensated(total: Any, lost: Any, value: Any) -> tuple[Any, Any]:
    """Return total + value and the rounding errors so far, for pytrees of one structure."""
    pairs = jax.tree.map(add_compensated, total, lost, value)
    return jax.tree.transpose(jax.tree.structure(value), None, pairs)
