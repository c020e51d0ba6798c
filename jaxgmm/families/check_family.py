"""`check_family`: whether a family of your own keeps the contract of `Family`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .family import Family
from .finite_frame import NOT_FINITE
from .layout import Layout, layout_of


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
        `between` is the inverse of `moved`; the M-step gains what it says, or more where it is a
        step of EM with missing factors, and never loses.

    >>> jaxgmm.check_family(jaxgmm.FAMILIES["VEE"])  # nothing to say
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
    for name, one in (("identity", unit), ("random leaves", member), ("random leaves", other)):
        problem = _layout_problem(one, name, d, k, precision)
        if problem:
            yield problem
            return
    yield from _wrong_count(kind, member, d, k)
    yield from _wrong_locals(member, other, d, precision)
    yield from _wrong_step(member, d, k, precision)


def _matrix(layout: Layout, function: Callable[[jax.Array], jax.Array], k: int) -> jax.Array:
    """Return the matrices (k, d, d) of a linear function of vectors (k, d), such as `whiten`."""
    unit = jnp.eye(layout.d, dtype=layout.log_determinant.dtype)
    columns = jnp.broadcast_to(unit[:, None], (layout.d, k, layout.d))
    return jnp.moveaxis(jax.vmap(function)(columns), 0, -1)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _layout_facts(member: Family, d: int, k: int) -> tuple[jax.Array, ...]:
    """Return W, L, log |W| and a derivative through the layout."""
    layout = layout_of(member, d)
    flat, unravel = ravel_pytree(member)

    def volume(leaves: jax.Array) -> jax.Array:
        moved = layout_of(unravel(leaves), d)
        return jnp.sum(_matrix(moved, moved.whiten, k) ** 2)

    matrices = _matrix(layout, layout.whiten, k), _matrix(layout, layout.unwhiten, k)
    return *matrices, layout.log_determinant, jax.grad(volume)(flat)


def _layout_problem(member: Family, name: str, d: int, k: int, precision: _Precision) -> str:
    """Return what is wrong with a member's layout, or ""."""
    c, where = len(layout_of(member, d).log_determinant), f"frame({d}) at {name}"
    if c not in (1, k):
        return f"{where} has {c} covariances: return {k}, or 1 for a common one"
    factor, inverse, log_determinant, slope = map(np.asarray, _layout_facts(member, d, k))
    if not (np.isfinite(factor).all() and np.isfinite(inverse).all()):
        return f"{where} {NOT_FINITE}"
    if np.abs(inverse @ factor - np.eye(d)).max() > precision.values:
        return f"{where}: the inverse factor times the factor is not the identity"
    if np.abs(log_determinant - np.linalg.slogdet(factor)[1]).max() > precision.values:
        return f"{where}: log_determinant is not log |det W|"
    return "" if np.isfinite(slope).all() else f"{where} has derivatives that are not finite"


def _wrong_count(kind: type[Family], member: Family, d: int, k: int) -> Iterator[str]:
    flat, unravel = ravel_pytree(member)
    dense = lambda leaves: layout_of(unravel(leaves), d).dense.ravel()
    slopes = np.asarray(jax.jit(jax.jacfwd(dense))(flat), np.float64)
    sizes = np.linalg.svd(slopes, compute_uv=False)
    rank = int(np.sum(sizes > 1e-4 * sizes.max()))
    count = kind.n_parameters(k, d)
    if count != rank:
        yield (
            f"n_parameters({k}, {d}) is {count}, but the covariances can move in {rank} "
            "directions: define n_parameters, or leave out fields that change nothing; if they "
            "change nothing only with so few features, check with a larger d"
        )


@functools.partial(jax.jit, static_argnums=2)
def _moves(member: Family, other: Family, d: int) -> tuple[jax.Array, ...]:
    """Return the covariances of two members, and those after moves that should lead to them."""
    dense = lambda one: layout_of(one, d).dense
    still, there = member.moved(member.zero_local()), member.moved(member.between(other))
    return dense(member), dense(still), dense(other), dense(there)


def _wrong_locals(member: Family, other: Family, d: int, precision: _Precision) -> Iterator[str]:
    one, still, two, there = map(np.asarray, _moves(member, other, d))
    far = lambda a, b: not np.abs(a - b).max() <= precision.differences * np.abs(b).max()
    if far(still, one):
        yield "moved(zero_local()) is another member than the one it starts from"
    elif far(there, two):
        yield "between is not the inverse of moved"


@functools.partial(jax.jit, static_argnums=2)
def _step(member: Family, residuals: jax.Array, d: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return what the M-step for residuals (n, k, d) says that it gains, what it gains, and Σ N."""
    layout, (n, k, _) = layout_of(member, d), residuals.shape
    moments = jnp.sum(jax.vmap(layout.outer)(residuals, residuals), axis=0)
    mass = layout.pool(jnp.full(k, n, moments.dtype))
    local, gain = member.maximize(moments, mass, d)
    new = layout_of(member.moved(local), d)
    rows = jax.vmap(layout.unwhiten)(residuals)
    change = jax.vmap(new.whiten)(rows) ** 2 - jax.vmap(layout.whiten)(rows) ** 2
    rise = jnp.sum(mass * (new.log_determinant - layout.log_determinant)) - jnp.sum(change) / 2
    return jnp.sum(mass * gain) / 2, rise, jnp.sum(mass)


def _wrong_step(member: Family, d: int, k: int, precision: _Precision) -> Iterator[str]:
    rows = np.random.default_rng(1).normal(size=(4 * d, k, d))
    rows[:, :, 0] *= 1.5
    gained, rise, mass = map(float, _step(member, jnp.asarray(rows), d))
    near = precision.differences * mass * d
    agrees = abs(rise - gained) <= near
    if not layout_of(member, d).keeps_all_moments:  # it promises a lower bound
        agrees = gained <= rise + near
    if not agrees:
        yield f"maximize says that it gains {gained:.6g} nats, and it gains {rise:.6g}"
    elif gained < -precision.values * mass * d:
        yield f"maximize loses {-gained:.3g} nats: an M-step must not lower the likelihood"
