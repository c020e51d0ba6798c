"""Requests that a traced program makes of the host, which reads the rows of a stream.

A request is a primitive. Its parameter `function` is a traced function of a chunk: the rows x, of
which each device has a part (r, width), and their weights (r,). The first operands are the
constants of this function.

`total_p` requests the sum of the function over all chunks. `fold_p` requests that the function be
applied to one chunk after another; its other operands are the initial carry. `keep_p` requests that
the host keep what the function returns for each chunk. Its result is a number (), which a total can
have as its last operand; its function then also receives what was kept for the chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching

# A function of a chunk (x, weight), or of (x, weight, *what was kept for it).
OfChunk = Callable[..., Sequence[jax.Array]]
Shapes = Sequence[jax.ShapeDtypeStruct]


def _request(name: str, of_result: Callable[[core.Jaxpr], list[Any]]) -> core.Primitive:
    """Return a primitive; `of_result` says what it returns, from the function of a chunk."""
    primitive = core.Primitive(name)
    primitive.multiple_results = True
    primitive.def_abstract_eval(lambda *_, function, **__: of_result(function))
    return primitive


def _values_of(function: core.Jaxpr) -> list[Any]:
    return [variable.aval for variable in function.outvars]


total_p = _request("total_over_stream", _values_of)
fold_p = _request("fold_over_stream", _values_of)
keep_p = _request("keep_for_stream", lambda _: [jax.core.ShapedArray((), jnp.dtype("int32"))])


def total(function: OfChunk, chunk: Shapes, kept: jax.Array | None = None) -> list[jax.Array]:
    """Request Σ over chunks of function(x, weight, *kept for the chunk).

    Args:
      function: maps a chunk to a list of sums.
      chunk: the shapes of the arguments of `function`.
      kept: the number of what was kept, or None if `function` needs nothing of the kind.
    """
    traced = jax.make_jaxpr(function)(*chunk)
    number = () if kept is None else (kept,)
    return total_p.bind(*traced.consts, *number, function=traced.jaxpr)


def fold(
    function: Callable[..., Sequence[jax.Array]], chunk: Shapes, carry: Sequence[jax.Array]
) -> list[jax.Array]:
    """Request that carry = function(carry, x, weight) be applied to one chunk after another."""
    traced = jax.make_jaxpr(function)([jax.typeof(leaf) for leaf in carry], *chunk)
    return fold_p.bind(*traced.consts, *carry, function=traced.jaxpr)


def keep(function: OfChunk, chunk: Shapes) -> tuple[jax.Array, list[jax.ShapeDtypeStruct]]:
    """Request that function(x, weight) be kept for each chunk.

    Returns:
      The number () of what is kept, and its shapes for a chunk.
    """
    traced = jax.make_jaxpr(function)(*chunk)
    (number,) = keep_p.bind(*traced.consts, function=traced.jaxpr)
    return number, [shape_of(variable) for variable in traced.jaxpr.outvars]


def uses_kept(operands: Sequence[Any], function: core.Jaxpr) -> bool:
    """Return whether the operands of a total end with the number of what was kept."""
    return len(operands) > len(function.constvars)


def shape_of(variable: core.Var | core.Literal) -> jax.ShapeDtypeStruct:
    """Return the shape and the dtype of a variable of a traced function."""
    aval: Any = variable.aval  # of an array: a ShapedArray
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def _shapes_of(function: core.Jaxpr) -> list[jax.ShapeDtypeStruct]:
    return [shape_of(variable) for variable in function.invars]


def _total_jvp(primals, tangents, *, function):
    """Compute a sum and its derivative as one sum. What was kept has no derivative."""
    count = len(function.constvars)
    constants, number = primals[:count], primals[count:]
    tangents = tangents[:count]
    active = [i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero]

    def of_chunk(*chunk):
        def value(*active_values):
            all_constants = list(constants)
            for i, constant in zip(active, active_values, strict=True):
                all_constants[i] = constant
            return core.jaxpr_as_fun(core.ClosedJaxpr(function, all_constants))(*chunk)

        primal_values = [constants[i] for i in active]
        values, derivatives = jax.jvp(value, primal_values, [tangents[i] for i in active])
        return [*values, *derivatives]

    sums = total(of_chunk, _shapes_of(function), *number)
    return sums[: len(sums) // 2], sums[len(sums) // 2 :]


def _total_batched(operands, axes, *, function):
    """Compute the sums of all lanes as one sum."""
    count = len(function.constvars)
    constants, number = operands[:count], operands[count:]
    if any(axis is not None for axis in axes[count:]):
        raise NotImplementedError("the rows of a stream are divided in one way for all lanes.")

    def of_chunk(*chunk):
        of_lane = lambda *own: core.jaxpr_as_fun(core.ClosedJaxpr(function, own))(*chunk)
        return jax.vmap(of_lane, axes[:count])(*constants)

    sums = total(of_chunk, _shapes_of(function), *number)
    return sums, [0] * len(sums)


ad.primitive_jvps[total_p] = _total_jvp
batching.primitive_batchers[total_p] = _total_batched
