"""Rows that are not fully observed: gaps, noise and labels, against references and laws."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import observed as reference
import pytest

import jaxgmm
from jaxgmm import Observed
from jaxgmm.objective.expected_derivatives import offsets_of

pytestmark = pytest.mark.usefixtures("x64")
K, D, N = 2, 3, 40


@functools.cache
def rows():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(N // 2, D)), rng.normal(size=(N // 2, D)) + 2.5])
    x[:, 1] += x[:, 0]
    gaps = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    gaps[3] = np.nan
    variances = rng.random(x.shape) * (rng.random(x.shape) < 0.7)
    root = rng.normal(size=(N, D, D))
    matrices = 0.2 * root @ np.swapaxes(root, 1, 2)
    odds = rng.normal(size=(N, K))
    odds[5, 0] = -np.inf
    return x, gaps, variances, matrices, odds


def cases():
    """The kinds of evidence: what an `Observed` takes, and what the reference takes."""
    x, gaps, variances, matrices, odds = rows()
    labels = np.where(np.arange(N) % 4 == 0, (np.arange(N) >= N // 2), -1)
    of_labels = np.where((labels[:, None] < 0) | (labels[:, None] == np.arange(K)), 0, -np.inf)
    return {
        "gaps": (Observed(gaps), (gaps,)),
        "variances": (Observed(gaps, noise=variances), (gaps, variances)),
        "covariances": (Observed(x, noise=matrices, log_odds=odds), (x, matrices, odds)),
        "labels": (Observed(gaps, labels=labels), (gaps, None, of_labels)),
    }


@functools.cache
def mixture(family):
    rng = np.random.default_rng(0)
    root = np.eye(D) + 0.4 * rng.normal(size=(K, D, D))
    whole = root @ np.swapaxes(root, 1, 2)
    kind = jaxgmm.FAMILIES[family]
    dense = jaxgmm.Mixture.from_parameters([0.4, 0.6], rng.normal(size=(K, D)), whole)
    return dataclasses.replace(dense, covariance=kind.from_own(kind.own(whole), jnp))


def parameters(found):
    return tuple(np.asarray(part) for part in (found.weights, found.means, found.covariances))


KINDS = ["gaps", "variances", "covariances", "labels"]
FAMILIES = ("full", "diagonal", "tied", "spherical", "VVE", "VEV", "EVV", "VEI", "EII")
THOROUGH_KINDS = [
    pytest.param(kind, marks=() if kind in ("gaps", "variances") else pytest.mark.thorough)
    for kind in KINDS
]


QUICK = [("full", "gaps"), ("full", "covariances"), ("diagonal", "variances")]


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.thorough)
        for case in itertools.product(FAMILIES, KINDS)
    ],
)
def test_densities_and_gradients_are_those_of_a_loop_over_rows(family, kind):
    """Fisher's identity: the gradient from the statistics is that of the plain likelihood."""
    observed, arguments = cases()[kind]
    m = mixture(family)
    joint = reference.log_joint(*parameters(m), *arguments)
    log_prob = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(jaxgmm.log_prob(m, observed), log_prob, rtol=1e-12, atol=1e-12)
    value, slope = jax.value_and_grad(jaxgmm.log_likelihood)(m, observed)
    np.testing.assert_allclose(value, log_prob.sum(), rtol=1e-12)
    plain = jax.jit(jax.grad(lambda m: jnp.sum(jaxgmm.log_prob(m, observed))))(m)
    for found, expected in zip(jax.tree.leaves(slope), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", THOROUGH_KINDS)
def test_em_is_the_exact_one(kind):
    observed, arguments = cases()[kind]
    m, values = mixture("full"), parameters(mixture("full"))
    heights = []
    for _ in range(10):
        *values, height = reference.em_step(*values, *arguments)
        heights.append(height)
    fit = jaxgmm.fit(observed, m, prior=None, tolerance=0.0, max_steps=10)
    for found, expected in zip(parameters(fit.mixture), values, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(fit.history[:10], heights, rtol=1e-12)
    assert np.all(np.diff(fit.history) >= -1e-10)


def test_complete_rows_are_as_ever():
    """Without gaps, and with noise that is 0, the fit is the plain one."""
    x = rows()[0]
    m = mixture("full")
    plain = jaxgmm.fit(x, m, max_steps=5, tolerance=0.0)
    for observed in (Observed(x, noise=0.0), Observed(x, noise=np.zeros((N, D, D)))):
        fit = jaxgmm.fit(observed, m, max_steps=5, tolerance=0.0)
        np.testing.assert_array_equal(fit.mixture.means, plain.mixture.means)


def test_ways_to_say_the_same():
    x, gaps, variances, _, odds = rows()
    m = mixture("full")
    at = lambda *arguments, **parts: jaxgmm.log_prob(m, Observed(*arguments, **parts))
    same = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    wild = np.where(np.isnan(gaps), 1e30, gaps)
    infinite = np.where(np.isnan(gaps), np.inf, 0)
    np.testing.assert_array_equal(at(gaps), at(wild, noise=infinite))
    diagonal = np.stack([np.diag(row) for row in variances])
    same(at(gaps, noise=variances), at(gaps, noise=diagonal))
    same(at(x, noise=np.full(D, 0.3)), at(x, noise=np.full((N, D), 0.3)))
    same(at(x, noise=0.3), at(x, noise=np.broadcast_to(0.3 * np.eye(D), (N, D, D))))
    np.testing.assert_array_equal(at(gaps, allowed=np.ones((N, K), bool)), at(gaps))
    same(at(gaps, log_odds=odds + 2), at(gaps, log_odds=odds) + 2)
    only = np.arange(K)[None] == np.zeros(N, int)[:, None]
    np.testing.assert_array_equal(at(gaps, labels=np.zeros(N)), at(gaps, allowed=only))
    hidden = np.ma.masked_array(wild, np.isnan(gaps))
    np.testing.assert_array_equal(at(gaps), at(hidden))


def test_known_labels_need_one_step():
    x = rows()[0]
    labels = (np.arange(N) >= N // 2).astype(int)
    fit = jaxgmm.fit(Observed(x, labels=labels), mixture("full"), prior=None, max_steps=1)
    expected = jaxgmm.from_labels(x, labels)
    np.testing.assert_allclose(fit.mixture.means, expected.means, rtol=1e-12)
    np.testing.assert_allclose(fit.mixture.covariances, expected.covariances, rtol=1e-10)


def test_kinds_of_data_agree():
    gaps, variances = rows()[1:3]
    weight = np.arange(N) % 3 * 1.0
    m = mixture("full")
    whole = jaxgmm.e_step(m, Observed(gaps, noise=variances), weight=weight)
    blocks = [Observed(gaps[i : i + 15], noise=variances[i : i + 15]) for i in (0, 15, 30)]
    for source in (
        Observed(jaxgmm.Blocks(gaps, 16), noise=variances),
        Observed(jaxgmm.Shards(gaps), noise=variances),
        Observed(jaxgmm.Stream(blocks)),
        Observed(jaxgmm.Stream(gaps, 16), noise=variances),
    ):
        sums = jaxgmm.e_step(m, source, weight=weight)
        for found, expected in zip(jax.tree.leaves(sums), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.thorough
def test_starts_keep_labels_and_restarts_run_together():
    gaps = rows()[1]
    labels = np.where(np.arange(N) % 4 == 0, np.arange(N) < N // 2, -1)  # the other way round
    observed = Observed(gaps, labels=labels)
    keys = jax.random.split(jax.random.key(0), 3)
    fits = jax.vmap(lambda key: jaxgmm.fit(observed, jaxgmm.initialize(key, observed, K)))(keys)
    assert np.all(np.asarray(fits.mixture.means)[:, 0, 0] > np.asarray(fits.mixture.means)[:, 1, 0])
    one = jaxgmm.fit(observed, jaxgmm.initialize(keys[1], observed, K))
    np.testing.assert_allclose(fits.objective[1], one.objective, rtol=1e-9)


def test_prior_is_that_of_the_likeliest_gaussian():
    gaps = rows()[1]
    values = np.ones(1), np.nanmean(gaps, 0)[None], np.diag(np.nanvar(gaps, 0))[None]
    for _ in range(200):
        *values, _ = reference.em_step(*values, gaps)
    prior = jaxgmm.Prior.from_data(Observed(gaps), strength=1.0)
    np.testing.assert_allclose(prior.scatter, values[2][0], rtol=5e-3, atol=5e-3)
    x = rows()[0]
    plain, wrapped = jaxgmm.Prior.from_data(x), jaxgmm.Prior.from_data(Observed(x, noise=1.0))
    np.testing.assert_array_equal(plain.scatter, wrapped.scatter)


def test_the_noise_can_be_differentiated():
    """The slope by a factor on the noise is that of differences."""
    x, _, variances = rows()[:3]
    m = mixture("full")
    height = lambda factor: jaxgmm.log_likelihood(m, Observed(x, noise=factor * variances))
    slope = (height(1 + 1e-6) - height(1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(height)(1.0), slope, rtol=1e-6)


def test_criteria_count_all_rows():
    gaps = rows()[1]
    m = mixture("full")
    joint = reference.log_joint(*parameters(m), gaps)
    height = np.logaddexp.reduce(joint, axis=1)
    shares = np.exp(joint - height[:, None])
    p = jaxgmm.n_parameters(m)
    bic = p * np.log(N) - 2 * height.sum()
    np.testing.assert_allclose(jaxgmm.bic(m, Observed(gaps)), bic, rtol=1e-10)
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1)))
    np.testing.assert_allclose(jaxgmm.icl(m, Observed(gaps)), bic + 2 * entropy, rtol=1e-10)


def test_imputed_rows():
    gaps = rows()[1]
    m = mixture("full")
    filled = np.asarray(jaxgmm.impute(m, Observed(gaps)))
    seen = ~np.isnan(gaps)
    np.testing.assert_array_equal(filled[seen], gaps[seen])
    found = jaxgmm.posterior(m, Observed(gaps))
    draws = np.asarray(jaxgmm.impute(m, Observed(gaps), key=jax.random.key(0), draws=4000))
    np.testing.assert_array_equal(draws[:, seen], np.broadcast_to(gaps[seen], draws[:, seen].shape))
    spread = np.sqrt(np.diagonal(np.asarray(found.covariance), axis1=1, axis2=2))
    assert np.abs(draws.mean(axis=0) - filled).max() < 5 * spread.max() / np.sqrt(4000)
    np.testing.assert_allclose(draws.std(axis=0), spread, atol=0.08 * spread.max())
    one = jaxgmm.Mixture.from_parameters([1.0], [[0.0, 0]], [[[1.0, 0.5], [0.5, 2]]])
    np.testing.assert_allclose(
        jaxgmm.impute(one, Observed([[np.nan, 1.0], [2.0, np.nan]])), [[0.25, 1], [2, 1]]
    )
    denoised = jaxgmm.posterior(one, Observed([[1.0, 0.0]], noise=[[1.0, np.inf]]))
    np.testing.assert_allclose(denoised.mean, [[0.5, 0.25]])


@pytest.mark.parametrize(
    "factor", [1e-3, *(pytest.param(f, marks=pytest.mark.thorough) for f in (1e-6, 1.0, 1e3, 1e6))]
)
def test_em_never_falls_at_any_noise(factor):
    gaps, variances = rows()[1:3]
    fit = jaxgmm.fit(Observed(gaps, noise=factor * variances), mixture("full"), max_steps=20)
    assert fit.status in (jaxgmm.Status.MAX_STEPS, jaxgmm.Status.CONVERGED)
    assert np.all(np.diff(fit.history) >= -1e-9 * np.abs(fit.objective))
    assert np.all(np.linalg.eigvalsh(np.asarray(fit.mixture.covariances)) > 0)


@pytest.mark.thorough
@pytest.mark.parametrize("d", [1, 7, 12, 18])
def test_other_numbers_of_features(d):
    rng = np.random.default_rng(d)
    root = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / np.sqrt(d)
    x = rng.normal(size=(30, d)) @ root.T
    gaps = np.where(rng.random(x.shape) < 0.4, np.nan, x)
    gaps[0] = x[0]
    m = jaxgmm.Mixture.from_parameters([1.0], np.zeros((1, d)), (root @ root.T)[None])
    for arguments in ((gaps,), (gaps, rng.random(x.shape))):
        observed = Observed(arguments[0], noise=None if len(arguments) == 1 else arguments[1])
        fit = jaxgmm.fit(observed, m, prior=None, max_steps=1, tolerance=0.0)
        _, means, covariances, height = reference.em_step(*parameters(m), *arguments)
        np.testing.assert_allclose(fit.history[0], height, rtol=1e-12)
        np.testing.assert_allclose(fit.mixture.means, means, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(fit.mixture.covariances, covariances, rtol=1e-9, atol=1e-9)


@pytest.mark.thorough
def test_float32_keeps_its_digits():
    gaps = rows()[1]
    wide = jaxgmm.fit(Observed(gaps), mixture("full"), max_steps=20, tolerance=0.0)
    with jax.enable_x64(False):
        narrow = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), mixture("full"))
        fit = jaxgmm.fit(Observed(gaps.astype(np.float32)), narrow, max_steps=20, tolerance=0.0)
    np.testing.assert_allclose(fit.objective / N, wide.objective / N, rtol=2e-6)
    np.testing.assert_allclose(
        fit.mixture.covariances, wide.mixture.covariances, rtol=2e-4, atol=2e-5
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rest", "ratio", "most"),
    [
        (1e-3, 0.0, 6),
        (1e-3, 0.0, 3),
        (1e-5, 0.0, 3),
        (1e-3, 1e-4, 0),
        (1e-5, 1e-2, 0),
        (1e-5, 1, 0),
    ],
)
def test_float32_loses_digits_as_the_condition_number_says(rest, ratio, most):
    """Features that explain each other up to `rest` of their variance, and noise of `ratio` of it.

    Without noise, up to `most` values of a row are missing. Where it is at most a half, projection
    loses digits as the root of the condition number says.
    """
    rng = np.random.default_rng(0)
    n, d = 40, 6
    loadings = rng.normal(size=(d, 2))
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    scales = 10.0 ** rng.uniform(-2, 2, size=d)
    covariance = (1 - rest) * loadings @ loadings.T + rest * np.eye(d)
    covariance *= np.outer(scales, scales)
    noise = ratio * scales**2 * rng.uniform(0.5, 1.5, size=(n, d))
    x = rng.multivariate_normal(np.zeros(d), covariance, size=n)
    x += rng.normal(size=(n, d)) * np.sqrt(noise)
    x[rng.permuted(np.tile(np.arange(d), (n, 1)), axis=1) < np.arange(n)[:, None] % (most + 1)] = (
        np.nan
    )
    x, noise = x.astype(np.float32), (noise.astype(np.float32) if ratio else None)
    m = jaxgmm.Mixture.from_parameters([1.0], np.zeros((1, d)), covariance[None])

    def statistics(dtype):
        narrow = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), m)
        return jaxgmm.e_step(narrow, Observed(x.astype(dtype), noise=noise))

    wide = statistics(np.float64)
    with jax.enable_x64(False):
        found = statistics(np.float32)
    assert found.spread.dtype == np.float32
    lost = rest**0.5 if most == d // 2 else min(1, rest + ratio)
    bound = 5 * np.finfo(np.float32).eps / lost
    for name in ("shift", "spread"):
        error = np.abs(np.asarray(getattr(found, name)) - getattr(wide, name)).max() / n
        assert error < bound, name


