"""What is done leaf by leaf."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def where(condition: jax.Array, new, old):
    """Leaf by leaf, `new` where the condition () holds."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def cast_like(new, old):
    """Leaf by leaf, `new` as an array of the dtype of `old`, so that a loop's state keeps its
    type."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), new, old)
