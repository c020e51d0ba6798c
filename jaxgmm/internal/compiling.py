"""How thoroughly XLA compiles a program: quickly, where compiling is most of what is waited for."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

# XLA's CPU compiler has two ways to make code of a fusion. The one without MLIR compiles in two
# thirds of the time, and what it makes is a sixth slower. (Only some versions of XLA have both.)
PLAIN_FUSIONS = ("xla_cpu_use_fusion_emitters", False)
# Machine code as it comes: compiled in a quarter of the time, and some five times slower.
NOT_OPTIMIZED = ("xla_backend_optimization_level", 0)
# XLA's CPU compiler calls a library for products, and for sums and maxima too, which ends a fusion:
# where many lanes share a product these are the slower for it, by a tenth.
PRODUCTS_ALONE = ("xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_DOT")
# Where a step of all fits side by side computes less than this (rows × components × features²),
# they take less time than their program takes to compile.
LITTLE_TO_RUN = 1e7
# A few passes over less than this (rows × features²) take a millisecond longer in code that is not
# optimized, which is compiled in half a second less.
LITTLE_TO_RUN_ONCE = 1e6


@functools.cache
def _known(option: tuple) -> bool:
    """Whether this XLA takes the option."""
    try:
        jax.jit(jnp.negative, compiler_options=dict([option])).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


@functools.cache
def jit_with_options(
    function, quickly: bool = False, runs_once: bool = False, products: bool = False
):
    """`function`, its first argument static, under jit.

    Args:
      quickly: whether to spare the compiler's time; for CPUs.
      runs_once: whether, if so, the program runs so little that its code need not be optimized.
      products: whether most of its work is products that many lanes share; for CPUs.
    """
    wanted = [PLAIN_FUSIONS] * quickly + [NOT_OPTIMIZED] * (quickly and runs_once)
    wanted += [PRODUCTS_ALONE] * products
    options = dict(option for option in wanted if _known(option))
    return jax.jit(function, static_argnums=0, compiler_options=options)
