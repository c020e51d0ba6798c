"""scikit-learn's EM from the starts of `em_versus_gradient.py`."""

import contextlib
import warnings

import numpy as np
from em_versus_gradient_report import first_near_end

import jaxgmm


def scikit_learn_records(
    x: np.ndarray, starts: jaxgmm.Mixture, tolerance: float, most_steps: int
) -> list[dict]:
    """Return what the study keeps of scikit-learn's fits. An iteration counts as one pass."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = []
    parameters = map(np.asarray, (starts.weights, starts.means, starts.covariances))
    for i, (weights, means, covariances) in enumerate(zip(*parameters, strict=True)):
        model = GaussianMixture(
            len(weights), tol=tolerance, reg_covar=0.0, max_iter=most_steps,
            weights_init=weights, means_init=means, precisions_init=np.linalg.inv(covariances),
        )  # fmt: skip
        row = dict(data_set=i, failure="DEGENERATE", rate=np.nan, overlap=np.nan)
        row |= dict(passes=np.nan, to_own=np.nan, height=np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            with contextlib.suppress(ValueError):  # of a singular covariance
                history = np.asarray(model.fit(x).lower_bounds_)
                row["failure"] = "" if model.converged_ else "MAX_STEPS"
                row["to_own"] = first_near_end(history, 1e-6) + 1.0
                row |= dict(passes=float(model.n_iter_), height=float(history[-1]))
        rows.append(row)
    return rows
