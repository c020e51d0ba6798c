"""The front door for the parameters of mixtures and priors: continues `checks.py`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks


def mixture_parameters(weights, means, covariances) -> None:
    """Weights, means and dense covariances (k, d, d) as NumPy arrays describe a mixture."""
    for name, values in (("weights", weights), ("means", means), ("covariances", covariances)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold NaN or infinity.")
    if (weights < 0).any():
        raise ValueError(f"weights[{int(np.argmax(weights < 0))}] is negative: weights are shares.")
    if abs(weights.sum() - 1) > 1e-5:
        raise ValueError(f"weights sum to {weights.sum():.6g}, not 1: divide them by their sum.")
    for i, sigma in enumerate(covariances):
        scale = np.sqrt(np.abs(np.diag(sigma)))
        if (np.abs(sigma - sigma.T) > 1e-5 * np.outer(scale, scale)).any():
            raise ValueError(
                f"covariances[{i}] is not symmetric: pass (covariance + covariance.T) / 2."
            )
        if (np.diag(sigma) <= 0).any():
            feature = int(np.argmax(np.diag(sigma) <= 0))
            raise ValueError(
                f"covariances[{i}] is not positive definite: feature {feature} has variance "
                f"{sigma[feature, feature]:.6g}."
            )
        try:
            np.linalg.cholesky(sigma / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            raise ValueError(
                f"covariances[{i}] is not positive definite: some combination of the features has "
                "no positive variance."
            ) from None


def held_by_family(covariances, kept, family: str, own_shape) -> None:
    """Dense covariances that a family holds without loss, given what it keeps of them."""
    scale = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    if (np.abs(kept - covariances) > 1e-5 * scale[:, :, None] * scale[:, None, :]).any():
        raise ValueError(
            f"these dense covariances are not of family {family!r}: pass them in its own shape "
            f"{own_shape}, or choose another family."
        )


def shares(values, name: str, k: int) -> jax.Array:
    """k positive shares (k,) that sum to 1; tracers pass."""
    found = checks.array(values, name)
    if found.shape != (k,):
        raise ValueError(f"{name} has shape {found.shape}: for {k} components pass ({k},).")
    if not checks.traced(found):
        numbers = np.asarray(found, np.float64)
        if not (numbers > 0).all() or not abs(numbers.sum() - 1) <= 1e-5:
            raise ValueError(f"{name} are {numbers}: pass positive shares that sum to 1.")
    return jnp.asarray(found)


def prior_scatter(scatter) -> None:
    """A symmetric matrix with no negative variance; tracers pass."""
    if checks.traced(scatter):
        return
    matrix = np.asarray(scatter, np.float64)
    size = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-5 * size:
        raise ValueError("prior.scatter is not symmetric: pass (scatter + scatter.T) / 2.")
    if np.linalg.eigvalsh(matrix).min() < -1e-5 * size:
        raise ValueError("prior.scatter has a negative variance: it is a sum of outer products.")
