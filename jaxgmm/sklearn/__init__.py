"""Estimators for scikit-learn: `from jaxgmm.sklearn import GaussianMixture`.

This package needs scikit-learn, which nothing else in jaxgmm imports.
"""

from .convert import from_sklearn, to_sklearn
from .estimator import GaussianMixture

__all__ = ["GaussianMixture", "from_sklearn", "to_sklearn"]
