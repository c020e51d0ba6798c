"""Checks of the parameters of mixtures and priors. They continue `internal/checks.py`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..families.constraint_violations import violation
from ..families.family import Family
from ..families.finite_frame import finite_at
from ..families.registry import is_built_in
from ..internal import checks

# How close the search for a member has to come to the covariances, in standard deviations.
SEARCHED_PRECISION = 2e-3


def mixture_parameters(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
    """Raise ValueError if weights, means and dense covariances (k, d, d) are not of a mixture."""
    for name, values in (("weights", weights), ("means", means), ("covariances", covariances)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} contain NaN or infinity: pass finite numbers.")
    if (weights < 0).any():
        raise ValueError(
            f"weights[{int(np.argmax(weights < 0))}] is negative: pass weights of 0 or more."
        )
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
                f"covariances[{i}] is not positive definite: some linear combination of the "
                "features has no positive variance."
            ) from None


def member_of_family(covariances: np.ndarray, member: Family, family: str) -> None:
    """Raise ValueError if dense covariances (k, d, d) are not those of a member of a family.

    `member` is the one that was made from them.
    """
    factor = member.factor_on_host(covariances.shape[-1])
    if factor.ndim == 2:
        found = np.eye(factor.shape[1])[None] / factor[:, :, None] ** 2
    else:
        root = np.linalg.inv(factor)
        found = root @ np.swapaxes(root, 1, 2)
    scale = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    error = np.abs(found - covariances) / (scale[:, :, None] * scale[:, None, :])
    # The members of families of users are searched for, in JAX's own precision.
    precision = 1e-5 if member.letters else SEARCHED_PRECISION
    if not (error > precision).any():
        return
    reason = violation(covariances, member.letters) if member.letters else ""
    raise ValueError(
        f"these covariances are not of family {family!r}"
        + (f": {reason}." if reason else f": one is {error.max():.2g} from the nearest member.")
        + " Choose another family, or let from_responsibilities or fit find the nearest one."
    )


def finite_frame(covariance: Family, k: int, d: int, name: str) -> None:
    """Raise ValueError if the frame of a family of your own is not finite at a mixture's leaves.

    `name` is that of the mixture. Tracers are not checked. For the library's own families, only
    values that overflow have no finite frame; with those a fit ends as NONFINITE.
    """
    if not (is_built_in(type(covariance)) or checks.traced(covariance)):
        finite_at(covariance, k, d, name)


def mixture_weights(values: Any, name: str, k: int) -> jax.Array:
    """Return k positive weights (k,) that sum to 1, or raise ValueError.

    The values of tracers are not checked.
    """
    weights = checks.array(values, name)
    if weights.shape != (k,):
        raise ValueError(f"{name} has shape {weights.shape}: for {k} components pass ({k},).")
    if not checks.traced(weights):
        numbers = np.asarray(weights, np.float64)
        if not (numbers > 0).all() or not abs(numbers.sum() - 1) <= 1e-5:
            raise ValueError(f"{name} are {numbers}: pass positive weights that sum to 1.")
    return jnp.asarray(weights)


def prior_scatter(scatter: Any) -> None:
    """Raise ValueError if a matrix (d, d) is not symmetric or has a negative variance.

    Tracers are not checked.
    """
    if checks.traced(scatter):
        return
    matrix = np.asarray(scatter, np.float64)
    size = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-5 * size:
        raise ValueError("prior.scatter is not symmetric: pass (scatter + scatter.T) / 2.")
    if np.linalg.eigvalsh(matrix).min() < -1e-5 * size:
        raise ValueError(
            "prior.scatter has a negative variance: pass a sum of outer products, e.g. a multiple "
            "of a covariance matrix."
        )
