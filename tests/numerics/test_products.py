"""Products of stacks of matrices of every size are those of NumPy."""

import jax
import numpy as np
import pytest

from jaxgmm.numerics.products import SMALL_MATRIX, matmul


@pytest.mark.parametrize("inner", [1, SMALL_MATRIX, SMALL_MATRIX + 1])
@pytest.mark.parametrize("columns", [2, SMALL_MATRIX + 1])
@pytest.mark.parametrize("shapes", [((4,), ()), ((3, 4), ()), ((3, 4), (1,)), ((3, 4), (3,))])
def test_stacks(shapes, inner, columns):
    """The second operand may be one matrix for the whole stack, and a constant of a program."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*shapes[0], inner)).astype(np.float32)
    b = rng.normal(size=(*shapes[1], inner, columns)).astype(np.float32)
    wide = a.astype(float) @ b
    for found in (jax.jit(matmul)(a, b), jax.jit(lambda a: matmul(a, b))(a)):
        np.testing.assert_allclose(found, wide, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("of_a", "of_b"), [((4,), (4, 2)), ((3, 4), (4,)), ((5, 3, 4), (4,))])
def test_vectors(of_a, of_b):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in (of_a, of_b))
    found = jax.jit(lambda a: matmul(a, b))(a)
    np.testing.assert_allclose(found, a.astype(float) @ b, rtol=1e-5, atol=1e-5)
