"""Entries along an axis are combined as reductions do it, in a program that has no reduction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgmm.numerics.short_axis_sums import fold


@pytest.mark.parametrize("size", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("operation", [np.add, np.maximum])
def test_entries_are_combined_along_an_axis(operation, size):
    values = np.random.default_rng(size).integers(-99, 99, (3, size, 2))
    found = fold(operation, values, axis=1)
    np.testing.assert_array_equal(found, operation.reduce(values, axis=1, keepdims=True))


def test_the_program_has_no_reduction():
    program = jax.make_jaxpr(lambda values: fold(jnp.maximum, values, axis=0))(jnp.ones((9, 4)))
    assert "reduce" not in str(program)
