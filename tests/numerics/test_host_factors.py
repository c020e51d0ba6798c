"""Factors on the host of singular matrices, which are the axes of fits that fail."""

import warnings

import numpy as np
import pytest

from jaxgmm.numerics.host_factors import lower_factor


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.diag([1.0, 0.0]), np.full((2, 2), np.nan)])
def test_a_singular_matrix_has_no_finite_factor_and_no_warning(matrix):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        factor = lower_factor(np.stack([np.eye(2), matrix]))
    np.testing.assert_array_equal(factor[0], np.eye(2))
    assert not np.isfinite(factor[1]).all()
