"""The values that the parameters of `GaussianMixture` may have, as scikit-learn checks them."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..algorithms.registry import ALGORITHMS
from ..families.factors import is_low_rank
from ..families.low_rank import LowRank
from ..families.registry import FOURTEEN


class FamilyName(StrOptions):
    """scikit-learn's description of a parameter that takes a family.

    Its options are those that messages list; families with factors are accepted too.
    """

    def is_satisfied_by(self, val: object) -> bool:
        """Return whether the value is one of the options, or a family with factors."""
        low_rank = isinstance(val, type) and issubclass(val, LowRank)
        return low_rank or is_low_rank(val) or super().is_satisfied_by(val)


CONSTRAINTS = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "covariance_type": [FamilyName({"full", "tied", "diag", "spherical", *FOURTEEN})],
    "tol": [Interval(Real, 0.0, None, closed="left")],
    "reg_covar": [Interval(Real, 0.0, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "init_params": [StrOptions({"kmeans", "k-means++", "random", "random_from_data"})],
    "weights_init": ["array-like", None],
    "means_init": ["array-like", None],
    "precisions_init": ["array-like", None],
    "random_state": ["random_state"],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
    "algorithm": [StrOptions(set(ALGORITHMS)), HasMethods(["init", "move"])],
}
