"""Derivatives that are not available are refused: the alternative is a number that is silently
wrong."""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero

from . import checks

OF_A_FIT = (
    "derivatives through a fit are not available yet: differentiate log_likelihood and log_prior "
    "at the fitted mixture, or hold what enters the fit fixed with jax.lax.stop_gradient."
)


def refuse(tree: Any, message: str = OF_A_FIT) -> Any:
    """The same tree, whose derivatives raise ValueError with the message.

    A derivative may be taken long after the tracing, of a program that jit or a loop has traced. So
    the refusal is a part of the program: an identity whose derivative raises wherever a tangent
    arrives that is not zero by construction. Values that are no tracers have no derivatives, and
    cost nothing."""
    leaves, structure = jax.tree.flatten(tree)
    places = [i for i, leaf in enumerate(leaves) if checks.traced(leaf)]
    if places:
        marked = _marked(message, [leaves[i] for i in places])
        for i, leaf in zip(places, marked, strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def on_host(name: str, *given: Any) -> None:
    """No tracers, neither of a program nor of a derivative: a loop on the host makes fits of what
    is `given`."""
    if checks.traced(given):
        raise ValueError(
            f"{name} runs a loop on the host: call it outside jit and vmap; and {OF_A_FIT}"
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _marked(message: str, leaves: list) -> list:
    return leaves


@functools.partial(_marked.defjvp, symbolic_zeros=True)
def _refused(message, primals, tangents):
    (leaves,), (along,) = primals, tangents
    if not all(isinstance(tangent, SymbolicZero) for tangent in along):
        raise ValueError(message)
    return leaves, along
