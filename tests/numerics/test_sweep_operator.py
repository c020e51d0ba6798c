"""The sweep operator against inverses of NumPy."""

import numpy as np

from jaxgmm.numerics.sweep_operator import sweep


def test_swept_matrices_hold_the_inverse(x64):
    """They hold 2 I − R⁻¹, R⁻¹ r and −rᵀR⁻¹r; rows and components have their own matrices."""
    rng = np.random.default_rng(0)
    k, b, d = 2, 5, 4
    root = rng.normal(size=(k, b, d, d))
    whole = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(d)
    scale = 1 / np.sqrt(np.diagonal(whole, axis1=-2, axis2=-1))
    whole = whole * scale[..., :, None] * scale[..., None, :]
    r = rng.normal(size=(k, b, d))
    bordered = np.zeros((k, b, d + 1, d + 1))
    bordered[..., :d, :d], bordered[..., :d, d], bordered[..., d, :d] = whole, r, r
    swept, logarithm = sweep(np.moveaxis(bordered, 1, -1), d)
    swept = np.moveaxis(np.asarray(swept), -1, 1)
    inverse = np.linalg.inv(whole)
    solved = np.einsum("kbij,kbj->kbi", inverse, r)
    np.testing.assert_allclose(swept[..., :d, :d], 2 * np.eye(d) - inverse, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(swept[..., :d, d], solved, rtol=1e-10)
    np.testing.assert_allclose(swept[..., d, d], -np.sum(r * solved, axis=-1), rtol=1e-10)
    np.testing.assert_allclose(logarithm, np.linalg.slogdet(whole)[1], rtol=1e-10)
