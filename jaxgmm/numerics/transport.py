"""Exact optimal transport between two finite distributions, computed on the host."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.derivatives import refuse_derivatives

SECOND = (
    "second derivatives of a transport cost are not available: a plan jumps where another becomes "
    "cheaper. Differentiate once."
)
# The tolerances of the linear program, the smallest that HiGHS accepts.
TOLERANCE = 1e-10


@jax.custom_jvp
def transport(cost: jax.Array, source: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
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
    # float32. Therefore numbers cross over as their bits, in one array, since each costs time.
    joined = jnp.concatenate([cost.reshape(-1), source, target])
    words = joined.dtype.itemsize // 4
    bits = jax.lax.bitcast_convert_type(joined, jnp.uint32).reshape(-1, words)
    on_host = functools.partial(_solve_on_host, np.dtype(cost.dtype), k)
    shape = jax.ShapeDtypeStruct(bits.shape, jnp.uint32)
    found = jax.pure_callback(on_host, shape, bits, vmap_method="sequential")
    found = jax.lax.bitcast_convert_type(found[:, 0] if words == 1 else found, cost.dtype)
    return found[: k * l].reshape(k, l), found[k * l : -l], found[-l:]


def _solve_on_host(dtype: np.dtype, k: int, bits: Any) -> np.ndarray:
    """Solve the linear program in float64, by POT where it is installed and by SciPy elsewhere.

    Args:
      dtype: the dtype of the numbers.
      k: the number of points of the source.
      bits: the costs, row by row, and the probabilities of both sides, as words of 32 bits.

    Returns:
      The bits of the plan and of the dual potentials, in the same order.
    """
    joined = np.ascontiguousarray(bits).view(dtype)[:, 0].astype(np.float64)
    l = (len(joined) - k) // (k + 1)
    cost, source, target = joined[: k * l].reshape(k, l), joined[k * l : -l], joined[-l:]
    found = np.full(len(joined), np.nan)
    if np.isfinite(joined).all():
        scale = max(float(cost.max()), np.finfo(np.float64).tiny)
        solver = _by_linear_program if _pot() is None else _by_network_simplex
        plan, *potentials = solver(cost / scale, source / source.sum(), target / target.sum())
        found = np.concatenate([plan.ravel(), *(scale * potential for potential in potentials)])
    return found.astype(dtype)[:, None].view(np.uint32)


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
