"""Changes of units by powers of two, which round no number that is stored as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.typing import DTypeLike

# log 2 = HIGH + LOW (Cody & Waite 1980). HIGH has 9 bits, so that its products with exponents are
# exact.
HIGH = 355 / 512
LOW = -2.1219444005469057e-4


def power_of_two(exponent: Any, dtype: DTypeLike) -> Any:
    """Return 2 to the power of an integer, or of each integer in an array."""
    return np.ldexp(np.ones((), dtype), exponent)


def add_logarithm_of_power(values: Any, exponent: int) -> Any:
    """Return values + exponent log 2, where only the large part of the sum is rounded."""
    dtype = values.dtype
    return (values + np.asarray(exponent * LOW, dtype)) + np.asarray(exponent * HIGH, dtype)