@pytest.mark.thorough
def test_derivatives_through_a_fit_equal_central_differences():
    """Of rows, noise, weights and the prior, which all move; in reverse mode.

    The Gaussian of the prior is near its maximum only, so its differences are a little different.
    """
    _, gaps, variances, _, _ = rows()
    gaps = gaps[:, :2] + 2.0 * (np.arange(N) >= N // 2)[:, None]
    variances = variances[:, :2]
    rng = np.random.default_rng(2)
    along = rng.normal(size=gaps.shape), rng.random(gaps.shape), rng.random(N)
    begin = jaxgmm.initialize(jax.random.key(0), Observed(gaps, noise=variances), K)

    def height(step, tolerance=1e-9):
        observed = Observed(gaps + step * along[0], noise=variances + step * along[1])
        weight = 1 + step * along[2]
        prior = jaxgmm.Prior.from_data(observed, weight=weight, strength=1.0)
        fit = jaxgmm.fit(
            observed, begin, weight=weight, prior=prior, tolerance=tolerance, max_steps=9999
        )
        return jnp.sum(jnp.sin(fit.mixture.means)) + jnp.sum(jnp.sin(fit.mixture.covariances))

    tight = jax.jit(lambda step: height(step, 1e-18))
    expected = (tight(1e-4) - tight(-1e-4)) / 2e-4
    np.testing.assert_allclose(jax.jit(jax.grad(height))(0.0), expected, rtol=5e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["variances", "labels"])
def test_sandwich_errors_are_those_of_the_scores(kind):
    """The score of a row is the gradient of its log-density, and that of a cluster their sum."""
    observed, _ = cases()[kind]
    weight, clusters = np.arange(N) % 3 + 0.5, np.arange(N) * 7 % 29
    prior = jaxgmm.Prior.from_data(rows()[0], strength=5.0)
    fit = jaxgmm.fit(observed, mixture("full"), weight=weight, prior=prior)

    def covariance(**settings):
        found = jaxgmm.uncertainty(
            fit.mixture, observed, weight=weight, prior=prior, method="sandwich", **settings
        )
        return found, np.asarray(found.covariance)

    found, of_rows = covariance()
    zero, mixture_at = offsets_of(found.point)
    each = jax.jit(lambda offsets: jaxgmm.log_prob(mixture_at(offsets), observed))
    scores = np.asarray(jax.jacfwd(each)(zero))
    weighted, inverse = weight[:, None] * scores, np.asarray(found.inverse_information)
    of_clusters = np.eye(29)[clusters].T @ weighted
    for value, products in (
        (of_rows, weighted.T @ scores),
        (covariance(clusters=clusters)[1], of_clusters.T @ of_clusters),
    ):
        expected = inverse @ products @ inverse
        np.testing.assert_allclose(value, expected, atol=1e-9 * np.abs(expected).max())


def bad_inputs():
    x, gaps = rows()[:2]
    skew = np.tile(np.eye(D), (N, 1, 1))
    skew[4, 0, 1] = 0.5
    negative = np.tile(np.diag([1.0, -1, 1]), (N, 1, 1))
    none = np.ones((N, K), bool)
    none[7] = False
    infinite = x.copy()
    infinite[2, 1] = np.inf
    unbounded = np.tile(np.eye(D), (N, 1, 1))
    unbounded[3, 0, 1] = unbounded[3, 1, 0] = np.inf
    empty = x.copy()
    empty[:, 2] = np.nan
    few = np.full((N, D), np.nan)
    few[0], few[1] = x[0], x[0]
    return {
        "plain NaN": (gaps, r"pass jaxgmm.Observed\(x\)"),
        "infinity": (Observed(infinite), "row 2 of x contains infinity"),
        "empty column": (Observed(empty), "column 2 of x has no value"),
        "few rows": (Observed(few), "2 components need 2 distinct rows, and x has 1"),
        "negative noise": (Observed(x, noise=-1.0), "pass variances"),
        "NaN noise": (Observed(x, noise=np.nan), "pass variances"),
        "shape of noise": (Observed(x, noise=np.ones(7)), "noise has shape"),
        "skew noise": (Observed(x, noise=skew), "the noise of row 4 is not symmetric"),
        "infinite covariance": (Observed(x, noise=unbounded), "noise of row 3 contains NaN or inf"),
        "negative matrix": (Observed(x, noise=negative), "negative in some direction"),
        "ambiguous": (Observed(x[:D], noise=np.eye(D)), "as many rows as columns"),
        "fraction": (Observed(x, labels=np.full(N, 0.5)), r"labels\[0\] is 0.5"),
        "below": (Observed(x, labels=np.full(N, -2)), "labels are whole numbers"),
        "above": (Observed(x, labels=np.full(N, K)), "a label is 2, but there are 2 components"),
        "nowhere": (Observed(x, allowed=none), "row 7 has no allowed component"),
        "odds": (Observed(x, log_odds=np.full((N, K), np.inf)), r"log_odds\[0, 0\] is inf"),
        "NaN odds": (Observed(x, log_odds=np.full((N, K), np.nan)), r"log_odds\[0, 0\] is nan"),
        "shape of labels": (Observed(x, labels=np.zeros(7)), "labels has shape"),
        "shape of allowed": (Observed(x, allowed=none[:7]), "allowed has shape"),
        "two shapes": (
            Observed(x, allowed=np.ones((N, 5), bool), log_odds=np.zeros((N, K))),
            "the same shape",
        ),
        "columns": (Observed(x, log_odds=np.zeros((N, 5))), "have 5 columns, but there are 2"),
        "booleans": (Observed(x, allowed=np.full((N, K), 0.5)), "pass booleans"),
    }


@pytest.mark.parametrize("name", list(bad_inputs()))
def test_bad_input(name):
    x, words = bad_inputs()[name]
    with pytest.raises(ValueError, match=words):
        jaxgmm.fit(x, mixture("full"))


def test_a_kernel_without_gaps_is_refused():
    with pytest.raises(ValueError, match="needs rows without missing values"):
        jaxgmm.fit(Observed(rows()[1]), mixture("full"), kernel="natural")
