"""The regressor behaves as scikit-learn's regressors, and predicts what `regress` says."""

import pickle
import warnings

import jax
import numpy as np
import pytest

import jaxgmm

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from jaxgmm.sklearn import GaussianMixtureRegressor

# One of each shape of covariances, of those that scikit-learn has no name for.
OF_MCLUST = [
    "EEI", "EII", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("EVI", "VEE", "VEV"))
]  # fmt: skip


@pytest.fixture(scope="module")
def wave():
    """x (400, 1) and sin(x) with noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2 * np.pi, (400, 1))
    return x, np.sin(x[:, 0]) + 0.1 * rng.normal(size=400)


@pytest.fixture(scope="module")
def fitted(wave):
    return GaussianMixtureRegressor(8, random_state=0).fit(*wave)


@pytest.fixture(scope="module")
def several():
    """Three inputs, two targets."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(150, 3)) * [1, 10, 0.1]
    y = np.stack([x @ [1, 0.1, 5], x @ [0, -0.2, 3]], axis=1) + 0.1 * rng.normal(size=(150, 2))
    return x, y


@pytest.mark.thorough
def test_check_estimator():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(GaussianMixtureRegressor(), on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert sum(r["status"] == "passed" for r in results) > 40


def test_it_follows_a_wave(wave, fitted):
    assert np.min(cross_val_score(GaussianMixtureRegressor(8, random_state=0), *wave, cv=4)) > 0.95
    x, y = wave
    mean, deviation = fitted.predict(x, return_std=True)
    inside = np.abs(y - mean) < 1.96 * deviation
    assert 0.9 < inside.mean() < 0.99
    assert mean.shape == deviation.shape == (400,) and mean.dtype == np.float64
    assert not jax.config.jax_enable_x64


def test_predictions_are_those_of_regress(wave, fitted):
    x, _ = wave
    mean, covariance = fitted.predict(x[:7], return_cov=True)
    with jax.enable_x64(True):
        found = jaxgmm.regress(fitted.mixture_, 0, x[:7])
    np.testing.assert_allclose(mean, found.mean[:, 0], rtol=1e-12)
    np.testing.assert_allclose(covariance, found.covariance, rtol=1e-12)
    with pytest.raises(ValueError, match="both True"):
        fitted.predict(x, return_std=True, return_cov=True)


def test_one_component_is_linear_regression(several):
    x, y = several
    model = GaussianMixtureRegressor(reg_covar=0.0).fit(x, y)
    np.testing.assert_allclose(model.predict(x), LinearRegression().fit(x, y).predict(x), atol=1e-8)
    single = GaussianMixtureRegressor(reg_covar=0.0).fit(x, y[:, :1])
    assert single.predict(x).shape == (150, 1)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical", *OF_MCLUST])
def test_attributes_are_in_the_units_of_the_data(several, kind):
    x, y = several
    settings = {"covariance_type": kind, "random_state": 0, "reg_covar": 1e-8}
    model = GaussianMixtureRegressor(2, **settings).fit(x, y)
    with jax.enable_x64(True):
        mixture = model.mixture_
        dense = np.asarray(mixture.covariances)
        score = float(jaxgmm.log_likelihood(mixture, np.hstack([x, y]))) / 150
        own = np.asarray(type(mixture.covariance).own(dense))
    np.testing.assert_allclose(model.covariances_, own, rtol=1e-9)
    np.testing.assert_allclose(score, model.lower_bound_, atol=1e-3)  # the bound includes the prior
    assert model.predict(x).shape == (150, 2)
    units = 3.0 if jaxgmm.FAMILIES[mixture.family].depends_on_units() else np.array([3, 0.1, 50])
    again = clone(model).fit(units * x, 3 * y + 7)
    np.testing.assert_allclose(again.predict(units * x), 3 * model.predict(x) + 7, rtol=1e-5)


def test_draws_have_the_moments_of_the_prediction(several):
    x, y = several
    model = GaussianMixtureRegressor(2, random_state=0).fit(x, y)
    drawn = model.sample_y(x[:3], 4000, random_state=1)
    assert drawn.shape == (3, 2, 4000)
    mean, covariance = model.predict(x[:3], return_cov=True)
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    assert (np.abs(drawn.mean(axis=2) - mean) < 5 * deviation / np.sqrt(4000)).all()
    np.testing.assert_allclose(drawn.std(axis=2), deviation, rtol=0.1)
    np.testing.assert_array_equal(drawn, model.sample_y(x[:3], 4000, random_state=1))
    with pytest.raises(ValueError, match="n_samples is 0"):
        model.sample_y(x, 0)


def test_missing_inputs_are_left_out_of_the_condition(several):
    x, y = several
    model = GaussianMixtureRegressor(2, random_state=0, missing="marginalize").fit(x, y)
    holes = x[:4].copy()
    holes[0, 1], holes[1] = np.nan, np.nan
    mean, covariance = model.predict(holes, return_cov=True)
    with jax.enable_x64(True):
        mixture = model.mixture_
        some = jaxgmm.regress(jaxgmm.marginal(mixture, [0, 2, 3, 4]), [0, 1], x[:1, [0, 2]])
        none = jaxgmm.moments(jaxgmm.marginal(mixture, [3, 4]))
    np.testing.assert_allclose(mean[0], some.mean[0], rtol=1e-10)
    np.testing.assert_allclose(covariance[0], some.covariance[0], rtol=1e-10)
    np.testing.assert_allclose(mean[1], none[0], rtol=1e-10)
    np.testing.assert_allclose(mean[2:], model.predict(x[2:4]), rtol=1e-10)
    assert np.isfinite(model.sample_y(holes, 2)).all()
    strict = GaussianMixtureRegressor(2, random_state=0).fit(x, y)
    with pytest.raises(ValueError, match="NaN"):
        strict.predict(holes)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(holes, y[:4])


def test_weights_are_repeated_rows(several):
    x, y = several
    weight = np.arange(150) % 3
    settings = dict(reg_covar=0.0)
    weighted = GaussianMixtureRegressor(**settings).fit(x, y, sample_weight=weight)
    repeated = GaussianMixtureRegressor(**settings).fit(
        np.repeat(x, weight, axis=0), np.repeat(y, weight, axis=0)
    )
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-6)


def test_it_is_copied_and_pickled_as_an_estimator_is(wave, fitted):
    x, _ = wave
    assert clone(fitted).get_params() == fitted.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(x), fitted.predict(x))
