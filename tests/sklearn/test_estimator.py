"""The estimator behaves as scikit-learn's own, and holds the same mixtures.

Left out of scikit-learn's test_gaussian_mixture.py: what calls its private functions
(`_estimate_gaussian_*`, `_initialize`, `_set_parameters`, mocks of them), its array-API dispatch, and
its very words for weights_init out of range.
"""

import pickle
import warnings

import jax
import numpy as np
import pytest

import jaxgmm

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.mixture import GaussianMixture as Theirs  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from jaxgmm.sklearn import GaussianMixture, from_sklearn, to_sklearn  # noqa: E402

TYPES = ("full", "tied", "diag", "spherical")
NAMES = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
LONG = dict(tol=1e-9, max_iter=300)


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 2)) @ [[1.0, 0.3], [0.0, 0.6]]
    return np.concatenate([a, rng.normal([5, 2], [0.7, 1.2], (40, 2))])


@pytest.fixture(scope="module")
def fitted(x):
    return GaussianMixture(2, random_state=0).fit(x)


@pytest.fixture(params=TYPES)
def kind(request):
    return request.param


@pytest.mark.thorough
def test_check_estimator():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(GaussianMixture(), on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.thorough
def test_it_finds_what_scikit_learn_finds_from_the_same_seed(x, kind):
    settings = dict(n_components=2, covariance_type=kind, n_init=3, random_state=3, **LONG)
    ours, theirs = GaussianMixture(**settings).fit(x), Theirs(**settings).fit(x)
    for name in NAMES:
        own, other = getattr(ours, name), getattr(theirs, name)
        assert own.shape == other.shape and own.dtype == other.dtype
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(ours.score(x), theirs.score(x), rtol=1e-6)
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=1e-4)
    assert ours.bic(x) == pytest.approx(theirs.bic(x), rel=1e-5)
    assert ours.aic(x) == pytest.approx(theirs.aic(x), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_computes_in_the_dtype_of_the_rows(x, fitted, dtype):
    found = GaussianMixture(2, random_state=0).fit(x.astype(dtype))
    assert {getattr(found, name).dtype for name in NAMES} == {np.dtype(dtype)}
    assert found.score_samples(x.astype(dtype)).dtype == dtype
    assert not jax.config.jax_enable_x64
    if dtype == np.float64:  # far from zero, where float32 would see nothing
        far = GaussianMixture(2, random_state=0).fit(x + 1e7)
        np.testing.assert_allclose(far.means_ - 1e7, fitted.means_, atol=1e-5)


def test_answers_agree_with_each_other_and_with_scikit_learns(x, fitted):
    theirs = to_sklearn(fitted.mixture_)
    proba = fitted.predict_proba(x)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.predict(x), proba.argmax(axis=1))
    np.testing.assert_array_equal(
        GaussianMixture(2, random_state=0).fit_predict(x), proba.argmax(axis=1)
    )
    assert fitted.score(x) == pytest.approx(fitted.score_samples(x).mean())
    np.testing.assert_allclose(theirs.predict_proba(x), proba, atol=1e-4)  # float32 in between
    np.testing.assert_allclose(theirs.score_samples(x), fitted.score_samples(x), rtol=1e-4)


def test_weights_are_repeated_rows(x, kind):
    weight = np.arange(100) % 3
    start = dict(
        n_components=2, covariance_type=kind, means_init=[[0, 0], [5, 2]], random_state=0, **LONG
    )
    start |= dict(weights_init=[0.5, 0.5])
    weighted = GaussianMixture(**start).fit(x, sample_weight=weight)
    repeated = GaussianMixture(**start).fit(np.repeat(x, weight, axis=0))
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-3, atol=1e-6
        )
    some = np.repeat(x, weight, axis=0)
    assert weighted.score(x, sample_weight=weight) == pytest.approx(weighted.score(some))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        GaussianMixture(2).fit(x, sample_weight=-weight)


@pytest.mark.thorough
def test_standard_errors_of_one_component(x):
    """Those of a mean are known."""
    found = GaussianMixture(reg_covar=0.0).fit(x)
    errors = found.compute_standard_errors(x)
    np.testing.assert_allclose(errors.means[0], x.std(axis=0) / len(x) ** 0.5, rtol=1e-6)
    assert found.standard_errors_ is errors
    assert not hasattr(found.fit(x[:100]), "standard_errors_")


