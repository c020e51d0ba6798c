"""Errors for derivatives that are not available, which would otherwise be silently wrong."""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero

from . import checks

OF_A_SEARCH = (
    "derivatives through a search of many fits are not available: make the mixture that it found "
    "differentiable by jaxgmm.solution, or call fit."
)


def stop(tree: Any) -> Any:
    """Return the same tree, whose leaves are constants for every derivative."""
    return jax.tree.map(
        lambda leaf: jax.lax.stop_gradient(leaf) if checks.traced(leaf) else leaf, tree
    )


def refuse_derivatives(tree: Any, message: str) -> Any:
    """Return the same tree; its derivatives raise ValueError with the message.

    A program that jit or a loop has traced may be differentiated much later. Therefore the error is
    part of the program: an identity function whose derivative raises if any tangent is not zero by
    construction. Values that are not tracers have no derivatives, and are returned as they are.
    """
    leaves, structure = jax.tree.flatten(tree)
    positions = [i for i, leaf in enumerate(leaves) if checks.traced(leaf)]
    if positions:
        marked = _identity(message, [leaves[i] for i in positions])
        for i, leaf in zip(positions, marked, strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def on_host(name: str, *arguments: Any) -> None:
    """Check that no argument is traced by jit, vmap or a derivative.

    Args:
      name: the function that runs fits from a loop on the host.
      *arguments: pytrees that it uses in the fits.
    """
    if checks.traced(arguments):
        raise ValueError(
            f"{name} runs a loop on the host: call it outside jit and vmap. Also, {OF_A_SEARCH}"
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _identity(message: str, leaves: list[jax.Array]) -> list[jax.Array]:
    return leaves


@functools.partial(_identity.defjvp, symbolic_zeros=True)
def _raise_if_differentiated(message, primals, tangents):
    (leaves,), (leaf_tangents,) = primals, tangents
    if not all(isinstance(tangent, SymbolicZero) for tangent in leaf_tangents):
        raise ValueError(message)
    return leaves, leaf_tangents
