"""`GaussianMixture` as scikit-learn knows it, fitted by jaxgmm. Needs scikit-learn, which nothing
else here imports: `from jaxgmm.sklearn import GaussianMixture`."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

import jax
import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..algorithms.registry import ALGORITHMS, by_name
from ..fitting.result import Fit
from ..fitting.settings import MOST_STEPS, capacity
from ..fitting.status import Status
from ..internal import checks, forks
from ..internal.compiling import jit_with_options
from ..mixture.component_precision import warn_of_coarse_components
from ..mixture.densities import log_joint, log_prob, responsibilities, sample
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..selection.best import best_lane
from ..selection.criteria import n_parameters
from .convert import attributes, from_sklearn
from .starts import is_quick, pad_rows, pad_weight, size, starts_of
from .stopping import EstimatorSettings, Until, run_fits


class GaussianMixture(DensityMixin, BaseEstimator):
    """scikit-learn's `GaussianMixture`, with its parameters, attributes and random starts.

    All starts are climbed side by side in one program. Float64 rows are computed in float64, and
    float32 rows in float32, whatever JAX's 64-bit mode is. Rows may have weights. What differs:

    - `reg_covar` is a prior: each covariance has n / n_components pseudo-rows (tied: n) of variance
      reg_covar in every direction. A component on its even share of the rows is regularized as by
      scikit-learn, and every step climbs; the lower bounds are those of this objective, per row.
    - `algorithm`: "em", "squarem", "lbfgs", "adam", any other name in `jaxgmm.ALGORITHMS`, or any
      `jaxgmm.Algorithm`; the last step of each is EM's.
    - A start that fails counts only where all do; scikit-learn raises ValueError for the first.

    With reg_covar = 0 and "em", a fit from the same start agrees with scikit-learn's to rounding:
    it makes the same iterations and stops at the same one. An iteration is an E-step and an M-step,
    and its lower bound is that of its E-step. So `lower_bound_` belongs to the parameters before
    the last M-step, and `score(X)` is a little higher. max_iter = 0 keeps the last start, with
    lower_bound_ = −inf.

    Other parameters and the attributes are scikit-learn's: n_components, covariance_type ("full",
    "tied", "diag", "spherical"), max_iter, n_init, init_params ("kmeans", "k-means++", "random",
    "random_from_data"), weights_init, means_init, precisions_init, random_state, warm_start,
    verbose; weights_, means_, covariances_, precisions_, precisions_cholesky_, converged_, n_iter_,
    lower_bound_, lower_bounds_, n_features_in_, feature_names_in_. `mixture_` is the
    `jaxgmm.Mixture`.

    `fit` raises ValueError for fewer rows than components, and where no start has finite
    covariances (reg_covar = 0, and fewer distinct rows than a component needs).

    >>> from jaxgmm.sklearn import GaussianMixture
    >>> x = np.concatenate([np.zeros((20, 1)), np.ones((30, 1))]) + np.linspace(0, 0.1, 50)[:, None]
    >>> model = GaussianMixture(2, random_state=0).fit(x)
    >>> np.sort(model.weights_).round(2), model.predict_proba(x).shape
    (array([0.4, 0.6]), (50, 2))
    """

    _parameter_constraints = {  # noqa: RUF012 — scikit-learn reads it from the class
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
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

    def __init__(
        self,
        n_components=1,
        *,
        covariance_type="full",
        tol=1e-3,
        reg_covar=1e-6,
        max_iter=100,
        n_init=1,
        init_params="kmeans",
        weights_init=None,
        means_init=None,
        precisions_init=None,
        random_state=None,
        warm_start=False,
        verbose=0,
        verbose_interval=10,
        algorithm="em",
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

    def fit(self, X, y=None, sample_weight=None):
        """Climbs from `n_init` starts, and keeps the best fit.

        X is (n, d) with at least two rows; y is ignored; sample_weight is (n,), not negative, or
        None for ones. With warm_start, a second call goes on from where the first ended. Returns
        self; warns (ConvergenceWarning) where max_iter came first."""
        forks.refuse()
        self._validate_params()
        x = self._rows(X, ensure_min_samples=2)
        checks.unmasked(sample_weight, "sample_weight")
        weight = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
        x, weight = x[weight > 0], weight[weight > 0]
        if len(x) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {len(x)}"
            )
        prior, total = self._prior(weight), weight.sum(dtype=np.float64)
        extent = x.min(axis=0), x.max(axis=0)
        with jax.enable_x64(bool(x.dtype == np.float64)):
            goes_on = self.warm_start and hasattr(self, "converged_")
            starts = (
                [self.mixture_] if goes_on
                else starts_of(self, x, weight, prior, sample_weight is not None)
            )  # fmt: skip
            if self.max_iter == 0:
                self._keep(starts[-1], Status.MAX_STEPS, [])
                warn_of_coarse_components(starts[-1], extent)
                return self
            until = Until(
                np.asarray(self.tol * total, x.dtype), np.int32(self.max_iter),
                np.asarray(self.lower_bound_ * total if goes_on else -np.inf, x.dtype),
            )  # fmt: skip
            found = self._climbed(x, weight, starts, prior, until)
            bounds = np.asarray(found.history, np.float64)[: int(found.steps) + 1] / total
            self._keep(found.mixture, Status(found.status), bounds.tolist())
            warn_of_coarse_components(found.mixture, extent)
        if not self.converged_:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data. (It ended as "
                f"{Status(found.status).name}.)",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def fit_predict(self, X, y=None, sample_weight=None):
        """`fit`, then the likeliest component (n,) of each row."""
        return self.fit(X, y, sample_weight).predict(X)

    def _rows(self, X, **how) -> np.ndarray:
        """X as scikit-learn checks it; it would take the numbers behind a mask."""
        checks.unmasked(X, "X")
        return validate_data(self, X, dtype=[np.float64, np.float32], **how)

    def _prior(self, weight) -> Prior | None:
        if self.reg_covar == 0:
            return None
        share = weight.sum() / (1 if self.covariance_type == "tied" else self.n_components)
        scatter = self.reg_covar * share * np.eye(self.n_features_in_, dtype=weight.dtype)
        return Prior(strength=np.zeros((), weight.dtype), scatter=scatter.astype(weight.dtype))

    def _climbed(self, x, weight, starts, prior, until: Until) -> Fit:
        """The climb whose last E-step has the largest lower bound."""
        max_iter = checks.whole(self.max_iter, "max_iter", 1, MOST_STEPS)
        settings = EstimatorSettings(by_name(self.algorithm), capacity(max_iter))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
        climb = jit_with_options(run_fits, is_quick(self, x))
        found = jax.device_get(
            climb(settings, pad_rows(x), pad_weight(weight), stacked, prior, until)
        )
        if self.verbose:
            for lane, status in enumerate(found.status):
                print(
                    f"Initialization {lane}: {Status(status).name} after {found.steps[lane] + 1} "
                    f"iterations, lower bound {found.objective[lane] / weight.sum():.5f}."
                )
        index, _ = best_lane(found.status, found.objective)
        return jax.tree.map(lambda leaf: leaf[index], found)

    def _keep(self, mixture: Mixture, status: Status, lower_bounds: list[float]) -> None:
        made = attributes(mixture)
        if not all(np.isfinite(value).all() for value in made.values()):
            raise ValueError(
                "Fitting the mixture model failed because some components have ill-defined "
                "empirical covariance (for instance caused by singleton or collapsed samples). "
                "Try to decrease the number of components, increase reg_covar, or scale the input "
                "data."
            )
        for name, value in made.items():
            setattr(self, name, value)
        self.converged_ = status == Status.CONVERGED
        self.n_iter_ = len(lower_bounds)
        self.lower_bounds_ = lower_bounds
        self.lower_bound_ = lower_bounds[-1] if lower_bounds else -np.inf

    @property
    def mixture_(self) -> Mixture:
        """The fitted `jaxgmm.Mixture`, made from the attributes; in JAX's widest dtype at most."""
        check_is_fitted(self)
        return from_sklearn(self)

    # ---- asking ---------------------------------------------------------------------------------

    def _ask(self, function, X) -> np.ndarray:
        forks.refuse()
        check_is_fitted(self)
        x = self._rows(X, reset=False)
        wide = np.promote_types(x.dtype, np.asarray(self.means_).dtype) == np.float64
        with jax.enable_x64(bool(wide)):
            return np.asarray(function(from_sklearn(self), pad_rows(x)))[: len(x)]

    def score_samples(self, X):
        """log p(x) of each row as (n,), in nats."""
        return self._ask(log_prob, X)

    def score(self, X, y=None, sample_weight=None):
        """Mean log-likelihood of the rows, in nats; weighted by sample_weight (n,) if given."""
        each = self.score_samples(X)
        if sample_weight is not None:
            checks.unmasked(sample_weight, "sample_weight")
            sample_weight = _check_sample_weight(sample_weight, each[:, None], dtype=np.float64)
        return float(np.average(each, weights=sample_weight))

    def predict(self, X):
        """The likeliest component of each row as (n,)."""
        return np.argmax(self._ask(log_joint, X), axis=1)

    def predict_proba(self, X):
        """p(component | x) as (n, k); rows sum to 1."""
        return self._ask(responsibilities, X)

    def sample(self, n_samples=1):
        """X (n_samples, d) drawn from the mixture, and the component (n_samples,) of each row, in
        rising order, as scikit-learn gives them. Raises ValueError for n_samples below 1."""
        forks.refuse()
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        with jax.enable_x64(True):
            x, component = sample(jax.random.key(seed), from_sklearn(self), size(int(n_samples)))
        component = np.asarray(component, np.int64)[:n_samples]
        order = np.argsort(component, kind="stable")
        return np.asarray(x, np.float64)[order], component[order]

    def bic(self, X):
        """Bayesian information criterion of the rows; lower is better."""
        return float(-2 * self._total(X) + self._n_parameters() * np.log(len(X)))

    def aic(self, X):
        """Akaike's information criterion of the rows; lower is better."""
        return float(-2 * self._total(X) + 2 * self._n_parameters())

    def _total(self, X) -> float:
        return float(np.sum(self.score_samples(X), dtype=np.float64))

    def _n_parameters(self) -> int:
        return n_parameters(self.mixture_)
