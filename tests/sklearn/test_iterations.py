"""From the same start, without reg_covar, the estimator ends where scikit-learn's ends."""

import warnings

import jax
import numpy as np
import pytest

import jaxgmm

pytest.importorskip("sklearn")
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Theirs

from jaxgmm.sklearn import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
# Of one shape once they are padded, so that a covariance type is compiled once.
DATA = {
    "iris": lambda iris: iris,
    "wine": lambda iris: load_wine().data[:, [0, 6, 9, 12]],
    "returns": lambda iris: 0.01 * np.random.default_rng(0).standard_t(3, size=(180, 4)),
    "overlap": lambda iris: np.asarray(
        jaxgmm.simulate(jax.random.key(3), 190, 4, 3, separation=0.7).x, float
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=TYPES)
def kind(request):
    return request.param


def given_start(x, kind):
    """Three rows, even weights, and the precisions of all rows."""
    precision = 1 / x.var(axis=0)
    return dict(
        weights_init=np.full(3, 1 / 3),
        means_init=x[[10, 70, 140]],
        precisions_init={
            "full": np.stack([np.diag(precision)] * 3),
            "tied": np.diag(precision),
            "diag": np.stack([precision] * 3),
            "spherical": np.full(3, precision.mean()),
        }[kind],
    )


def assert_same_end(ours, theirs):
    """The same iterations with the same bounds, and the same parameters after the last."""
    # No change of the bound is so near tol that rounding decides which iteration is the last.
    changes = np.abs(np.diff(theirs.lower_bounds_))
    assert (np.abs(changes - theirs.tol) > 1e-10 * theirs.tol + 1e-13).all()
    assert ours.n_iter_ == theirs.n_iter_ == len(ours.lower_bounds_)
    assert ours.converged_ == theirs.converged_
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=0, atol=1e-9)
    # Starts that lead to one optimum may hold its components in any order.
    order, other_order = np.argsort(ours.means_[:, 0]), np.argsort(theirs.means_[:, 0])
    for name in ("weights_", "means_", "covariances_"):
        one, other = getattr(ours, name), getattr(theirs, name)
        if name != "covariances_" or theirs.covariance_type != "tied":
            one, other = one[order], other[other_order]
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * np.abs(other).max())


@pytest.mark.thorough
@pytest.mark.parametrize("data", DATA)
def test_from_a_given_start(data, kind, iris):
    x = DATA[data](iris)
    for tol in (1e-2, 1e-3, 1e-5, 1e-8):
        settings = dict(
            n_components=3, covariance_type=kind, reg_covar=0, tol=tol, max_iter=400
        ) | given_start(x, kind)
        assert_same_end(GaussianMixture(**settings).fit(x), Theirs(**settings).fit(x))


@pytest.mark.thorough
def test_from_the_same_random_state(kind, iris):
    """Of several starts the one with the largest lower bound, which may not have converged."""
    x = DATA["overlap"](iris)
    for change in (
        dict(n_init=4, tol=1e-3),
        dict(n_init=4, tol=1e-6, max_iter=30),
        dict(n_init=4, tol=1e-4, init_params="random"),
    ):
        settings = dict(n_components=3, covariance_type=kind, reg_covar=0, random_state=1) | change
        assert_same_end(GaussianMixture(**settings).fit(x), Theirs(**settings).fit(x))


def test_where_max_iter_comes_first(iris):
    for max_iter in (1, 2, 6):
        settings = dict(
            n_components=3, reg_covar=0, tol=1e-6, max_iter=max_iter, **given_start(iris, "full")
        )
        with pytest.warns(ConvergenceWarning, match="did not converge") as caught:
            ours = GaussianMixture(**settings).fit(iris)
        assert [warning.filename for warning in caught] == [__file__]
        assert_same_end(ours, Theirs(**settings).fit(iris))
        assert ours.n_iter_ == max_iter and not ours.converged_


def test_without_iterations_the_last_start_is_kept(iris):
    settings = dict(n_components=3, reg_covar=0, max_iter=0, n_init=3, random_state=0)
    settings |= dict(init_params="random")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = GaussianMixture(**settings).fit(iris), Theirs(**settings).fit(iris)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-12)
    assert ours.n_iter_ == theirs.n_iter_ == 0 and not ours.converged_
    assert ours.lower_bound_ == theirs.lower_bound_ == -np.inf
    assert ours.lower_bounds_ == theirs.lower_bounds_ == []


@pytest.mark.parametrize("algorithm", ["em", "squarem"])
def test_a_warm_start_goes_on_and_stops(algorithm, iris):
    """The first bound of a call is compared with the last of the one before."""
    settings = dict(n_components=3, reg_covar=0, tol=1e-4, max_iter=4, warm_start=True)
    settings |= given_start(iris, "full")
    ours, theirs = GaussianMixture(**settings, algorithm=algorithm), Theirs(**settings)
    for _ in range(12):
        ours.fit(iris)
        if algorithm == "em":
            assert_same_end(ours, theirs.fit(iris))
    assert ours.converged_ and ours.n_iter_ == 1


def test_with_reg_covar_the_bound_is_that_before_the_last_step(iris):
    """Other algorithms end with a step of EM, which does not lower the objective."""
    for algorithm in ("em", "squarem"):
        found = GaussianMixture(3, random_state=0, tol=1e-4, algorithm=algorithm).fit(iris)
        assert found.n_iter_ == len(found.lower_bounds_)
        assert found.lower_bound_ == found.lower_bounds_[-1]
        again = GaussianMixture(3, max_iter=1, warm_start=True, algorithm=algorithm)
        for name, value in vars(found).items():
            if name.endswith("_"):
                setattr(again, name, value)
        assert again.fit(iris).lower_bound_ >= found.lower_bound_ - 1e-12


@pytest.mark.parametrize("max_iter", [1, 2])
def test_a_last_step_that_collapses_is_not_taken(max_iter):
    """The second component's rows differ by rounding alone."""
    x = np.random.default_rng(0).normal(size=(40, 2))
    x[20:] = 1e8 + 3e-8 * x[20:]
    start = dict(means_init=[[0, 0], [1e8, 1e8]], precisions_init=np.stack([np.eye(2)] * 2))
    estimator = GaussianMixture(
        2, reg_covar=0.0, max_iter=max_iter, weights_init=[0.5, 0.5], **start
    )
    with pytest.warns(ConvergenceWarning, match="DEGENERATE"):
        estimator.fit(x)
    np.testing.assert_allclose(estimator.covariances_, np.stack([np.eye(2)] * 2), rtol=1e-12)
