"""Compiler options that trade the speed of a program for the time it takes to compile."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from . import checks

Option = tuple[str, Any]

# XLA's CPU compiler has two ways to generate code for a fusion. Without MLIR, compilation takes two
# thirds of the time, and the code is slower by a sixth. (Only some versions of XLA have both.)
PLAIN_FUSIONS: Option = ("xla_cpu_use_fusion_emitters", False)
# A third of the optimizations of machine code take three quarters of the time, and the code is as
# fast for loops over small arrays.
LESS_OPTIMIZED: Option = ("xla_backend_optimization_level", 1)
# XLA's CPU compiler divides a program into parts, which it compiles in parallel. Each part costs a
# few milliseconds.
FEW_PARTS: Option = ("xla_cpu_parallel_codegen_split_count", 4)
# By default XLA asks of every loop how often it runs, and copies the loop to find out. Without this
# question, a fit takes 6 to 19 percent less time to compile, most with loops inside its loop. Its
# code is as fast. That of many fits at once is slower, and takes no less time to compile.
LOOPS_NOT_COUNTED: Option = (
    "xla_disable_hlo_passes", "simplify-while-loops,while-loop-trip-count-annotator"
)  # fmt: skip
# Without optimization of machine code, compilation takes a quarter of the time, and the code is
# about five times slower.
NOT_OPTIMIZED: Option = ("xla_backend_optimization_level", 0)
# XLA's CPU compiler calls a library for matrix products, and by default also for sums and maxima.
# Each call ends a fusion. If many lanes share a product, calls for sums and maxima cost a tenth.
PRODUCTS_ALONE: Option = (
    "xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_DOT"
)  # fmt: skip
# If a step of all fits in a batch is less work than this (rows × components × features²), the fits
# take less time than the compilation of their program.
LITTLE_TO_RUN = 1e7
# The same for a single fit, which may be run hundreds of times. Its program takes half as long to
# compile (1.6 to 10 s otherwise), and its steps take up to half as long again, 5 to 40 µs.
LITTLE_FOR_ONE_FIT = 1e5
# If a few passes are less work than this (rows × features²), unoptimized code takes a millisecond
# longer to run and half a second less to compile.
LITTLE_TO_RUN_ONCE = 1e6
# If a program that runs once touches fewer numbers than this, the same holds for it.
FEW_NUMBERS = 1e7


def is_little_for_one_fit(n: int, means: jax.Array) -> bool:
    """Return whether a step of a fit of n rows, with means (k, d), is very little work.

    The program of the fit should then be compiled quickly.
    """
    k, d = means.shape[-2:]
    return n * k * d**2 < LITTLE_FOR_ONE_FIT


@functools.cache
def _supported(*options: Option) -> tuple[Option, ...]:
    """Return those of the options that this version of XLA accepts."""
    try:  # all of them together, since each try compiles a program
        jax.jit(jnp.negative, compiler_options=dict(options)).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return sum(map(_supported, options), ()) if len(options) > 1 else ()
    return options


def jit_with_options(
    function: Callable[..., Any],
    quickly: bool = False,
    runs_once: bool = False,
    products: bool = False,
    one_fit: bool = False,
) -> Callable[..., Any]:
    """Return `function` under jit with compiler options.

    Args:
      function: a function whose first argument is static.
      quickly: whether to spend less time on compilation; only for CPUs.
      runs_once: with `quickly`, whether the program runs so little that its code need not be
        optimized.
      products: whether most of the work is matrix products that many lanes share; only for CPUs.
      one_fit: with `quickly`, whether the program is the loop of a single fit.
    """
    # An option of a program would take precedence over JAX's own setting.
    unoptimized = runs_once or jax.config.read("jax_disable_most_optimizations")
    return _jit(function, quickly, unoptimized, products, one_fit)


@functools.cache
def _jit(
    function: Callable[..., Any], quickly: bool, unoptimized: bool, products: bool, one_fit: bool
) -> Callable[..., Any]:
    level = NOT_OPTIMIZED if unoptimized else LESS_OPTIMIZED
    wanted = [PLAIN_FUSIONS, FEW_PARTS, level] * quickly
    wanted += [LOOPS_NOT_COUNTED] * (quickly and one_fit)
    wanted += [PRODUCTS_ALONE] * products
    options = dict(_supported(*wanted)) if wanted else None
    return jax.jit(function, static_argnums=0, compiler_options=options)


def is_outermost(*arguments: Any) -> bool:
    """Return whether a program with these arguments would not be part of a larger one.

    Only then may it have compiler options. Inside jit even a new array is traced.
    """
    return not checks.traced(arguments, jnp.zeros(()))


def call_with_options(
    program: Callable[..., Any], plain: Callable[..., Any], *arguments: Any
) -> Any:
    """Return program(*arguments), or plain(*arguments) if that is part of a larger program.

    No argument tells that a static function closes over a traced value, such as a learning rate.

    Args:
      program: a function with compiler options.
      plain: the same function without them.
      arguments: their arguments.
    """
    try:
        return program(*arguments)
    except ValueError as error:
        if "compiler_options" not in str(error):
            raise
    return plain(*arguments)


def jit_once(function: Callable[..., Any], numbers: float) -> Callable[..., Any]:
    """Return `function` under jit for a program that is called about once.

    Args:
      function: a function whose first argument is static.
      numbers: how many numbers the program computes. Machine code is optimized only for many, and
        where the program is part of a larger one.
    """
    is_little = jax.default_backend() == "cpu" and numbers < FEW_NUMBERS

    def call(static: Any, *arguments: Any) -> Any:
        plain = jit_with_options(function)
        if not is_little or not is_outermost(arguments):
            return plain(static, *arguments)
        quick = jit_with_options(function, quickly=True, runs_once=True)
        return call_with_options(quick, plain, static, *arguments)

    return call
