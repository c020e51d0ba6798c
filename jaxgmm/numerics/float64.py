"""`in_float64`: a function that is computed in float64 inside a float32 program.

JAX's 64-bit mode applies to a whole program, and outside of it the rules by which JAX
differentiates and batches a program round float64 to float32. Therefore the function is a primitive
of its own. The program around it, and all transformations of it, see float32 alone. JAX's 64-bit
mode is on only while the primitive is lowered to the compiler's language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from .products import matmul

# Parts of the names of GPUs whose float64 products take at most twice the time of float32's. Others
# take 32 or 64 times as long.
FAST_IN_FLOAT64 = {
    "P100", "V100", "A100", "A30", "H100", "H200", "GH200", "B200", "GB200", "Instinct"
}  # fmt: skip

_in_float64_p = core.Primitive("in_float64")
_in_float64_p.multiple_results = True

Function = Callable[..., Sequence[jax.Array]]
Shapes = tuple[jax.ShapeDtypeStruct, ...]


def in_float64(exact: Callable[..., Any], rounded: Callable[..., Any], *operands: Any) -> Any:
    """Return exact(*operands), computed in float64, in the dtype of the operands.

    Args:
      exact: a function of pytrees of arrays.
      rounded: the same function as it is computed in the dtype of the operands. Derivatives are
        those of `rounded`, and so are the shapes and dtypes of the result.
      *operands: the arguments, pytrees of floating-point arrays.
    """
    leaves, tree = jax.tree.flatten(operands)
    shape = jax.eval_shape(rounded, *operands)
    flat = lambda function: (
        lambda *leaves: jax.tree.leaves(function(*jax.tree.unflatten(tree, leaves)))
    )
    shapes, result_tree = jax.tree.flatten(shape)
    results = _in_float64_p.bind(
        *leaves, exact=flat(exact), rounded=flat(rounded), shapes=tuple(shapes)
    )
    return jax.tree.unflatten(result_tree, results)


def in_double_width(function: Callable[..., Any], *operands: Any) -> Any:
    """Return function(*operands) in the operands' dtype, with float32 computed in float64.

    It is for small computations whose rounding errors would affect every row. On TPUs, which
    emulate float64, and for float64 operands, it is function(*operands) itself.
    """
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(operands)}
    if dtypes == {jnp.dtype(jnp.float32)} and jax.default_backend() != "tpu":
        return in_float64(function, function, *operands)
    return function(*operands)


def product_in_two_parts(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the matrix product a b rounded to the dtype of both, and what rounding takes away.

    The second result is 0 for float64, and on TPUs.
    """
    plain = lambda a, b: (found := matmul(a, b), jnp.zeros_like(found))
    if a.dtype != jnp.float32 or jax.default_backend() == "tpu":
        return plain(a, b)

    def exact(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = matmul(a, b)
        high = found.astype(jnp.float32).astype(found.dtype)
        return high, found - high

    return in_float64(exact, plain, a, b)


def float64_is_fast() -> bool:
    """Return whether products in float64 take about twice the time of those in float32.

    They do on CPUs and on GPUs made for computing centers. On other GPUs they take many times as
    long, and TPUs emulate float64.
    """
    words = jax.devices()[0].device_kind.replace("-", " ").split()
    return jax.default_backend() == "cpu" or not FAST_IN_FLOAT64.isdisjoint(words)


@_in_float64_p.def_abstract_eval
def _abstract(*operands, shapes: Shapes, **_):
    return list(map(jax.typeof, shapes))


@_in_float64_p.def_impl
def _run(*operands, **parameters):
    return jax.jit(lambda *operands: _in_float64_p.bind(*operands, **parameters))(*operands)


def _lower(context, *operands, exact: Function, **_):
    def widened(*operands):
        results = exact(*(operand.astype(jnp.float64) for operand in operands))
        dtypes = (result.dtype for result in context.avals_out)
        return [result.astype(dtype) for result, dtype in zip(results, dtypes, strict=True)]

    with jax.enable_x64(True):
        return mlir.lower_fun(widened, multiple_results=True)(context, *operands)


def _differentiate(primals, tangents, *, rounded: Function, **parameters):
    active = [i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero]

    def of_active(*values):
        operands = list(primals)
        for i, value in zip(active, values, strict=True):
            operands[i] = value
        return rounded(*operands)

    results = _in_float64_p.bind(*primals, rounded=rounded, **parameters)
    along = jax.jvp(of_active, [primals[i] for i in active], [tangents[i] for i in active])[1]
    return results, along


def _batch(operands, axes, *, exact: Function, rounded: Function, shapes: Shapes):
    batched = lambda function: jax.vmap(function, axes)
    pairs = zip(operands, axes, strict=True)
    lanes = next(operand.shape[axis] for operand, axis in pairs if axis is not None)
    wider = tuple(jax.ShapeDtypeStruct((lanes, *shape.shape), shape.dtype) for shape in shapes)
    results = _in_float64_p.bind(
        *operands, exact=batched(exact), rounded=batched(rounded), shapes=wider
    )
    return results, [0] * len(results)


mlir.register_lowering(_in_float64_p, _lower)
ad.primitive_jvps[_in_float64_p] = _differentiate
batching.primitive_batchers[_in_float64_p] = _batch
