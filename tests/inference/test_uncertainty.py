"""Standard errors: closed forms, laws, and mixtures that have none."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourteen import FOURTEEN

import jaxgmm
from jaxgmm import Mixture, Prior, uncertainty
from jaxgmm.data.rows import Rows
from jaxgmm.inference.uncertainty_result import DEPENDENT_SCORES, REASONS
from jaxgmm.mixture.inputs import open_for_mixture
from jaxgmm.objective.expected_derivatives import offsets_of
from jaxgmm.objective.information import information
from jaxgmm.objective.newton_system import chord_steps, evaluate_near

N, D, K = 40, 2, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, D)) + 2 * RANDOM.integers(0, 2, N)[:, None]
WEIGHT = RANDOM.uniform(0.5, 2, N)
WEIGHT[3] = 0


def start(family, k=K):
    mixture = jaxgmm.initialize(jax.random.key(0), X, k, family=family)
    return dataclasses.replace(mixture, logits=mixture.logits.at[1].set(-jnp.inf))


def naive(mixture, x):
    """log p of each row by dense precisions."""
    apart = x[:, None] - mixture.means[None]
    squared = jnp.einsum("nki,kij,nkj->nk", apart, mixture.precisions, apart)
    constants = mixture.log_weights + jnp.linalg.slogdet(mixture.precisions)[1] / 2
    joint = constants[None] - squared / 2 - D / 2 * np.log(2 * np.pi)
    joint = jnp.where(mixture.present[None], joint, -jnp.inf)
    return jax.nn.logsumexp(joint, axis=1)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(f, marks=() if f == "EEI" else pytest.mark.thorough)
        for f in (*FOURTEEN, "factors-1", "ppca-1")
    ],
)
def test_information_equals_the_hessian(family, x64):
    """With weights, every term of the prior, an absent component, and blocks that overlap."""
    mixture = start(family)
    prior = jax.tree.map(jnp.asarray, Prior(0.7, 0.5 * np.cov(X.T), 1.5, X.mean(axis=0), 0.3))

    @jax.jit
    def both(mixture, x, weight):
        found = information(Rows.of(x, weight, 16), mixture, prior)
        zero, mixture_at = offsets_of(mixture)
        each = lambda offsets: naive(mixture_at(offsets), x)
        value = lambda o: weight @ each(o) + jaxgmm.log_prior(mixture_at(o), prior)
        scores = jax.jacfwd(each)(zero)
        expected = jax.grad(value)(zero), -jax.hessian(value)(zero)
        return (found.gradient, found.observed, found.outer), (
            *expected, (scores * weight[:, None]).T @ scores
        )  # fmt: skip

    for found, expected in zip(*both(mixture, jnp.asarray(X), jnp.asarray(WEIGHT)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max(), rtol=0)


@pytest.fixture(scope="module")
def fitted():
    with jax.enable_x64(True):
        begin = jaxgmm.initialize(jax.random.key(0), X, 2)
        yield jaxgmm.fit(X, begin, weight=WEIGHT, tolerance=1e-9).mixture


def errors(*arguments, **settings):
    return jax.tree.map(np.asarray, uncertainty(*arguments, **settings).standard_errors)


def same(a, b, tolerance=1e-10):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance)


def test_one_component_has_closed_forms(x64):
    one = jaxgmm.fit(X, jaxgmm.initialize(jax.random.key(0), X, 1), prior=None).mixture
    found, s = errors(one, X, prior=None), np.cov(X.T, bias=True)
    np.testing.assert_allclose(found.means[0], np.sqrt(np.diag(s) / N))
    expected = np.sqrt((np.outer(np.diag(s), np.diag(s)) + s**2) / N)
    np.testing.assert_allclose(found.covariances[0], expected)
    np.testing.assert_allclose(found.weights, 0, atol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "method", ["sandwich", *(pytest.param(m, marks=pytest.mark.thorough) for m in ("observed", "scores"))]
)  # fmt: skip
def test_weights_count_rows_and_absent_components_count_for_nothing(method, fitted, x64):
    """At the default tolerance of a fit the errors are those of the maximum."""
    whole, prior = np.arange(N) % 3, Prior.from_data(X)
    end = jaxgmm.fit(X, fitted, weight=whole, prior=prior).mixture
    found = errors(end, X, weight=whole, prior=prior, method=method)
    same(found, errors(end, np.repeat(X, whole, axis=0), prior=prior, method=method))
    tight = jaxgmm.fit(X, end, weight=whole, prior=prior, tolerance=1e-20, max_steps=9999).mixture
    same(found, errors(tight, X, weight=whole, prior=prior, method=method), 1e-5)
    parts = end.weights, end.means, end.covariances
    padded = Mixture.from_parameters(
        *(np.concatenate([part, part[:1] * (i > 0)]) for i, part in enumerate(parts))
    )
    wide = errors(padded, X, weight=whole, prior=prior, method=method)
    same([part[:2] for part in wide], found, 1e-6)
    assert wide.weights[2] == 0 and np.isnan(wide.means[2]).all()


def test_functions_intervals_draws_and_influence(fitted, x64):
    prior = Prior.from_data(X, weight=WEIGHT)
    found = uncertainty(fitted, X, weight=WEIGHT, prior=prior)
    assert found.verdict == "maximum" and found.reason == ""
    turn = RANDOM.normal(size=(D, D))
    moved = found.of(lambda m: m.means @ turn.T)
    blocks = moved.covariance.reshape(2, D, 2, D)
    plain = found.of(lambda m: m.means)
    own = plain.covariance.reshape(2, D, 2, D)
    np.testing.assert_allclose(blocks, np.einsum("ab,kbLd,cd->kaLc", turn, own, turn), rtol=1e-9)
    np.testing.assert_allclose(plain.standard_error, found.standard_errors.means)
    low, high = found.interval(lambda m: m.weights, 0.99, "logit")
    assert np.all((low > 0) & (low < fitted.weights) & (fitted.weights < high) & (high < 1))
    draws = found.draw(jax.random.key(0), 500)
    assert np.linalg.eigvalsh(draws.covariances).min() > 0
    ratio = np.std(draws.means, axis=0) / plain.standard_error
    np.testing.assert_allclose(ratio, 1, atol=0.15)
    # One more unit of a row's weight, by a fit.
    influence = found.influence(X, lambda m: m.weights)
    heavier = WEIGHT + 1e-4 * (np.arange(N) == 7)
    fit = lambda w: jaxgmm.fit(X, fitted, weight=w, prior=prior, tolerance=1e-22, max_steps=9999)
    slope = (fit(heavier).mixture.weights - fit(WEIGHT).mixture.weights) / 1e-4
    np.testing.assert_allclose(influence[7], slope, rtol=2e-3)
    table = found.table(["a", "b"])
    assert len(table) == 2 * (1 + 2 + 3)
    assert all(row["low"] < row["estimate"] < row["high"] for row in table)
    assert "mean of a" in str(table) and "mean of feature 1" in str(found)


@pytest.mark.thorough
def test_clusters_of_copies_count_once(fitted, x64):
    """Every row twice in its cluster: the scores of a cluster double, and the information too."""
    prior = Prior.from_data(X)
    end = jaxgmm.fit(X, fitted, prior=prior, tolerance=1e-16, max_steps=5000).mixture
    once = errors(end, X, prior=prior, method="sandwich")
    double = Prior(2 * prior.strength, 2 * prior.scatter)
    ids = np.tile(np.arange(N), 2)
    twice = errors(end, np.tile(X, (2, 1)), prior=double, method="sandwich", clusters=ids)
    same(once, twice, 1e-6)


@pytest.mark.thorough
def test_kinds_of_rows_and_vmap(fitted, x64):
    expected = errors(fitted, X, weight=WEIGHT)
    for kind in (jaxgmm.Blocks(X, 16), jaxgmm.Shards(X), jaxgmm.Stream([X[:20], X[20:]])):
        same(errors(fitted, kind, weight=WEIGHT), expected, 1e-8)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), fitted)
    lanes = jax.vmap(lambda m: uncertainty(m, X, weight=jnp.asarray(WEIGHT)))(batch)
    same([part[1] for part in lanes.standard_errors], expected, 1e-8)
    assert list(lanes.verdict) == ["maximum", "maximum"]
    assert list(lanes.reason) == ["", ""]


@pytest.mark.thorough
def test_fourth_moments_of_shards_and_streams(fitted, x64):
    """The products of scores too, from rows in several parts and in blocks that overlap."""
    expected = information(Rows.of(jnp.asarray(X), jnp.asarray(WEIGHT)), fitted, None)
    for kind in (jaxgmm.Shards(X), jaxgmm.Stream([X[:23], X[23:]])):
        mixture, data = open_for_mixture(fitted, kind, WEIGHT, None)
        for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
            found = data.compute(information, mixture, None, moments=dtype)
            for name in ("observed", "outer", "gradient"):
                one, other = getattr(found, name), getattr(expected, name)
                np.testing.assert_allclose(one, other, atol=tolerance * WEIGHT.sum(), rtol=0)


def test_a_mixture_that_is_no_maximum_has_errors_that_say_so(fitted, x64):
    close = uncertainty(fitted, X, weight=WEIGHT, tolerance=1e-30)
    assert close.verdict == "not stationary" and "smaller tolerance" in str(close.table())
    assert np.isfinite(close.standard_errors.means).all()
    start = uncertainty(jaxgmm.initialize(jax.random.key(0), X, 2), X, weight=WEIGHT)
    assert start.verdict == "not stationary" and "fit it first" in str(start.table())
    assert np.isnan(start.standard_errors.means).all()


@pytest.mark.parametrize(
    ("family", "verdict"),
    [("full", "saddle"), pytest.param("tied", "flat", marks=pytest.mark.thorough)],
)
def test_mixtures_without_errors(family, verdict, x64):
    """Two equal components: of separate covariances, or of the data's own."""
    mean, covariance = X.mean(axis=0), np.cov(X.T, bias=True)
    twins = Mixture.from_parameters([0.5, 0.5], [mean, mean], [covariance] * 2, family=family)
    found = uncertainty(twins, X, prior=None)
    assert found.verdict == verdict and REASONS[verdict] in str(found.table())
    assert np.isnan(found.standard_errors.weights).all()
    assert np.isnan(found.draw(jax.random.key(0), 3).means).all()


