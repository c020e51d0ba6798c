"""The prior that corresponds to scikit-learn's `reg_covar`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..families.registry import family_class
from ..objective.prior import Prior

if TYPE_CHECKING:
    from .estimator import GaussianMixture


def regularization(estimator: GaussianMixture, weight: np.ndarray) -> Prior | None:
    """Return the prior that represents the estimator's `reg_covar`, or None if it is 0.

    Its pseudo-rows weigh as much as the rows, whose weights are `weight` (n,), and are divided
    equally among the covariances.
    """
    if estimator.reg_covar == 0:
        return None
    covariances = 1 if family_class(estimator.covariance_type).shared else estimator.n_components
    d, dtype = estimator.n_features_in_, weight.dtype
    scatter = estimator.reg_covar * (weight.sum() / covariances) * np.eye(d, dtype=dtype)
    # The leaves are NumPy arrays, which the compiled program takes as they are.
    return Prior(np.zeros((), dtype), scatter.astype(dtype))  # type: ignore[arg-type]
