"""Functions that act on all leaves of a pytree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def where(condition: jax.Array, new: Any, old: Any) -> Any:
    """Return `new` if the condition () is true, else `old`, a pytree of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def where_each(condition: jax.Array, new: Any, old: Any) -> Any:
    """Return `new` where the condition (c,) is true, else `old`, along the leading axis of leaves.

    A leaf that is shared, with a leading axis of 1, is new if the condition is true anywhere.
    """

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        own = condition if len(b) == len(condition) else jnp.any(condition, keepdims=True)
        return jnp.where(own.reshape(own.shape + (1,) * (jnp.ndim(b) - 1)), a, b)

    return jax.tree.map(pick, new, old)


def zeros_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return zeros in the shape of function(*arguments), which is not computed."""
    shapes = jax.eval_shape(function, *arguments)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def finite(*trees: Any) -> jax.Array:
    """Return whether every number in every leaf is finite."""
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(trees)]
    # Joining the leaves makes one kernel instead of one for each leaf.
    return jnp.all(jnp.isfinite(jnp.concatenate(leaves)))


def cast_like(new: Any, old: Any) -> Any:
    """Return `new` with the dtypes of `old`, so that the state of a loop keeps its type."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), new, old)


def pack(tree: Any, xp: Any = jnp) -> dict[str, Any]:
    """Concatenate all leaves of the same dtype to one array (lanes, …).

    Each array that a program takes or returns costs the host a fixed time, however small it is, so
    fewer arrays are faster.

    Args:
      tree: a pytree whose leaves have a leading axis of lanes.
      xp: numpy or jax.numpy.

    Returns:
      One array for each dtype, by the dtype's short name, which is quick to look up.
    """
    columns: dict[str, list[Any]] = {}
    for leaf in jax.tree.leaves(tree):
        columns.setdefault(leaf.dtype.str, []).append(leaf.reshape(len(leaf), -1))
    return {dtype: xp.concatenate(leaves, axis=1) for dtype, leaves in columns.items()}


def unpack(packed: dict[str, Any], like: Any) -> Any:
    """Return the pytree that was packed.

    Args:
      packed: the result of `pack`.
      like: a pytree with the shapes and dtypes of a single lane.
    """
    position = dict.fromkeys(packed, 0)

    def take_leaf(leaf):
        name = leaf.dtype.str
        array, start = packed[name], position[name]
        end = position[name] = start + math.prod(leaf.shape)
        return array[:, start:end].reshape(len(array), *leaf.shape)

    return jax.tree.map(take_leaf, like)


def take(tree: Any, index: Any) -> Any:
    """Return leaf[index] of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def put(tree: Any, index: Any, values: Any) -> None:
    """Assign to leaf[index] of every leaf, which are NumPy arrays."""
    jax.tree.map(lambda leaf, new: leaf.__setitem__(index, new), tree, values)
