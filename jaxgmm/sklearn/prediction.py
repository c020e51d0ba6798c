"""Predictions of a fitted estimator: densities, components, samples and criteria."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..data.observed import Observed, as_observed
from ..inference.imputation import impute
from ..internal import forks
from ..mixture.mixture import Mixture
from ..mixture.sampling import sample
from ..objective.densities import log_joint, log_prob, responsibilities
from ..selection.criteria import n_parameters
from .convert import from_sklearn
from .rows import RowsMixin, plain_weight
from .starts import pad_rows, padded_size


class PredictionMixin(RowsMixin):
    """The methods of a fitted estimator that has scikit-learn's attributes of a mixture."""

    means_: np.ndarray
    random_state: Any
    _accepts_missing = False

    @property
    def mixture_(self) -> Mixture:
        """The fitted `jaxgmm.Mixture`, in float32 if JAX's 64-bit mode is off."""
        check_is_fitted(self)
        return from_sklearn(self)

    def _evaluate(self, function: Callable[..., jax.Array], X: ArrayLike) -> np.ndarray:
        """Return `function(mixture, rows)` for the fitted mixture and the rows of X."""
        forks.raise_if_forked()
        check_is_fitted(self)
        x = self._validate_rows(X, reset=False, allow_missing=self._accepts_missing)
        wide = np.promote_types(x.dtype, np.asarray(self.means_).dtype) == np.float64
        rows: Any = pad_rows(x)
        with jax.enable_x64(bool(wide)):
            rows = Observed(rows) if np.isnan(x).any() else rows
            return np.asarray(function(from_sklearn(self), rows))[: len(x)]

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return log p(x) of each row as (n,), in nats."""
        return self._evaluate(log_prob, X)

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean log-likelihood of the rows, in nats.

        Args:
          X: (n, d) rows.
          y: is ignored.
          sample_weight: (n,) row weights of the mean, or None for ones.
        """
        log_probs = self.score_samples(X)
        weight = None
        if sample_weight is not None:
            sample_weight = plain_weight(sample_weight)
            weight = _check_sample_weight(sample_weight, log_probs[:, None], dtype=np.float64)
        return float(np.average(log_probs, weights=weight))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the most likely component of each row as (n,)."""
        return np.argmax(self._evaluate(log_joint, X), axis=1)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the responsibilities p(component | x) as (n, k); each row sums to 1."""
        return self._evaluate(responsibilities, X)

    def impute(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, d) with missing values replaced by their means given the rest of the row."""
        return self._evaluate(lambda mixture, x: impute(mixture, as_observed(x)), X)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the mixture.

        Args:
          n_samples: the number of rows.

        Returns:
          The rows (n_samples, d) and the component (n_samples,) of each. The rows are sorted by
          component, as scikit-learn sorts them.

        Raises:
          ValueError: if n_samples is below 1.
        """
        forks.raise_if_forked()
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        with jax.enable_x64(True):
            rows, components = sample(
                jax.random.key(seed), from_sklearn(self), padded_size(int(n_samples))
            )
        component = np.asarray(components, np.int64)[:n_samples]
        order = np.argsort(component, kind="stable")
        return np.asarray(rows, np.float64)[order], component[order]

    def bic(self, X: ArrayLike) -> float:
        """Return the Bayesian information criterion of the rows; lower is better."""
        log_probs = self.score_samples(X)
        total = float(np.sum(log_probs, dtype=np.float64))
        return float(-2 * total + self._n_parameters() * np.log(len(log_probs)))

    def aic(self, X: ArrayLike) -> float:
        """Return Akaike's information criterion of the rows; lower is better."""
        total = float(np.sum(self.score_samples(X), dtype=np.float64))
        return float(-2 * total + 2 * self._n_parameters())

    def _n_parameters(self) -> int:
        return int(n_parameters(self.mixture_))
