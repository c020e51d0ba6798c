"""What float32 cannot hold is said, once; where numbers are right to 1 % nothing is."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets

import jaxgmm
from jaxgmm import FAMILIES, Mixture, Status
from jaxgmm.sklearn import GaussianMixture

K, D, N = 2, 3, 400


def problem(offset, condition, family):
    """Rows of two components with a covariance of this condition, so far from zero; and the
    components, as parameters of the family."""
    rng = np.random.default_rng(3)
    axes, _ = np.linalg.qr(rng.normal(size=(D, D)))
    root = axes * np.geomspace(1, condition**-0.5, D)
    means = offset + 4 * np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    x = means[np.arange(N) % K] + rng.normal(size=(N, D)) @ root.T
    own = FAMILIES[family].own(np.stack([root @ root.T] * K))
    return x, (np.full(K, 1 / K), means, own, family)


def quietly(function, *arguments, **settings):
    """What function returns, and the messages of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = function(*arguments, **settings)
    assert all(one.filename == __file__ for one in caught)
    return found, [str(one.message) for one in caught]


def error(mixture, truth):
    """The largest difference of the parameters, in each component's own coordinates."""
    root = np.linalg.cholesky(truth.covariances)
    into = lambda matrix: np.linalg.solve(root, matrix)
    moved = into((np.asarray(mixture.means, float) - truth.means)[..., None])
    between = into(np.swapaxes(into(np.asarray(mixture.covariances, float)), 1, 2)) - np.eye(D)
    return max(np.abs(moved).max(), np.abs(between).max())


@pytest.mark.thorough
@pytest.mark.parametrize("kernel", ["whitened", "natural"])
@pytest.mark.parametrize(
    ("offset", "condition"),
    [(0, 10), (1e3, 10), (1e4, 10), (1e6, 10), (1e8, 10), (1e4, 1e4), (0, 1e4), (0, 1e10)],
)
def test_a_fit_is_right_or_it_is_said(family, kernel, offset, condition):
    x, parameters = problem(offset, condition, family)
    settings = dict(prior=None, tolerance=0.0, max_steps=10, kernel=kernel)
    start, said = quietly(Mixture.from_parameters, *parameters)
    _, said_of_value = quietly(jaxgmm.log_likelihood, start, x.astype(np.float32))
    found, said_of_fit = quietly(jaxgmm.fit, x.astype(np.float32), start, **settings)
    assert found.mixture.dtype == np.float32
    with jax.enable_x64(True):
        truth = jaxgmm.fit(x, Mixture.from_parameters(*parameters), **settings).mixture
        truth = jax.tree.map(np.asarray, truth)
        wrong = error(found.mixture, truth)
    assert max(map(len, (said, said_of_value, said_of_fit))) <= 1
    assert said_of_fit or wrong < 0.01
    if wrong < 1e-3:
        assert not said_of_fit
    # What is far from zero, or as good as singular, is so for every function.
    if offset >= 1e6:
        assert said and said_of_value and said_of_fit  # where the fit failed, too
        each = (said, said_of_value, said_of_fit)
        assert all("where float32 numbers lie" in words[0] for words in each)
    if condition == 1e10 and family in ("full", "tied"):
        assert "nearly singular" in said[0] or "given the other columns" in said[0]
    if not offset and condition == 10:
        assert not said and not said_of_value


def test_the_message_names_component_and_column():
    covariances = [np.eye(2), [[1.0, 1 - 1e-7], [1 - 1e-7, 1.0]]]
    _, (words,) = quietly(Mixture.from_parameters, [0.5, 0.5], np.zeros((2, 2)), covariances)
    assert words.startswith("component 1 has a covariance that is nearly singular")
    assert "of column" in words
    assert "jax.enable_x64(True)" in words
    means = [[0.0, 0.0], [0.0, 1e6]]
    for weights, count in (([0.5, 0.5], 1), ([1.0, 0.0], 0)):  # the second is absent
        _, said = quietly(Mixture.from_parameters, weights, means, [np.eye(2)] * 2)
        assert len(said) == count
    _, (words,) = quietly(Mixture.from_parameters, [0.5, 0.5], means, [np.eye(2)] * 2)
    assert words.startswith("component 1 has a standard deviation of 1 in column 1, 1000000 from")


