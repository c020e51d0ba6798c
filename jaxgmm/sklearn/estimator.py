"""`GaussianMixture`, a scikit-learn estimator that is fitted by jaxgmm.

This module needs scikit-learn, which is imported only by `jaxgmm.sklearn`.
"""

from __future__ import annotations

import warnings

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight

from ..algorithms.protocol import Algorithm
from ..algorithms.registry import by_name
from ..data.columns import Columns
from ..data.observed import pack
from ..data.row_checks import ends
from ..families.family import Family
from ..fitting.result import Fit
from ..fitting.settings import MOST_STEPS, capacity
from ..fitting.status import Status
from ..inference.parameters import Parameters
from ..inference.uncertainty import uncertainty
from ..internal import checks, forks
from ..internal.compiling import jit_with_options
from ..mixture.component_rounding_warnings import warn_of_coarse_components
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..selection.best_of_restarts import best_lane
from .constraints import CONSTRAINTS
from .convert import fitted_attributes
from .iterations import EstimatorSettings, IterationLimits, run_fits
from .observed_starts import make_observed_starts, observed_rows
from .prediction import PredictionMixin
from .regularization import regularization
from .rows import plain_weight
from .starts import is_quick, make_starts, pad_rows, pad_weight


class GaussianMixture(PredictionMixin, DensityMixin, BaseEstimator):
    """Gaussian mixture with scikit-learn's parameters, attributes and random starts.

    All starts are fitted in one batch by one compiled program. Float64 rows are computed in float64
    and float32 rows in float32, whatever JAX's 64-bit mode is. `fit` takes row weights. These
    parameters differ from scikit-learn's:

    - `reg_covar` is a prior: each covariance has n / n_components pseudo-rows (tied: n) of variance
      reg_covar in every direction. A component with n / n_components rows is regularized as in
      scikit-learn, and every step increases the objective. The lower bounds are values of this
      objective, per row.
    - `algorithm` is "em", "squarem", "lbfgs", "adam", any other name in `jaxgmm.ALGORITHMS`, or any
      `jaxgmm.Algorithm`. The last step of each fit is an EM step.
    - A start that fails is ignored unless all starts fail. scikit-learn raises ValueError for the
      first one that fails.

    With reg_covar = 0 and "em", a fit from the same start agrees with scikit-learn's to rounding:
    it makes the same iterations and stops at the same one. An iteration is an E-step and an M-step,
    and its lower bound is that of its E-step. So `lower_bound_` belongs to the parameters before
    the last M-step, and `score(X)` is a little higher. With max_iter = 0 the last start is the
    result, and lower_bound_ is −inf.

    Args:
      n_components: the number of components.
      covariance_type: "full", "tied", "diag" or "spherical", or one of mclust's fourteen, such as
        "VEV" (see `jaxgmm.FAMILIES`), or a family with factors, such as "factors-2" or
        `jaxgmm.factors(2)`.
      tol: a fit stops when the lower bound changes by less than tol, in nats per row.
      reg_covar: the variance of the prior's pseudo-rows, in squared units of the data.
      max_iter: the largest number of iterations.
      n_init: the number of starts.
      init_params: "kmeans", "k-means++", "random" or "random_from_data".
      weights_init: (k,) weights of every start, or None.
      means_init: (k, d) means of every start, or None.
      precisions_init: precisions of every start in scikit-learn's shape, or None.
      random_state: a seed, a `numpy.random.RandomState`, or None.
      warm_start: whether a second call of `fit` starts from the result of the first.
      verbose: whether to print how each start ended.
      verbose_interval: has no effect; scikit-learn has this parameter.
      algorithm: the algorithm, by name or as a `jaxgmm.Algorithm`.

    Attributes:
      weights_: (k,) component weights.
      means_: (k, d) means.
      covariances_: covariances, in scikit-learn's shape for the covariance type.
      precisions_: inverses of the covariances, in the same shape.
      precisions_cholesky_: Cholesky factors of the precisions, in the same shape.
      converged_: whether the stopping rule was met.
      n_iter_: the number of iterations of the best fit.
      lower_bound_: the last lower bound of the best fit, in nats per row.
      lower_bounds_: the lower bound of each iteration.
      n_features_in_: d.
      feature_names_in_: names of the features, if X is a table with string column names.
      mixture_: the fitted `jaxgmm.Mixture`.

    >>> from jaxgmm.sklearn import GaussianMixture
    >>> x = np.concatenate([np.zeros((20, 1)), np.ones((30, 1))]) + np.linspace(0, 0.1, 50)[:, None]
    >>> model = GaussianMixture(2, random_state=0).fit(x)
    >>> np.sort(model.weights_).round(2), model.predict_proba(x).shape
    (array([0.4, 0.6]), (50, 2))
    """

    _parameter_constraints = CONSTRAINTS

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str | type[Family] = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        algorithm: str | Algorithm = "em",
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.algorithm = algorithm

    # ---- fitting --------------------------------------------------------------------------------

    _accepts_missing = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        noise: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> GaussianMixture:
        """Fit the mixture from `n_init` starts and store the best fit.

        Args:
          X: (n, d) rows, at least two: any array, list or table of real numbers. NaN is a missing
            value.
          y: is ignored.
          sample_weight: (n,) row weights, not negative, or None for ones.
          noise: the known variances or covariances of the noise of X, as for `jaxgmm.Observed`.
          labels: (n,) known components from 0, or −1 where they are unknown. With missing values,
            noise or labels, starts are those of `jaxgmm.initialize`.

        Returns:
          The estimator itself. With `warm_start`, a second call continues from the result of the
          first.

        Raises:
          ValueError: for fewer rows of positive weight than components, and if no start leads to
            finite covariances (which happens with reg_covar = 0 if there are fewer distinct rows
            than a component needs).

        Warns:
          ConvergenceWarning: if the best fit did not converge within max_iter iterations.
        """
        forks.raise_if_forked()
        self._validate_params()
        x = self._validate_rows(X, ensure_min_samples=2, allow_missing=True)
        sample_weight = plain_weight(sample_weight)
        weight = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
        observed = observed_rows(x, noise, labels, weight > 0)
        x, weight = x[weight > 0], weight[weight > 0]
        if len(x) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {len(x)}"
            )
        prior, total = regularization(self, weight), weight.sum(dtype=np.float64)
        extent = ends(x)
        with jax.enable_x64(bool(x.dtype == np.float64)):
            resumes = self.warm_start and hasattr(self, "converged_")
            columns = None
            if observed is not None:
                packed = pack(observed)
                columns = packed.columns
                columns.check_components(self.n_components)
            if resumes:
                starts = [self.mixture_]
            elif observed is not None:
                starts = make_observed_starts(self, observed, weight)
            else:
                starts = make_starts(self, x, weight, prior, weighted=sample_weight is not None)
            if self.max_iter == 0:
                self._store(starts[-1], Status.MAX_STEPS, [])
                warn_of_coarse_components(starts[-1], extent)
                return self
            rule = IterationLimits(
                tolerance=np.asarray(self.tol * total, x.dtype),
                max_iter=np.int32(self.max_iter),
                previous=np.asarray(self.lower_bound_ * total if resumes else -np.inf, x.dtype),
            )
            if columns is not None:
                x = np.asarray(packed.x)
            best = self._fit_starts(x, weight, starts, prior, rule, columns)
            bounds = np.asarray(best.history, np.float64)[: int(best.steps) + 1] / total
            self._store(best.mixture, Status(int(best.status)), bounds.tolist())
            warn_of_coarse_components(best.mixture, extent)
        if not self.converged_:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data. (The fit ended with "
                f"status {Status(int(best.status)).name}.)",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Fit the mixture and return the most likely component (n,) of each row."""
        return self.fit(X, y, sample_weight).predict(X)

    def compute_standard_errors(
        self, X: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Parameters:
        """Set and return `standard_errors_`, those of weights_, means_ and dense covariances.

        X and sample_weight are those of `fit`. Use a small `tol`; see `jaxgmm.uncertainty`.
        """
        x = self._validate_rows(X, reset=False)
        weight = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
        with jax.enable_x64(bool(x.dtype == np.float64)):
            prior = regularization(self, weight)
            found = uncertainty(self.mixture_, x, weight=weight, prior=prior)
            self.standard_errors_ = jax.tree.map(np.asarray, found.standard_errors)
        return self.standard_errors_

    def _fit_starts(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        starts: list[Mixture],
        prior: Prior | None,
        rule: IterationLimits,
        columns: Columns | None = None,
    ) -> Fit:
        """Fit all starts and return the fit whose last E-step has the largest lower bound."""
        max_iter = checks.whole(self.max_iter, "max_iter", 1, MOST_STEPS)
        settings = EstimatorSettings(by_name(self.algorithm), capacity(max_iter), columns)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
        run = jit_with_options(run_fits, is_quick(self, x))
        fits = jax.device_get(run(settings, pad_rows(x), pad_weight(weight), stacked, prior, rule))
        if self.verbose:
            for lane, status in enumerate(fits.status):
                print(
                    f"Initialization {lane}: {Status(status).name} after {fits.steps[lane] + 1} "
                    f"iterations, lower bound {fits.objective[lane] / weight.sum():.5f}."
                )
        index, _ = best_lane(fits.status, fits.objective)
        return jax.tree.map(lambda leaf: leaf[index], fits)

    def _store(self, mixture: Mixture, status: Status, lower_bounds: list[float]) -> None:
        """Set the fitted attributes. Raises ValueError if any of them is not finite."""
        fitted = fitted_attributes(mixture)
        if not all(np.isfinite(value).all() for value in fitted.values()):
            raise ValueError(
                "Fitting the mixture model failed because some components have ill-defined "
                "empirical covariance (for instance caused by singleton or collapsed samples). "
                "Try to decrease the number of components, increase reg_covar, or scale the input "
                "data."
            )
        self.__dict__.pop("standard_errors_", None)  # those of an earlier fit
        for name, value in fitted.items():
            setattr(self, name, value)
        self.converged_ = status == Status.CONVERGED
        self.n_iter_ = len(lower_bounds)
        self.lower_bounds_ = lower_bounds
        self.lower_bound_ = lower_bounds[-1] if lower_bounds else -np.inf
