"""What is done leaf by leaf."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def where(condition: jax.Array, new, old):
    """Leaf by leaf, `new` where the condition () holds."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def cast_like(new, old):
    """Leaf by leaf, `new` as an array of the dtype of `old`, so that a loop's state keeps its
    type."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), new, old)


def pack(tree, xp=jnp) -> dict:
    """All leaves side by side, one array (lanes, …) for each dtype: what a call of a program takes
    and returns costs the host so much for every array, however small. Leaves lead with (lanes,);
    xp is numpy or jax.numpy."""
    columns = {}
    for leaf in jax.tree.leaves(tree):
        columns.setdefault(str(leaf.dtype), []).append(leaf.reshape(len(leaf), -1))
    return {dtype: xp.concatenate(leaves, axis=1) for dtype, leaves in columns.items()}


def unpack(packed: dict, one):
    """The tree that was packed; `one` has the shapes and dtypes of one lane."""
    taken = dict.fromkeys(packed, 0)

    def take(leaf):
        array, start = packed[str(leaf.dtype)], taken[str(leaf.dtype)]
        end = taken[str(leaf.dtype)] = start + math.prod(leaf.shape)
        return array[:, start:end].reshape(len(array), *leaf.shape)

    return jax.tree.map(take, one)