def test_a_chain_of_columns_is_nearly_singular():
    """Each column is ten times the one before it and a little: no entry of W is large."""
    whitening = np.eye(5) - 10 * np.eye(5, k=-1)
    covariance = np.linalg.inv(whitening.T @ whitening)
    parameters = [1.0], np.zeros((1, 5), np.float32), covariance[None]
    _, (words,) = quietly(Mixture.from_parameters, *parameters)
    assert "nearly singular" in words


def test_many_features_are_no_reason_to_warn():
    """Of 300 features, each is much determined by the others, and float32 still holds them."""
    x = np.random.default_rng(0).normal(size=(330, 300))
    covariance = np.cov(x, rowvar=False).astype(np.float32)
    mixture = Mixture.from_parameters([1.0], np.zeros((1, 300), np.float32), covariance[None])
    assert np.isfinite(jaxgmm.log_prob(mixture, x[:5].astype(np.float32))).all()


@pytest.mark.thorough
def test_every_function_says_it_once():
    x = np.random.default_rng(0).normal(size=(60, 2)) + np.array([0, 1e6])
    key = jax.random.key(0)
    for rows in (x, x.astype(np.float32), jnp.asarray(x, jnp.float32)):
        start, said = quietly(jaxgmm.initialize, key, rows, 2)
        assert not said  # what is fitted from it is judged
        settings = dict(restarts=2, max_steps=3)
        for function in (
            lambda: jaxgmm.fit(rows, start, max_steps=3),  # noqa: B023
            lambda: jaxgmm.sweep(key, rows, [1, 2], **settings),  # noqa: B023
            lambda: jaxgmm.compare(key, rows, 2, ["em"], **settings),  # noqa: B023
        ):
            _, said = quietly(function)
            assert len(said) == 1
            assert "column 1" in said[0]
    means = np.array([[0.0, 1e6], [1.0, 1e6]])
    model = GaussianMixture(2, means_init=means, random_state=0, max_iter=0)
    assert len(quietly(model.fit, x.astype(np.float32))[1]) == 1
    assert quietly(model.fit, x)[1] == []  # in float64


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["iris", "wine", "diabetes"])
def test_data_that_people_have_are_held(name):
    """Silent: warnings are errors."""
    x = getattr(sklearn.datasets, f"load_{name}")().data.astype(np.float32)
    for family in ("full", "tied"):
        start = jaxgmm.initialize(jax.random.key(0), x, 3, family=family)
        jaxgmm.fit(x, start, max_steps=5)
        jaxgmm.log_likelihood(start, x)


def test_seconds_since_1970(x64):
    """Two groups of times hours apart, each of some minutes: float32 holds 128 seconds there. The
    fit says so, is right to a few percent, and ends as one in float64 does."""
    rng = np.random.default_rng(0)
    group = np.repeat([0.0, 7200.0], 300)
    times = 1.6e9 + (group + rng.normal(0, 600, 600))[:, None]
    start = jaxgmm.initialize(jax.random.key(0), times.astype(np.float32), 2)
    found, said = quietly(jaxgmm.fit, times.astype(np.float32), start)
    assert len(said) == 1
    assert "float32 numbers lie 1.3e+02 apart" in said[0]
    truth = jaxgmm.fit(times, jaxgmm.initialize(jax.random.key(0), times, 2))
    assert found.status == truth.status == Status.CONVERGED
    widths = [np.sort(np.ravel(fit.mixture.covariances)) ** 0.5 for fit in (found, truth)]
    np.testing.assert_allclose(*widths, rtol=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_column_that_others_give_is_degenerate_wherever_it_lies(offset, dtype, x64):
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(300, 3)) + offset
    x = np.column_stack([parts, parts.sum(axis=1)]).astype(dtype)
    start = jaxgmm.initialize(jax.random.key(0), x, 2)
    found, _ = quietly(jaxgmm.fit, x, start, prior=None)
    assert found.status == Status.DEGENERATE