def test_warm_start_goes_on(x):
    settings = dict(n_components=2, init_params="random", random_state=0, tol=1e-9)
    two, warm = (
        GaussianMixture(max_iter=2, **settings),
        GaussianMixture(max_iter=1, warm_start=True, **settings),
    )
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        first = warm.fit(x).score(x)
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        (two.fit(x), warm.fit(x))
    np.testing.assert_allclose(warm.means_, two.means_, rtol=1e-9)
    assert warm.score(x) > first
    warm.set_params(tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = [warm.fit(x).lower_bound_ for _ in range(40)]
    assert warm.converged_ and warm.n_iter_ == 1
    assert (np.diff(scores) >= -1e-12).all()


@pytest.mark.thorough
def test_more_starts_are_not_worse(x, kind):
    """As scikit-learn's test_init and test_multiple_init ask, to rounding: the first of many starts
    is the one alone."""
    cloud = np.random.default_rng(0).normal(size=(50, 5))
    for rows, n_init, max_iter in ((x, 10, 1), (cloud, 5, 100)):
        settings = dict(covariance_type=kind, random_state=0, max_iter=max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            one = GaussianMixture(2, **settings).fit(rows)
            many = GaussianMixture(2, **settings, n_init=n_init).fit(rows)
        assert many.lower_bound_ >= one.lower_bound_ - 1e-12


def test_the_bounds_climb(x):
    one = GaussianMixture(4, init_params="random", random_state=0).fit(x)
    assert len(one.lower_bounds_) == one.n_iter_ and one.lower_bounds_[-1] == one.lower_bound_
    assert (np.diff(one.lower_bounds_) >= -1e-12).all()


def test_no_iterations_keep_the_start(x):
    means = x[:2]
    found = GaussianMixture(2, max_iter=0, means_init=means).fit(x)
    np.testing.assert_allclose(found.means_, means, rtol=1e-12)
    assert found.n_iter_ == 0


def test_given_parameters_are_the_start(x, kind, fitted):
    theirs = Theirs(2, covariance_type=kind, random_state=0).fit(x)
    given = dict(
        weights_init=theirs.weights_, means_init=theirs.means_, precisions_init=theirs.precisions_
    )
    found = GaussianMixture(2, covariance_type=kind, max_iter=0, **given).fit(x)
    np.testing.assert_allclose(found.precisions_cholesky_, theirs.precisions_cholesky_, rtol=1e-9)
    with pytest.raises(ValueError, match=f"'{kind} precision' should have the shape of"):
        GaussianMixture(3, covariance_type=kind, precisions_init=np.ones(7)).fit(x)
    with pytest.raises(ValueError, match=f"'{kind} precision' should be .*positive"):
        GaussianMixture(2, covariance_type=kind, precisions_init=-theirs.precisions_).fit(x)
    with pytest.raises(ValueError, match="'weights' should have the shape"):
        GaussianMixture(2, weights_init=[1.0]).fit(x)
    with pytest.raises(ValueError, match="weights sum to"):
        GaussianMixture(2, weights_init=[0.5, 0.3]).fit(x)


@pytest.mark.parametrize("method", ["kmeans", "k-means++", "random", "random_from_data"])
def test_starts_have_no_mean_twice(x, method):
    found = GaussianMixture(2, init_params=method, max_iter=0, random_state=1).fit(x)
    assert len(np.unique(found.means_, axis=0)) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", ["squarem", "lbfgs", "adam", jaxgmm.EM()])
def test_every_algorithm_reaches_the_same_optimum(x, algorithm):
    best = GaussianMixture(2, random_state=0, **LONG).fit(x)
    found = GaussianMixture(2, random_state=0, algorithm=algorithm, **LONG).fit(x)
    assert found.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-4)
    with pytest.raises(ValueError, match="algorithm"):
        GaussianMixture(algorithm="simplex").fit(x)


def test_identical_rows_need_regularization():
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0)
    for kind in ("full", "spherical"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            with pytest.raises(ValueError, match="ill-defined"):
                GaussianMixture(2, covariance_type=kind, reg_covar=0, random_state=0).fit(x)
            found = GaussianMixture(2, covariance_type=kind, random_state=0).fit(x)
        variance = np.ravel(found.covariances_).max()
        assert variance == pytest.approx(1e-6, rel=0.1)


def test_samples_follow_the_mixture(fitted):
    rows, component = fitted.sample(20000)
    assert rows.shape == (20000, 2) and (np.diff(component) >= 0).all()
    for k in range(2):
        own = rows[component == k]
        np.testing.assert_allclose(own.mean(axis=0), fitted.means_[k], atol=0.1)
        np.testing.assert_allclose(np.cov(own.T), fitted.covariances_[k], atol=0.1)
    assert fitted.sample(3)[0].shape == (3, 2)
    with pytest.raises(ValueError, match="Invalid value for 'n_samples'"):
        fitted.sample(0)


def test_it_lives_in_pipelines_searches_clones_and_pickles(x, fitted):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(x, columns=["a", "b"])
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0)).fit(table)
    assert set(pipeline.predict(table)) == {0, 1}
    assert list(GaussianMixture(2).fit(table).feature_names_in_) == ["a", "b"]
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2]}, cv=3)
    assert search.fit(np.random.default_rng(0).permutation(x)).best_params_ == {"n_components": 2}
    again = clone(GaussianMixture(3, algorithm=jaxgmm.SQUAREM(), tol=0.5))
    assert again.get_params()["algorithm"] == jaxgmm.SQUAREM() and again.tol == 0.5
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.predict_proba(x), fitted.predict_proba(x))


@pytest.mark.usefixtures("x64")
def test_mixtures_go_to_scikit_learn_and_come_back(family, x):
    start = jaxgmm.initialize(jax.random.key(0), x, 2, family=family)
    theirs = to_sklearn(start)
    assert isinstance(theirs, Theirs)
    np.testing.assert_allclose(theirs.score_samples(x), jaxgmm.log_prob(start, x), rtol=1e-9)
    back = from_sklearn(theirs)
    assert back.family == family and back.dtype == np.float64
    np.testing.assert_allclose(back.covariances, start.covariances, rtol=1e-9)
    np.testing.assert_allclose(jaxgmm.log_prob(back, x), jaxgmm.log_prob(start, x), rtol=1e-9)


def test_what_cannot_be_converted(fitted):
    absent = jaxgmm.Mixture.from_parameters([0.5, 0.0, 0.5], np.eye(3), np.eye(3), "tied")
    theirs = to_sklearn(absent)
    assert theirs.n_components == 2 and theirs.covariances_.shape == (3, 3)
    with pytest.raises(ValueError, match="call its fit first"):
        from_sklearn(Theirs())
    with pytest.raises(ValueError, match="mixture is a GaussianMixture"):
        to_sklearn(fitted)
    with pytest.raises(NotFittedError):
        GaussianMixture().predict([[0.0]])
