"""Estimators for scikit-learn: `from jaxgmm.sklearn import GaussianMixture`.

This package needs scikit-learn, which nothing else in jaxgmm imports.
"""

from .convert import from_sklearn, to_sklearn
from .estimator import GaussianMixture
from .regressor import GaussianMixtureRegressor

__all__ = ["GaussianMixture", "GaussianMixtureRegressor", "from_sklearn", "to_sklearn"]
