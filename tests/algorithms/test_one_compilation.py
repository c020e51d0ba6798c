"""Every algorithm compiles once for a shape, whatever the rows, the start and the settings are."""

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data import arrays
from jaxgmm.internal.compiling import jit_with_options


@pytest.mark.thorough
@pytest.mark.parametrize("name", jaxgmm.ALGORITHMS)
def test_a_second_fit_compiles_nothing(name):
    def fit(seed, tolerance, max_steps):
        x = np.random.default_rng(seed).normal(size=(200, 2)).astype(np.float32)
        start = jaxgmm.initialize(jax.random.key(seed), x, 2)
        return jaxgmm.fit(x, start, name, tolerance=tolerance, max_steps=max_steps)

    # The program that `ArrayData.compute` runs for a small fit.
    program = jit_with_options(arrays._call_function, quickly=True, one_fit=True)
    before = program._cache_size()
    first = fit(0, 1e-6, 3)
    compiled = program._cache_size()
    second = fit(1, 1e-7, 4)
    assert program._cache_size() == compiled > before
    assert first.objective != second.objective
