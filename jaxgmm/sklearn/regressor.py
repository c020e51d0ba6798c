"""`GaussianMixtureRegressor`, a scikit-learn regressor that is fitted by jaxgmm.

This module needs scikit-learn, which is imported only by `jaxgmm.sklearn`.
"""

from __future__ import annotations

from numbers import Integral

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
)

from ..algorithms.protocol import Algorithm
from ..families.registry import family_class
from ..internal import forks
from ..internal.array_like import to_array
from ..mixture.mixture import Mixture
from .conditionals import describe, draw, patterns_of_known, standards
from .convert import from_sklearn, holds_matrices
from .estimator import GaussianMixture
from .rows import RowsMixin, plain_weight
from .starts import pad_rows

Prediction = np.ndarray | tuple[np.ndarray, np.ndarray]

# The parameters that are passed on to the estimator of the mixture.
OF_THE_MIXTURE = (
    "n_components", "covariance_type", "tol", "reg_covar", "max_iter", "n_init", "init_params",
    "random_state", "algorithm",
)  # fmt: skip


class GaussianMixtureRegressor(MultiOutputMixin, RegressorMixin, RowsMixin, BaseEstimator):
    """Regression by a Gaussian mixture of inputs and targets together.

    A mixture is fitted to the rows [X, y]. Given X, the targets have a mixture distribution, whose
    mean is the prediction. Its covariance measures how certain the prediction is, and differs from
    row to row. With a single component of type "full", this is linear regression.

    Columns are standardized for the fit, so that starts do not depend on units. For types of
    covariances that depend on units, such as "spherical" and "VEV", all columns are divided by one
    number. The fitted attributes are in the units of the data. Float64 rows are computed in
    float64, whatever JAX's 64-bit mode is.

    Args:
      n_components: the number of components.
      covariance_type: the covariances of [X, y], a type as in `GaussianMixture`.
      tol: a fit stops when the lower bound changes by less than tol, in nats per row.
      reg_covar: the variance of the prior's pseudo-rows, in squared standard deviations of the
        columns; see `GaussianMixture`.
      max_iter: the largest number of iterations.
      n_init: the number of starts, of which the best fit is used.
      init_params: "kmeans", "k-means++", "random" or "random_from_data".
      random_state: a seed, a `numpy.random.RandomState`, or None.
      algorithm: the algorithm, by name or as a `jaxgmm.Algorithm`.
      missing: "error", or "marginalize": then X may contain NaN in `predict` and `sample_y`, and
        a row is predicted from the inputs that are not missing. Rows of `fit` must be complete.

    Attributes:
      weights_: (k,) component weights.
      means_: (k, d + t) means of the d inputs and the t targets.
      covariances_: covariances of inputs and targets, in scikit-learn's shape for the type.
      precisions_cholesky_: Cholesky factors of the precisions, in the same shape.
      converged_: whether the stopping rule was met.
      n_iter_: the number of iterations of the best fit.
      lower_bound_: the last lower bound of the best fit, in nats per row.
      n_features_in_: d.
      feature_names_in_: names of the inputs, if X is a table with string column names.
      mixture_: the fitted `jaxgmm.Mixture` of [X, y].

    >>> from jaxgmm.sklearn import GaussianMixtureRegressor
    >>> x = np.linspace(0, 6, 200)[:, None]
    >>> model = GaussianMixtureRegressor(5, random_state=0).fit(x, np.sin(x[:, 0]))
    >>> mean, deviation = model.predict([[0.0], [1.5]], return_std=True)
    >>> mean.shape, deviation.shape, bool(model.score(x, np.sin(x[:, 0])) > 0.99)
    ((2,), (2,), True)
    """

    _parameter_constraints = {
        name: GaussianMixture._parameter_constraints[name] for name in OF_THE_MIXTURE
    } | {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "missing": [StrOptions({"error", "marginalize"})],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-4,
        reg_covar: float = 1e-6,
        max_iter: int = 500,
        n_init: int = 1,
        init_params: str = "kmeans",
        random_state: int | np.random.RandomState | None = None,
        algorithm: str | Algorithm = "em",
        missing: str = "error",
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.algorithm = algorithm
        self.missing = missing

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> GaussianMixtureRegressor:
        """Fit the mixture of inputs and targets.

        Args:
          X: (n, d) inputs, at least two rows: any array, list or table of real numbers.
          y: (n,) targets, or (n, t) for several.
          sample_weight: (n,) row weights, not negative, or None for ones.

        Returns:
          The estimator itself.

        Raises:
          ValueError: for invalid arguments, and as `GaussianMixture.fit` does.

        Warns:
          ConvergenceWarning: if the fit did not converge within max_iter iterations.
        """
        forks.raise_if_forked()
        self._validate_params()
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        x = self._validate_rows(X, ensure_min_samples=2)
        targets = _check_y(to_array(y, "y"), multi_output=True, y_numeric=True, estimator=self)
        check_consistent_length(x, targets)
        self._single = targets.ndim == 1
        rows = np.concatenate([x, targets.reshape(len(x), -1).astype(x.dtype)], axis=1)
        weight = _check_sample_weight(
            plain_weight(sample_weight), rows, dtype=x.dtype, ensure_non_negative=True
        )
        depends_on_units = family_class(self.covariance_type).depends_on_units()
        center, scale = standards(rows, weight, common=depends_on_units)
        inner = GaussianMixture(**{name: getattr(self, name) for name in OF_THE_MIXTURE})
        inner.fit((rows - center) / scale, sample_weight=weight)
        self._store(inner, center, scale)
        return self

    def _store(self, inner: GaussianMixture, center: np.ndarray, scale: np.ndarray) -> None:
        """Set the fitted attributes in the units of the data."""
        if holds_matrices(self.covariance_type):
            of_factor, of_covariance = scale[:, None], scale[:, None] * scale[None]
        elif np.ndim(inner.covariances_) and inner.covariances_.shape[-1] == len(scale):
            of_factor, of_covariance = scale, scale**2
        else:  # a variance for all columns, which have one scale
            of_factor, of_covariance = scale[0], scale[0] ** 2
        self.weights_ = inner.weights_
        self.means_ = inner.means_ * scale + center
        self.covariances_ = inner.covariances_ * of_covariance
        self.precisions_cholesky_ = inner.precisions_cholesky_ / of_factor
        self.converged_, self.n_iter_ = inner.converged_, inner.n_iter_
        self.lower_bound_ = inner.lower_bound_ - float(np.sum(np.log(scale)))

    @property
    def mixture_(self) -> Mixture:
        """The fitted `jaxgmm.Mixture` of [X, y], in float32 if JAX's 64-bit mode is off."""
        check_is_fitted(self)
        return from_sklearn(self)

    def predict(
        self, X: ArrayLike, return_std: bool = False, return_cov: bool = False
    ) -> Prediction:
        """Return the conditional mean of the targets, and how uncertain they are.

        Args:
          X: (n, d) inputs.
          return_std: whether to return the standard deviations of the targets given X too.
          return_cov: whether to return the covariances of the targets given X too.

        Returns:
          The means (n,), or (n, t) if y had two dimensions. With `return_std`, a pair of them and
          the standard deviations in the same shape; with `return_cov`, a pair of them and the
          covariances (n, t, t).

        Raises:
          ValueError: if both are True, or X is invalid.
        """
        if return_std and return_cov:
            raise ValueError("return_std and return_cov are both True: ask for one of them.")
        x = self._inputs(X)
        t = self.means_.shape[1] - x.shape[1]
        mean = np.empty((len(x), t), self.means_.dtype)
        covariance = np.empty((len(x), t, t), self.means_.dtype)
        with jax.enable_x64(bool(self.means_.dtype == np.float64)):
            mixture = from_sklearn(self)
            for rows, known in patterns_of_known(x):
                mean[rows], covariance[rows] = describe(mixture, x[rows], known)
        shaped = mean[:, 0] if self._single else mean
        if return_cov:
            return shaped, covariance
        if return_std:
            deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
            return shaped, deviation[:, 0] if self._single else deviation
        return shaped

    def sample_y(
        self,
        X: ArrayLike,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> np.ndarray:
        """Draw targets from their distribution given each row of X.

        Args:
          X: (n, d) inputs.
          n_samples: the number of draws for each row.
          random_state: a seed, a `numpy.random.RandomState`, or None.

        Returns:
          The draws (n, n_samples), or (n, t, n_samples) if y had two dimensions.

        Raises:
          ValueError: if n_samples is below 1, or X is invalid.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples is {n_samples}: draw at least 1.")
        x = self._inputs(X)
        t = self.means_.shape[1] - x.shape[1]
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        drawn = np.empty((len(x), n_samples, t), self.means_.dtype)
        with jax.enable_x64(bool(self.means_.dtype == np.float64)):
            mixture = from_sklearn(self)
            keys = jax.random.split(jax.random.key(seed), len(pad_rows(x)))
            for rows, known in patterns_of_known(x):
                part = pad_rows(x[rows])
                own = keys[np.resize(np.flatnonzero(rows), len(part))]
                draws = draw(mixture, part, own, known, int(n_samples))
                drawn[rows] = np.asarray(draws)[: int(rows.sum())]
        return drawn[:, :, 0] if self._single else drawn.transpose(0, 2, 1)

    def _inputs(self, X: ArrayLike) -> np.ndarray:
        """Return checked inputs in the dtype of the fit."""
        forks.raise_if_forked()
        check_is_fitted(self)
        x = self._validate_rows(X, reset=False, allow_missing=self.missing == "marginalize")
        return x.astype(self.means_.dtype)