def test_each_lane_has_a_reason(fitted, x64):
    """Errors of several mixtures are those of each one, and so are the reasons."""
    saddle = Mixture.from_parameters([0.5, 0.5], [X.mean(axis=0)] * 2, [np.cov(X.T, bias=True)] * 2)
    begin = jaxgmm.initialize(jax.random.key(0), X, 2)
    lanes = [uncertainty(m, X, prior=None) for m in (saddle, begin)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
    assert list(batch.reason) == [lane.reason for lane in lanes]
    assert REASONS["saddle"] in batch.reason


def test_intervals_of_numbers_outside_a_scale(fitted, x64):
    """They raise an error, and are NaN where the numbers are not known yet; a number that is fixed
    at the end of a scale is its own interval."""
    found = uncertainty(fitted, X, weight=WEIGHT)
    for scale, words, g in (
        ("log", "returns -.* is for positive numbers", lambda m: -m.weights),
        ("logit", "is for numbers between 0 and 1", lambda m: m.weights + 1),
    ):
        with pytest.raises(ValueError, match=words):
            found.interval(g, scale=scale)
        assert np.isnan(
            jax.jit(lambda u, g=g, scale=scale: u.interval(g, scale=scale))(found)
        ).all()
    one = jaxgmm.fit(X, jaxgmm.initialize(jax.random.key(0), X, 1), prior=None).mixture
    ends = uncertainty(one, X, prior=None).interval(lambda m: m.weights, scale="logit")
    np.testing.assert_array_equal(ends, 1)


@pytest.mark.thorough
def test_dependent_scores_have_no_errors(x64):
    """Ten rows, each four times: their scores span fewer directions than there are parameters."""
    x = np.repeat(X[:10], 4, axis=0)
    found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 2), tolerance=1e-20).mixture
    assert uncertainty(found, x).reason == ""
    errors = uncertainty(found, x, method="scores")
    assert errors.verdict == "maximum" and errors.reason == DEPENDENT_SCORES
    assert np.isnan(errors.covariance).all()


