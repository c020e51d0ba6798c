"""Exact optimal transport between two finite distributions, computed on the host."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..internal.derivatives import refuse_derivatives

SECOND = (
    "second derivatives of a transport cost are not available: a plan jumps where another becomes "
    "cheaper. Differentiate once."
)
# The tolerances of the linear program, the smallest that HiGHS accepts.
TOLERANCE = 1e-10


@jax.custom_jvp
def transport(
    cost: jax.Array, source: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the least cost of moving one distribution to another, and the plan that has it.

    The derivatives of the least cost are those of the envelope theorem: the plan for the costs, and
    the dual potentials for the probabilities. The plan is a constant under differentiation.

    Args:
      cost: (k, l) the cost of moving a unit from each point to each other point.
      source: (k,) probabilities, which sum to 1.
      target: (l,) probabilities, which sum to 1.

    Returns:
      The least cost () and the plan (k, l), whose sums over rows and columns are the probabilities.
    """
    plan, _, _ = _solve(cost, source, target)
    return jnp.sum(plan * cost), plan


@transport.defjvp
def _(primals, tangents):
    plan, by_source, by_target = _solve(*refuse_derivatives(list(primals), SECOND))
    cost, source, target = tangents
    value = jnp.sum(plan * primals[0])
    moved = jnp.sum(plan * cost) + jnp.sum(by_source * source) + jnp.sum(by_target * target)
    return (value, plan), (moved, jnp.zeros_like(plan))


def _solve(cost: jax.Array, source: jax.Array, target: jax.Array) -> Any:
    """Return the plan (k, l) and the dual potentials (k,) and (l,)."""
    k, l = cost.shape
    if k == 1 or l == 1:  # there is only one plan
        potentials = (cost[:, 0], jnp.zeros_like(target)) if l == 1 else (
            jnp.zeros_like(source), cost[0]
        )  # fmt: skip
        return source[:, None] * target[None], *potentials
    # The host's thread does not share JAX's 64-bit mode with this one, and would round float64 to
    # float32. Therefore numbers cross over as their bits.
    bits = [_to_bits(array) for array in (cost, source, target)]
    shapes = [jax.ShapeDtypeStruct(array.shape, jnp.uint32) for array in bits]
    on_host = functools.partial(_solve_on_host, np.dtype(cost.dtype))
    found = jax.pure_callback(on_host, shapes, *bits, vmap_method="sequential")
    return [_from_bits(array, cost.dtype) for array in found]


def _to_bits(array: jax.Array) -> jax.Array:
    """Return the bits of float numbers (…) as whole numbers (…, 1) or (…, 2) of 32 bits each."""
    bits = jax.lax.bitcast_convert_type(array, jnp.uint32)
    return bits.reshape(*array.shape, array.dtype.itemsize // 4)


def _from_bits(bits: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Return the float numbers with these bits."""
    one_word = bits.shape[-1] == 1
    return jax.lax.bitcast_convert_type(bits[..., 0] if one_word else bits, dtype)


def _solve_on_host(dtype: np.dtype, *bits: Any) -> list[np.ndarray]:
    """Solve the linear program in float64, by POT where it is installed and by SciPy elsewhere."""
    cost, source, target = (
        np.ascontiguousarray(array).view(dtype)[..., 0].astype(np.float64) for array in bits
    )
    parts = [np.full(array.shape, np.nan) for array in (cost, source, target)]
    if all(np.isfinite(array).all() for array in (cost, source, target)):
        scale = max(float(cost.max()), np.finfo(np.float64).tiny)
        solver = _by_linear_program if _pot() is None else _by_network_simplex
        plan, by_source, by_target = solver(
            cost / scale, source / source.sum(), target / target.sum()
        )
        parts = [plan, scale * by_source, scale * by_target]
    return [np.ascontiguousarray(part, dtype)[..., None].view(np.uint32) for part in parts]


@functools.cache
def _pot() -> ModuleType | None:
    """Return the library POT, or None if it is not installed."""
    try:
        import ot.lp
    except ImportError:
        return None
    return ot.lp


def _by_network_simplex(
    cost: np.ndarray, source: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pot = _pot()
    assert pot is not None
    plan, log = pot.emd(source, target, cost, log=True)
    return plan, log["u"], log["v"]


def _by_linear_program(
    cost: np.ndarray, source: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.optimize import linprog

    k, l = cost.shape
    rows = np.repeat(np.eye(k), l, axis=1)
    columns = np.tile(np.eye(l), (1, k))
    # The last condition follows from the others.
    found = linprog(
        cost.ravel(),
        A_eq=np.concatenate([rows, columns[:-1]]),
        b_eq=np.concatenate([source, target[:-1]]),
        method="highs-ds",
        options={
            "primal_feasibility_tolerance": TOLERANCE,
            "dual_feasibility_tolerance": TOLERANCE,
        },
    )
    if found.x is None:
        raise RuntimeError(f"the transport problem was not solved: {found.message}")
    potentials = np.append(found.eqlin.marginals, 0.0)
    return np.maximum(found.x, 0).reshape(k, l), potentials[:k], potentials[k:]
