"""Errors for a family of your own whose frame is not finite."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from .family import Family
from .layout import layout_of

NOT_FINITE = "is not finite: every number in a leaf must be valid"


def finite_at_identity(kind: type[Family], k: int, d: int) -> None:
    """Raise ValueError if the frame of a family's identity is not finite, or of another size."""
    with jax.ensure_compile_time_eval():  # it has values under jit and vmap too
        unit = kind.identity(k, d, jnp.zeros(0).dtype)
        finite = bool(_is_finite(unit, d, k))
    _raise_unless(finite, kind, d, "at identity")


def finite_at(member: Family, k: int, d: int, name: str) -> None:
    """Raise ValueError if the frame of a member, which is called `name`, is not finite.

    Its leaves must not be traced.
    """
    with jax.ensure_compile_time_eval():  # the rest of a fit may be traced
        finite = bool(_is_finite(member, d, k))
    _raise_unless(finite, type(member), d, f"at the {name}")


def _raise_unless(finite: bool, kind: type[Family], d: int, where: str) -> None:
    if not finite:
        name = kind.__name__
        raise ValueError(
            f"{name}.frame({d}) {where} {NOT_FINITE}; jaxgmm.check_family({name}) examines the "
            "whole class."
        )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _is_finite(member: Family, d: int, k: int) -> jax.Array:
    layout = layout_of(member, d, k)
    # Sums of rows of W and of its inverse are not finite if an entry is not.
    ones = jnp.ones((k, d), layout.log_determinant.dtype)
    values = layout.log_determinant, layout.whiten(ones), layout.unwhiten(ones)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(value)) for value in values]))
