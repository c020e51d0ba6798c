"""The estimator with missing values, noise and labels."""

import numpy as np
import pytest

import jaxgmm

GaussianMixture = pytest.importorskip("jaxgmm.sklearn").GaussianMixture
N, D = 60, 2
rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(size=(N // 2, D)), rng.normal(size=(N // 2, D)) + 5])
GAPS = np.where(rng.random(X.shape) < 0.2, np.nan, X)


@pytest.fixture(scope="module")
def fitted():
    return GaussianMixture(2, random_state=0, tol=1e-6).fit(GAPS)


def test_missing_values_are_used_and_filled(fitted, x64):
    assert fitted.__sklearn_tags__().input_tags.allow_nan
    expected = jaxgmm.log_prob(fitted.mixture_, jaxgmm.Observed(GAPS))
    np.testing.assert_allclose(fitted.score_samples(GAPS), expected, rtol=1e-10)
    halves = fitted.predict(GAPS) == fitted.predict(GAPS)[0]
    assert max(halves[: N // 2].mean(), halves[N // 2 :].mean()) > 0.9
    filled = fitted.impute(GAPS)
    seen = ~np.isnan(GAPS)
    np.testing.assert_array_equal(filled[seen], GAPS[seen])
    assert np.isfinite(filled).all()


@pytest.mark.thorough
def test_labels_keep_their_numbers_and_noise_narrows():
    labels = np.where(np.arange(N) % 10 == 0, np.arange(N) < N // 2, -1)
    model = GaussianMixture(2, random_state=0).fit(GAPS, labels=labels, noise=0.3)
    assert model.means_[0, 0] > model.means_[1, 0]
    wide = GaussianMixture(2, random_state=0).fit(GAPS, labels=labels)
    assert (
        model.covariances_.trace(axis1=1, axis2=2) < wide.covariances_.trace(axis1=1, axis2=2)
    ).all()


def test_labels_beyond_the_components_are_refused():
    with pytest.raises(ValueError, match="a label is 2, but there are 2 components"):
        GaussianMixture(2).fit(X, labels=np.full(N, 2))
