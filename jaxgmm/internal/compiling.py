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
# If a few passes are less work than this (rows × features²), unoptimized code takes a millisecond
# longer to run and half a second less to compile.
LITTLE_TO_RUN_ONCE = 1e6
# If a program that runs once touches fewer numbers than this, the same holds for it.
FEW_NUMBERS = 1e7


@functools.cache
def _is_supported(option: Option) -> bool:
    """Return whether this version of XLA accepts the option."""
    try:
        jax.jit(jnp.negative, compiler_options=dict([option])).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


@functools.cache
def jit_with_options(
    function: Callable[..., Any],
    quickly: bool = False,
    runs_once: bool = False,
    products: bool = False,
) -> Callable[..., Any]:
    """Return `function` under jit with compiler options.

    Args:
      function: a function whose first argument is static.
      quickly: whether to spend less time on compilation; only for CPUs.
      runs_once: with `quickly`, whether the program runs so little that its code need not be
        optimized.
      products: whether most of the work is matrix products that many lanes share; only for CPUs.
    """
    wanted = [PLAIN_FUSIONS] * quickly + [NOT_OPTIMIZED] * (quickly and runs_once)
    wanted += [PRODUCTS_ALONE] * products
    options = dict(option for option in wanted if _is_supported(option))
    return jax.jit(function, static_argnums=0, compiler_options=options)


def is_outermost(*arguments: Any) -> bool:
    """Return whether a program with these arguments would not be part of a larger one.

    Only then may it have compiler options. Inside jit even a new array is traced.
    """
    return not checks.traced(arguments, jnp.zeros(()))


def jit_once(function: Callable[..., Any], numbers: float) -> Callable[..., Any]:
    """Return `function` under jit for a program that is called about once.

    Args:
      function: a function whose first argument is static.
      numbers: how many numbers the program computes. Machine code is optimized only for many, and
        where the program is part of a larger one.
    """
    is_little = jax.default_backend() == "cpu" and numbers < FEW_NUMBERS

    def call(static: Any, *arguments: Any) -> Any:
        little = is_little and is_outermost(arguments)
        return jit_with_options(function, quickly=little, runs_once=little)(static, *arguments)

    return call
