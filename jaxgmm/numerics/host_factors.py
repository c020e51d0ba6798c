"""Triangular factors on the host, in NumPy."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def _positions_below_diagonal(d: int) -> np.ndarray:
    """Return the positions of the strict lower part in a flat (d, d) matrix, row by row."""
    return np.flatnonzero(np.tri(d, k=-1))


def assemble_on_host(diagonal: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return lower-triangular matrices (c, d, d), from diagonals and strict lower parts."""
    d = diagonal.shape[1]
    factor = np.zeros((len(diagonal), d * d))
    factor[:, :: d + 1] = diagonal
    factor[:, _positions_below_diagonal(d)] = lower
    return factor.reshape(-1, d, d)


def lower_factor(factor: np.ndarray) -> np.ndarray:
    """Return the lower-triangular V (c, d, d) with VᵀV = WᵀW and a positive diagonal.

    LAPACK is not used because it starts threads even for small matrices, and on a busy machine they
    wait for one another for seconds. Gram–Schmidt runs twice, and loses no digits then.

    Args:
      factor: invertible W (c, d, d). The result for a singular one is not finite.
    """
    matrix = np.array(factor)
    d = matrix.shape[-1]
    result = np.broadcast_to(np.eye(d), matrix.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(2):
            lower = np.zeros_like(matrix)
            for j in reversed(range(d)):
                lower[:, j, j] = np.sqrt(np.einsum("ci,ci->c", matrix[:, :, j], matrix[:, :, j]))
                matrix[:, :, j] /= lower[:, j, j, None]
                lower[:, j, :j] = np.einsum("ci,cij->cj", matrix[:, :, j], matrix[:, :, :j])
                matrix[:, :, :j] -= matrix[:, :, j, None] * lower[:, j, None, :j]
            result = np.einsum("cij,cjl->cil", lower, result)
    return result


def factors_of_axes(log_scales: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the triangular factors of diag(w) Dᵀ, as logarithms of diagonals and lower parts.

    Args:
      log_scales: log w (..., d).
      axes: D (..., d, d).

    Returns:
      Arrays (..., d) and (..., d(d−1)/2), the strict lower parts row by row.
    """
    *batch, d = log_scales.shape
    factor = np.exp(log_scales)[..., :, None] * np.swapaxes(axes, -1, -2)
    flat = lower_factor(factor.reshape(-1, d, d)).reshape(-1, d * d)
    diagonal, lower = flat[:, :: d + 1], flat[:, _positions_below_diagonal(d)]
    return np.log(diagonal).reshape(*batch, d), lower.reshape(*batch, -1)