def test_bad_input(fitted, x64):
    for words, settings in {
        "unknown method": dict(method="exact"),
        "more rows or clusters than": dict(x=X[:8], weight=None, method="scores"),
        "more rows or clusters": dict(method="sandwich", clusters=np.arange(N) // 8),
        r"clusters has shape \(3,\)": dict(clusters=np.zeros(3)),
        "clusters contains NaN": dict(clusters=np.where(np.arange(N) == 7, np.nan, 0)),
        r"clusters contains 1\.5: pass whole numbers": dict(clusters=np.arange(N) * 1.5),
        r"clusters contains -1: pass whole numbers": dict(clusters=np.arange(N) - 1),
        "clusters puts all rows into one": dict(method="sandwich", clusters=np.ones(N)),
        "tolerance is -1": dict(tolerance=-1.0),
    }.items():
        with pytest.raises(ValueError, match=words):
            uncertainty(fitted, **(dict(x=X, weight=WEIGHT) | settings))
    with pytest.raises(ValueError, match="level is 2"):
        uncertainty(fitted, X, weight=WEIGHT).interval(lambda m: m.means, 2.0)
    with pytest.raises(ValueError, match="one array"):
        uncertainty(fitted, jaxgmm.Stream([X]), clusters=np.zeros(N))


@pytest.mark.thorough
def test_float32_fits_that_ended_just_before_the_maximum():
    """A step of 3e-4 before it, standard errors are off by a thousandth without a second pass."""
    x = jaxgmm.simulate(jax.random.key(0), 2000, 1, 2, separation=1.0).x
    start = jaxgmm.initialize(jax.random.key(0), x, 2)
    with jax.enable_x64(True):
        wide = np.asarray(x, float)
        lift = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, float), tree)
        end = jaxgmm.fit(wide, lift(start), "auto", tolerance=1e-20, max_steps=5000).mixture
        exact = uncertainty(end, wide).standard_errors
        zero, mixture_at = offsets_of(end)
        _, directions = np.linalg.eigh(
            information(Rows.of(jnp.asarray(wide), None), end, None).observed
        )
        flattest = directions[:, 1]  # the first one is the common shift of the logits
        near = mixture_at(jnp.asarray(3e-4 * flattest))
    near = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), near)
    found = uncertainty(near, x).standard_errors
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("moved", [1e-4, 1e-2])
def test_chord_steps_end_at_the_maximum(moved, fitted, x64):
    """The information is that of the maximum, and the statistics are those of the given mixture."""
    rows = Rows.of(jnp.asarray(X), jnp.asarray(WEIGHT))
    prior = jax.tree.map(jnp.asarray, Prior.from_data(X, weight=WEIGHT))
    end = jaxgmm.fit(X, fitted, weight=WEIGHT, prior=prior, tolerance=1e-22, max_steps=9999).mixture
    zero, mixture_at = offsets_of(end)
    near = mixture_at(moved * RANDOM.normal(size=len(zero)) / len(zero) ** 0.5)
    exact = information(rows, end, prior).observed

    @jax.jit
    def found(near):
        return chord_steps(rows, near, prior, 1e-8), evaluate_near(
            rows, near, prior, moments="float64"
        )

    (point, first), whole = found(near)
    np.testing.assert_allclose(whole.first.mass, jaxgmm.e_step(near, X, weight=WEIGHT).mass)
    np.testing.assert_allclose(first.mass, whole.first.mass)
    for part in (information(rows, point, prior).observed, whole.found.observed):
        np.testing.assert_allclose(part, exact, atol=1e-6 * np.abs(exact).max(), rtol=0)
