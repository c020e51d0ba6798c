"""Bootstrap, likelihood-ratio test, TIC and leave-one-out densities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Mixture, Prior
from jaxgmm.inference.bootstrap import _resample
from jaxgmm.inference.match_components import _best_order, match_labels

N, D, K = 60, 2, 2
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(N, D)) + 3.5 * (np.arange(N) % K)[:, None]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def fitted():
    with jax.enable_x64(True):
        yield jaxgmm.fit(X, jaxgmm.initialize(KEY, X, K), tolerance=1e-12).mixture


@pytest.fixture(scope="module")
def result(fitted):
    with jax.enable_x64(True):
        yield jaxgmm.bootstrap(KEY, X, fitted, replicates=99)


@pytest.mark.thorough
def test_a_bootstrap_agrees_with_the_curvature(fitted, result, x64):
    curvature = jaxgmm.uncertainty(fitted, X).standard_errors
    for found, expected in zip(result.standard_errors, curvature, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.6)
    g = lambda mixture: mixture.covariances[:, 0, 0]
    for kind in ("bca", "percentile"):
        low, high = result.interval(g, kind=kind)
        assert np.all((low < g(fitted)) & (g(fitted) < high))
    np.testing.assert_allclose(result.covariance(g).diagonal() ** 0.5, result.of(g).standard_error)
    assert result.agreement.min() > 0.8 and not result.swapped.any()
    assert "99 replicates" in str(result)
    for words, settings in (("level is 1", dict(level=1)), ("unknown kind", dict(kind="t"))):
        with pytest.raises(ValueError, match=words):
            result.interval(g, **settings)


@pytest.mark.thorough
def test_intervals_at_a_saddle_warn(x64):
    mean, covariance = X.mean(axis=0), np.cov(X.T, bias=True)
    twins = Mixture.from_parameters([0.5, 0.5], [mean, mean], [covariance] * 2)
    found = jaxgmm.bootstrap(KEY, X, twins, replicates=19, prior=None)
    with pytest.warns(UserWarning, match="acceleration of BCa .* saddle point"):
        found.interval(lambda m: m.means[0, 0])


def test_permuted_components_come_back(fitted, x64):
    """In the order of the first mixture."""
    swap = lambda leaf: jnp.stack([leaf, leaf[::-1]])
    both = jax.tree.map(swap, fitted)
    found, agreement, swapped = match_labels(fitted, both, jnp.asarray(X), jnp.ones(N))
    np.testing.assert_array_equal(found.means, jnp.stack([fitted.means] * 2))
    assert list(swapped) == [False, True]
    np.testing.assert_allclose(agreement, 1)


def test_the_best_order_has_the_greatest_sum():
    """Also where two components prefer the same one."""
    shared = np.array([[[3.0, 2, 0], [4, 0, 1], [0, 1, 1]], np.eye(3)[[1, 2, 0]]])
    orders = list(itertools.permutations(range(3)))
    sums = [[table[range(3), order].sum() for order in orders] for table in shared]
    best = [orders[i] for i in np.argmax(sums, axis=1)]
    np.testing.assert_array_equal(_best_order(shared), best)


@pytest.mark.parametrize("method", ["rows", "bayesian"])
def test_resampled_weights_have_the_mean_and_variance_of_their_law(method):
    """For rows, those of multinomial counts; for gamma variables with a fixed sum, of a Dirichlet
    distribution."""
    counts, replicates = np.array([0.0, 1, 1, 3, 5]), 4000
    drawn = np.asarray(_resample(KEY, method, replicates, jnp.asarray(counts)), float)
    total, share = counts.sum(), counts / counts.sum()
    np.testing.assert_allclose(drawn.sum(axis=1), total, rtol=1e-5)
    size = total if method == "rows" else total**2 / (total + 1)
    deviation = np.sqrt(size * share * (1 - share))
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=0.1)
    assert np.all(np.abs(drawn.mean(axis=0) - counts) <= 5 * deviation / np.sqrt(replicates))


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["bayesian", "mixture"])
def test_other_bootstraps(method, fitted, x64):
    weight = 1.0 + np.arange(N) % 2
    found = jaxgmm.bootstrap(KEY, X, fitted, replicates=40, method=method, weight=weight)
    assert found.usable.all() and np.isfinite(found.standard_errors.means).all()


@pytest.mark.thorough
def test_leaving_rows_out(fitted, x64):
    """The prediction is close to the fits, which are those of `fit`; TIC is its sum."""
    prior = Prior.from_data(X)
    predicted = jaxgmm.loo(fitted, X, refit_above=np.inf)
    exact = jaxgmm.loo(fitted, X, refit_above=0, tolerance=1e-12)
    assert exact.refitted.all() and not predicted.refitted.any()
    inside = float(jaxgmm.log_likelihood(fitted, X))
    np.testing.assert_allclose(predicted.total - inside, exact.total - inside, rtol=0.2)
    tic = jaxgmm.tic(fitted, X)
    np.testing.assert_allclose(2 * predicted.leverage.sum() - 2 * inside, tic, rtol=1e-6)
    without = jaxgmm.fit(
        X, fitted, weight=(np.arange(N) != 4).astype(float), prior=prior, tolerance=1e-12
    )
    np.testing.assert_allclose(exact.log_prob[4], jaxgmm.log_prob(without.mixture, X)[4], rtol=1e-5)


@pytest.mark.thorough
def test_rows_without_which_a_fit_fails_have_no_density(x64):
    """A component on three rows in two dimensions, and no prior."""
    x = np.concatenate([X, [[10.0, 20.0], [10.5, 20.3], [11.0, 19.5]]])
    labels = np.concatenate([np.arange(N) % K, [K] * 3])
    mixture = jaxgmm.fit(x, jaxgmm.from_labels(x, labels), prior=None, tolerance=1e-12).mixture
    with pytest.warns(UserWarning, match="without row 60 the fit fails, as it does for 3 of"):
        found = jaxgmm.loo(mixture, x, prior=None)
    assert np.isnan(found.log_prob[N:]).all() and np.isnan(found.total)
    assert np.isfinite(found.log_prob[:N]).all()


@pytest.mark.thorough
def test_likelihood_ratio(fitted, x64):
    one = jaxgmm.fit(X, jaxgmm.initialize(KEY, X, 1)).mixture
    found = jaxgmm.likelihood_ratio(KEY, X, one, fitted, replicates=19)
    assert found.p_value == 0.05 and found.null.min() > -1e-3
    assert "p = 0.050" in str(found)


@pytest.mark.thorough
def test_null_fits_that_fail_are_counted(x64):
    """Without a prior, two components collapse in some samples of ten rows; they count against the
    larger mixture."""
    x = X[:10]
    one, two = (jaxgmm.fit(x, jaxgmm.initialize(KEY, x, k)).mixture for k in (1, 2))
    with pytest.warns(UserWarning, match="of 19 null fits failed"):
        found = jaxgmm.likelihood_ratio(KEY, x, one, two, replicates=19, prior=None)
    assert 0 < found.failed == 19 - len(found.null)
    above = np.sum(found.null >= found.statistic)
    assert found.p_value == (1 + above + found.failed) / 20
    assert f"{found.failed} of 19 null fits failed" in str(found)


@pytest.mark.thorough
def test_replicates_that_collapse_are_counted_and_left_out(x64):
    """Without a prior, a component on few rows meets replicates with too few of them."""
    few = np.concatenate([X[:40], X[:4] + 50])
    end = jaxgmm.fit(few, jaxgmm.from_labels(few, np.arange(44) // 40), prior=None).mixture
    with pytest.warns(UserWarning, match="of the replicates failed"):
        found = jaxgmm.bootstrap(KEY, few, end, replicates=60, prior=None)
    failed = int(np.sum(~found.usable))
    assert 0 < failed < 60
    assert np.isfinite(found.standard_errors.means).all()
    assert f"60 replicates, {failed} failed" in found.table().note


@pytest.mark.parametrize(("words", "settings"), [
    ("weight has shape", dict(weight=np.ones(3))),
    ("unknown prior", dict(prior="flat")),
    ("columns and the mixture", dict(x=X[:, :1])),
    ("contains NaN", dict(x=np.full_like(X, np.nan))),
])  # fmt: skip
def test_every_question_checks_its_arguments_as_fit_does(words, settings, fitted, x64):
    x = settings.get("x", X)
    more = {name: value for name, value in settings.items() if name != "x"}
    mean = lambda mixture: mixture.means[0, 0]
    one = Mixture.from_parameters([1.0], [[0.0, 0]], [np.eye(D)])
    for ask in (
        lambda: jaxgmm.uncertainty(fitted, x, **more),
        lambda: jaxgmm.certificate(fitted, x, **more),
        lambda: jaxgmm.bootstrap(KEY, x, fitted, **more),
        lambda: jaxgmm.likelihood_ratio(KEY, x, one, fitted, **more),
        lambda: jaxgmm.profile_interval(mean, fitted, x, **more),
        lambda: jaxgmm.tic(fitted, x, **more),
        lambda: jaxgmm.loo(fitted, x, **more),
        lambda: jaxgmm.solution(fitted, x, **more),
    ):
        with pytest.raises(ValueError, match=words):
            ask()


def test_one_mixture_at_a_time(fitted, x64):
    """Outside vmap, a batch of mixtures has no single answer."""
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), fitted)
    mean = lambda mixture: mixture.means[0, 0]
    for ask in (
        lambda: jaxgmm.uncertainty(batch, X),
        lambda: jaxgmm.certificate(batch, X),
        lambda: jaxgmm.bootstrap(KEY, X, batch),
        lambda: jaxgmm.likelihood_ratio(KEY, X, batch, batch),
        lambda: jaxgmm.profile_interval(mean, batch, X),
        lambda: jaxgmm.tic(batch, X),
        lambda: jaxgmm.loo(batch, X),
        lambda: jaxgmm.solution(batch, X),
    ):
        with pytest.raises(ValueError, match="batch"):
            ask()


def test_bad_input(fitted, x64):
    for words, settings in {
        "replicates is 1": dict(replicates=1),
        "unknown method": dict(method="jackknife"),
    }.items():
        with pytest.raises(ValueError, match=words):
            jaxgmm.bootstrap(KEY, X, fitted, **settings)
    one = Mixture.from_parameters([1.0], [X.mean(axis=0)], [np.cov(X.T)])
    far = Mixture.from_parameters([0.5, 0.5], np.full((2, D), 50.0), [np.eye(D)] * 2)
    for words, larger, settings in (
        ("replicates is 1", fitted, dict(replicates=1)),
        ("larger is not the better fit .* from more starts", far, {}),
        ("pass one of K", one, {}),
    ):
        with pytest.raises(ValueError, match=words):
            jaxgmm.likelihood_ratio(KEY, X, one, larger, **settings)
    with pytest.raises(ValueError, match="rows in memory"):
        jaxgmm.bootstrap(KEY, jaxgmm.Stream([X]), fitted)
    with pytest.raises(ValueError, match="refit_above"):
        jaxgmm.loo(fitted, X, refit_above=-1)
