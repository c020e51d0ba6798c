"""Programs of small fits are compiled quickly, which changes nothing but rounding."""

import chex
import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data import arrays
from jaxgmm.internal import compiling


@pytest.fixture
def quickly(monkeypatch):
    """The list that receives, for each program with compiler options, whether it is quick."""
    found, original = [], arrays.jit_with_options

    def jit_with_options(function, quickly=False, **options):
        found.append(quickly)
        return original(function, quickly, **options)

    monkeypatch.setattr(arrays, "jit_with_options", jit_with_options)
    return found


@pytest.fixture
def problem(iris):
    x = iris[:, :2].astype(np.float32)
    return x, jaxgmm.initialize(jax.random.key(0), x, 3)


def test_a_small_fit_is_compiled_quickly_and_a_larger_one_is_not(problem, quickly, monkeypatch):
    x, start = problem
    prior = jaxgmm.Prior.from_data(x)
    del quickly[:]
    small = jaxgmm.fit(x, start, prior=prior)
    assert quickly == [True]
    # The rows of 150 irises count with 3 components and 2² products of features.
    monkeypatch.setattr(compiling, "LITTLE_FOR_ONE_FIT", 150 * 3 * 2**2)
    larger = jaxgmm.fit(x, start, prior=prior)
    assert quickly == [True]
    assert small.steps == larger.steps
    chex.assert_trees_all_close(small.mixture, larger.mixture, rtol=1e-4, atol=1e-5)


def test_a_fit_within_a_program_has_no_options(problem, quickly):
    x, start = problem
    prior = jaxgmm.Prior.from_data(x)
    del quickly[:]
    within = jax.jit(lambda x: jaxgmm.fit(x, start, prior=prior, max_steps=3).objective)(x)
    assert not quickly
    alone = jaxgmm.fit(x, start, prior=prior, max_steps=3).objective
    np.testing.assert_allclose(within, alone, rtol=1e-5)


def test_jax_s_own_setting_leaves_programs_unoptimized():
    """The tests run with the setting; a program has the options of one that is to run once."""
    quick = lambda **options: compiling.jit_with_options(_program, quickly=True, **options)
    assert quick() is quick(runs_once=True)
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        assert quick() is not quick(runs_once=True)
    finally:
        jax.config.update("jax_disable_most_optimizations", True)


def _program(static, x):
    return x
