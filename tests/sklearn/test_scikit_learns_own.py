"""scikit-learn's own tests of its `GaussianMixture`, with the import changed and nothing else."""

import numpy as np
import pytest
import sklearn.mixture.tests.test_gaussian_mixture as theirs

from jaxgmm.sklearn import GaussianMixture

PRIVATE = "calls a private method, which no other estimator has"
BEST_OF_MANY = (
    "asks that the best of many starts is no worse than the first alone, to the last bit: starts in "
    "one batch are rounded otherwise than one alone. See test_more_starts_are_not_worse in "
    "test_sklearn.py"
)
SKIPPED = {
    "test_gaussian_mixture_precisions_init": PRIVATE,
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts calls of a private function of scikit-learn's"
    ),
    "test_check_weights": (
        "asks for scikit-learn's wording, in which the least weight is called the largest"
    ),
    "test_init": BEST_OF_MANY,
    "test_multiple_init": BEST_OF_MANY,
    # These look at no estimator, but at functions of scikit-learn's own.
    "test_compute_log_det_cholesky": PRIVATE,
    "test_gaussian_mixture_log_probabilities": PRIVATE,
    "test_gaussian_suffstat_sk_spherical": PRIVATE,
    "test_suffstat_sk_diag": PRIVATE,
    "test_suffstat_sk_full": PRIVATE,
    "test_suffstat_sk_tied": PRIVATE,
    # Arrays of other libraries (PyTorch, CuPy) are not taken: JAX has its own.
    "test_gaussian_mixture_array_api_compliance": "arrays of other libraries",
    "test_gaussian_mixture_raises_where_array_api_not_implemented": "arrays of other libraries",
}

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]
globals().update({
    name: test for name, test in vars(theirs).items()
    if name.startswith("test_") and name not in SKIPPED
})  # fmt: skip


@pytest.fixture(autouse=True)
def import_changed(monkeypatch):
    monkeypatch.setattr(theirs, "GaussianMixture", GaussianMixture)


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture
def global_dtype():
    return np.float64
