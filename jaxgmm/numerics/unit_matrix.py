"""Unit matrices that are constants of a program."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

# Larger matrices are computed, since constants take memory in every program.
LARGEST_CONSTANT = 64


def unit_matrix(d: int, dtype: DTypeLike) -> Any:
    """Return I (d, d), an array of NumPy or of JAX.

    Where two places of a loop use `jnp.eye`, XLA computes it before the loop, once for each place.
    It then takes the two for different matrices, and computes everything again that follows from
    both. A constant is the same one everywhere.
    """
    return jnp.eye(d, dtype=dtype) if d > LARGEST_CONSTANT else _constant(d, np.dtype(dtype))


@functools.cache
def _constant(d: int, dtype: np.dtype) -> np.ndarray:
    matrix = np.eye(d, dtype=dtype)
    matrix.flags.writeable = False
    return matrix
