"""`check_family`: whether a family of your own keeps the contract of `Family`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .family import Family
from .scoring import dense_layout_of


class _Precision(NamedTuple):
    """The largest errors that count as rounding."""

    values: float
    differences: float


def check_family(kind: type[Family], *, d: int = 3, k: int = 3) -> None:
    """Check that a family of your own is what the library takes it for.

    It is checked at random leaves, in JAX's current precision; float64 shows more.

    Args:
      kind: a subclass of `Family`, registered by `jaxgmm.family`.
      d: the number of features.
      k: the number of components.

    Raises:
      ValueError: with a sentence about the first law that does not hold. These laws are: the leaves
        have a leading axis of k or 1; `frame` returns a layout of (k, d, d) with L W = I, Σ⁻¹ = WᵀW
        and the right log-determinant, finite at `identity` and at random leaves, with finite
        derivatives; `n_parameters` is the number of directions in which the covariances can move;
        `between` is the inverse of `moved`; the M-step gains what it says, and never loses.

    >>> jaxgmm.check_family(jaxgmm.FAMILIES["VEE"])
    """
    if not (isinstance(kind, type) and issubclass(kind, Family)):
        raise ValueError(f"{kind!r} is no subclass of jaxgmm.Family, which a family must be.")
    try:
        laws = list(_broken(kind, d, k))
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{kind.__name__} does not compute: {type(error).__name__}: {error}."
        ) from error
    if laws:
        raise ValueError(f"{kind.__name__}: {laws[0]}.")


def _broken(kind: type[Family], d: int, k: int) -> Iterator[str]:
    """Yield sentences about laws that do not hold; some can be checked only if others hold."""
    dtype = jnp.zeros(0).dtype
    eps = float(jnp.finfo(dtype).eps)
    precision = _Precision(values=eps**0.5 / 10, differences=eps ** (1 / 3))
    unit = kind.identity(k, d, dtype)
    leaves = jax.tree.leaves(unit)
    if not leaves or any(not isinstance(leaf, jax.Array) for leaf in leaves):
        yield "its fields must be JAX arrays; decorate the class with @jaxgmm.family(name)"
        return
    for leaf in leaves:
        if leaf.ndim == 0 or len(leaf) not in (1, k):
            yield (
                f"a leaf of identity({k}, {d}, …) has shape {leaf.shape}: the leading axis must be "
                f"k = {k}, or 1 if the components share the leaf"
            )
            return
    flat, unravel = ravel_pytree(unit)
    noise = np.random.default_rng(0).normal(size=(2, len(flat)))
    member, other = (unravel(flat + jnp.asarray(0.3 * row, dtype)) for row in noise)
    for name, one in (("identity", unit), ("random leaves", member)):
        problem = _layout_problem(one, name, d, k, precision)
        if problem:
            yield problem
            return
    yield from _wrong_count(kind, member, d, k)
    yield from _wrong_locals(member, other, d, precision)
    yield from _wrong_step(member, d, k, precision)


def _layout_problem(member: Family, name: str, d: int, k: int, precision: _Precision) -> str:
    """Return what is wrong with a member's layout, or ""."""
    layout = dense_layout_of(member, d)
    factor, inverse = np.asarray(layout.factor), np.asarray(layout.inverse_factor)
    if len(factor) not in (1, k):
        return (
            f"frame({d}) at {name} has {len(factor)} covariances: return {k}, or 1 for a common one"
        )
    if not (np.isfinite(factor).all() and np.isfinite(inverse).all()):
        return f"frame({d}) at {name} is not finite: every number in a leaf must be valid"
    if np.abs(inverse @ factor - np.eye(d)).max() > precision.values:
        return f"frame({d}) at {name}: the inverse factor times the factor is not the identity"
    log_determinant = np.linalg.slogdet(factor)[1]
    if np.abs(layout.log_determinant - log_determinant).max() > precision.values:
        return f"frame({d}) at {name}: log_determinant is not log |det W|"
    flat, unravel = ravel_pytree(member)
    volume = lambda leaves: jnp.sum(dense_layout_of(unravel(leaves), d).factor ** 2)
    if not np.isfinite(jax.grad(volume)(flat)).all():
        return f"frame({d}) at {name} has derivatives that are not finite"
    return ""


def _wrong_count(kind: type[Family], member: Family, d: int, k: int) -> Iterator[str]:
    flat, unravel = ravel_pytree(member)
    dense = lambda leaves: dense_layout_of(unravel(leaves), d).dense.ravel()
    slopes = np.asarray(jax.jacfwd(dense)(flat), np.float64)
    sizes = np.linalg.svd(slopes, compute_uv=False)
    rank = int(np.sum(sizes > 1e-4 * sizes.max()))
    count = kind.n_parameters(k, d)
    if count != rank:
        yield (
            f"n_parameters({k}, {d}) is {count}, but the covariances can move in {rank} directions: "
            "define n_parameters, or leave out fields that change nothing"
        )


def _wrong_locals(member: Family, other: Family, d: int, precision: _Precision) -> Iterator[str]:
    close = lambda a, b: bool(
        np.abs(np.asarray(dense_layout_of(a, d).dense - dense_layout_of(b, d).dense)).max()
        <= precision.differences * float(jnp.max(dense_layout_of(b, d).dense))
    )
    if not close(member.moved(member.zero_local()), member):
        yield "moved(zero_local()) is another member than the one it starts from"
    elif not close(member.moved(member.between(other)), other):
        yield "between is not the inverse of moved"


def _wrong_step(member: Family, d: int, k: int, precision: _Precision) -> Iterator[str]:
    layout = dense_layout_of(member, d)
    rows = np.random.default_rng(1).normal(size=(k, 4 * d, d)).astype(layout.factor.dtype)
    rows[:, :, 0] *= 1.5
    moments = layout.pool(jnp.asarray(np.swapaxes(rows, 1, 2) @ rows))
    mass = layout.pool(jnp.full(k, 4.0 * d, moments.dtype))
    step: Callable[..., Any] = jax.jit(lambda *moments: member.maximize(*moments, d))
    local, gain = step(moments, mass)
    new = dense_layout_of(member.moved(local), d)
    rise = jnp.sum(layout.expected(new, moments, mass) - layout.expected(layout, moments, mass))
    gained = float(jnp.sum(mass * gain)) / 2
    scale = float(jnp.sum(mass)) * d
    if not abs(float(rise) - gained) <= precision.differences * scale:
        yield f"maximize says that it gains {gained:.6g} nats, and it gains {float(rise):.6g}"
    elif gained < -precision.values * scale:
        yield f"maximize loses {-gained:.3g} nats: an M-step must not lower the likelihood"
