"""`pytree`: registers a dataclass with JAX, so that `jax.jit` never takes it for another class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

import jax

Kind = TypeVar("Kind", bound=type)


def pytree(kind: Kind) -> Kind:
    """Register a dataclass as a pytree; fields with `static` in their metadata are no leaves.

    `jax.tree_util.register_dataclass` does the same, but before JAX 0.12 the structures of two such
    classes are equal if they have the same number of fields. Their hashes differ, which hides that
    from most caches. The cache of traced functions compares a few bits of the hash alone, so about
    one pair of classes in a hundred is taken for each other, and a function of one class silently
    runs with the methods of the other.
    """
    fields = [field for field in dataclasses.fields(kind) if field.init]
    static = [field.name for field in fields if field.metadata.get("static", False)]
    traced = [field.name for field in fields if field.name not in static]
    keys = [jax.tree_util.GetAttrKey(name) for name in traced]

    def values(tree: Any, names: list[str]) -> tuple[Any, ...]:
        return tuple(getattr(tree, name) for name in names)

    def with_keys(tree: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        return list(zip(keys, values(tree, traced), strict=True)), values(tree, static)

    def flat(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return values(tree, traced), values(tree, static)

    def restore(others: tuple[Any, ...], leaves: Iterable[Any]) -> Any:
        names = zip((*traced, *static), (*leaves, *others), strict=True)
        return kind(**dict(names))

    jax.tree_util.register_pytree_with_keys(kind, with_keys, restore, flat)
    return kind
