"""`as_one_cpu_function`: a part of a program that a CPU runs as one function of machine code.

XLA's CPU runtime calls every fusion of a program by itself, and divides some among threads. Where
they touch few numbers, this takes longer than the fusions do.

The part is a primitive, so that JAX leaves out none of its results: XLA does not compile a function
with a single result that it would divide among threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend import core
from jax.interpreters import ad, batching, mlir

Result = TypeVar("Result")

# XLA's CPU compiler makes one function of a call with these attributes. They are not documented, so
# they are used only with versions of JAX that the tests have run with.
TESTED = (0, 10) <= jax.__version_info__[:2] <= (0, 12)
ATTRIBUTES = {"xla_cpu_small_call": "true", "inlineable": "false"}

_function_p = core.Primitive("one_cpu_function")
_function_p.multiple_results = True


def as_one_cpu_function(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return `function` such that a CPU runs it as one function of machine code within a program.

    Derivatives and programs for other devices are those of `function` itself.

    Args:
      function: a function of arrays that returns a tuple of two or more arrays. It must have
        neither matrix products nor reductions, for which XLA calls libraries. It must use every
        argument, because XLA's compiler ends the process where one is unused.
    """

    def call(*arguments: jax.Array) -> Result:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        assert len(program.out_avals) > 1
        results = _function_p.bind(*arguments, program=program)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


@_function_p.def_abstract_eval
def _abstract(*_: Any, program: core.ClosedJaxpr) -> list[Any]:
    return program.out_avals


@_function_p.def_impl
def _run(*arguments: Any, program: core.ClosedJaxpr) -> Any:
    return jax.jit(lambda *arguments: _function_p.bind(*arguments, program=program))(*arguments)


def _on_cpu(context: Any, *arguments: Any, program: core.ClosedJaxpr) -> Any:
    function = jax.jit(core.jaxpr_as_fun(program))
    marked = lambda *arguments: set_xla_metadata(function(*arguments), **ATTRIBUTES)
    return mlir.lower_fun(marked, multiple_results=True)(context, *arguments)


def _elsewhere(context: Any, *arguments: Any, program: core.ClosedJaxpr) -> Any:
    return mlir.lower_fun(core.jaxpr_as_fun(program), multiple_results=True)(context, *arguments)


def _batch(arguments: Any, axes: Any, *, program: core.ClosedJaxpr) -> tuple[Any, list[int]]:
    batched = jax.make_jaxpr(jax.vmap(core.jaxpr_as_fun(program), axes))(*arguments)
    results = _function_p.bind(*arguments, program=batched)
    return results, [0] * len(results)


def _differentiate(primals: Any, tangents: Any, *, program: core.ClosedJaxpr) -> Any:
    along = tuple(map(ad.instantiate_zeros, tangents))
    return jax.jvp(lambda *primals: core.jaxpr_as_fun(program)(*primals), tuple(primals), along)


mlir.register_lowering(_function_p, _elsewhere)
if TESTED:
    mlir.register_lowering(_function_p, _on_cpu, platform="cpu")
batching.primitive_batchers[_function_p] = _batch
ad.primitive_jvps[_function_p] = _differentiate
