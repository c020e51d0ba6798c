"""What holds for fits of every family, of two clusters that overlap.

A family, a number of features and a dtype share one program of EM.
"""

import contextlib
import dataclasses
import functools
import warnings

import every_family
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from every_family import LOW_RANK, OWN, PAIRS, _own_family, exists, random_member  # noqa: F401
from scipy.stats import ortho_group

import jaxgmm
from jaxgmm import Mixture, Prior, Status
from jaxgmm.families.registry import family_class

N, K = 120, 2
LABELS = np.repeat([0, 1], [70, 50])
# The prior keeps the noise of low-rank families away from zero, near which EM takes forever.
STRENGTH = 10.0
CHOSEN = {("VEI", 1), ("VVE", 2), ("tied-factors-2", 5)}


@pytest.fixture(params=every_family.cases(CHOSEN), scope="module")
def case(request):
    """All tests of a family and a number of features run one after another."""
    yield request.param
    jax.clear_caches()  # too many programs exhaust the process's memory maps


@functools.cache
def rows(d):
    """Two clusters, each with two factors of all features and a noise of its own for each of them."""
    rng = np.random.default_rng(42)

    def cluster(n, center):
        size = np.exp(rng.uniform(-0.5, 0.5, d))
        loadings = np.stack([np.full(d, 1.5), np.linspace(-1.5, 1.5, d)])
        loadings *= np.exp(rng.uniform(-0.3, 0.3, (2, d)))
        return (rng.normal(size=(n, 2)) @ loadings + 0.8 * rng.normal(size=(n, d))) * size + center

    return np.concatenate([cluster(70, 0), cluster(50, 3 / np.sqrt(d))])


def start(name, d, dtype="float64"):
    """The means of the labels, and random covariances."""
    means = np.stack([rows(d)[c == LABELS].mean(axis=0) for c in range(K)])
    logits = jnp.log(jnp.array([0.55, 0.45], dtype))
    return Mixture(logits, jnp.asarray(means, dtype), random_member(name, K, d, dtype, 1, 0.3))


def fit(mixture, x, strength=0.0, **settings):
    """A fit with a prior of uncorrelated rows, of strength 0 where it should change nothing."""
    scatter = strength * np.diag(np.var(rows(x.shape[1]), axis=0))
    cast = lambda values: jnp.asarray(values, mixture.dtype)
    prior = jax.tree.map(cast, Prior(strength, scatter, None, None, 0.0))
    settings = dict(tolerance=0.0, max_steps=12) | settings
    # In float32 rounding errors are the subject, which optimized code has fewer of.
    code = every_family.optimized() if mixture.dtype == "float32" else contextlib.nullcontext()
    with code, warnings.catch_warnings():  # of float64 that float32 rounds
        warnings.simplefilter("ignore", UserWarning)
        return jaxgmm.fit(x.astype(mixture.dtype), mixture, prior=prior, **settings)


@pytest.mark.parametrize("dtype", every_family.DTYPES)
def test_em_never_falls(case, dtype):
    """With a prior and without, beyond rounding; and D is never negative."""
    name, d = case
    with every_family.precision(dtype):
        for strength in (0.0, STRENGTH):
            found = fit(start(name, d, dtype), rows(d), strength, max_steps=60)
            history = np.asarray(found.history, float)
            assert np.diff(history).min() >= -5 * np.finfo(dtype).eps * abs(history[-1])
            assert history[-1] > history[0] + 1 and found.em_gain >= 0


def test_the_floor_of_d(case):
    """In float32, D falls as far as in float64, or to the square of rounding errors."""
    name, d = case
    gains = []
    for dtype in every_family.DTYPES:
        with every_family.precision(dtype):
            found = fit(start(name, d, dtype), rows(d), STRENGTH, max_steps=1000)
            gains.append(float(found.em_gain))
    # Without a formula for its change, a family's D is a difference of log-densities of rows.
    log_density = abs(float(found.objective)) / N
    floor = 5 * np.finfo("float32").eps * log_density if name == OWN else 1e-12
    assert 0 <= gains[1] < 1.1 * gains[0] + floor


def map_of(name, d):
    """A map of the rows that keeps the family: as general as it may be."""
    if name in ("EEE", "VEE", "EVV", "VVV"):
        return np.random.default_rng(3).normal(size=(d, d)) + 2 * np.eye(d)
    if name in ("EEI", "VEI", "EVI", "VVI") or "factors" in name:
        return np.diag([0.3, -2.0, 11.0, 1.5, -0.7][:d])
    if name == OWN:
        return np.diag(np.full(d, -3.0))
    return 1.7 * (ortho_group.rvs(d, random_state=2) if d > 1 else -np.eye(1))


def mapped(name, mixture, change, shift):
    """The mixture of mapped rows."""
    kind, d = family_class(name), mixture.n_features
    means = np.asarray(mixture.means) @ change.T + shift
    size = np.abs(np.linalg.det(change)) ** (1 / d)
    if name == OWN:
        covariance = kind(mixture.covariance.log_sd + np.log(size), mixture.covariance.logit)
    elif name in LOW_RANK:  # signs, or a rotation, and scales of the noise
        each = np.full(d, size) if kind.isotropic else np.abs(np.diag(change))
        turned = jnp.einsum("de,keq->kdq", change / each[:, None], mixture.covariance.loadings)
        logs = np.log(each)[None, : mixture.covariance.noise.shape[1]]
        covariance = kind(mixture.covariance.noise - logs, turned)
    else:
        dense = change @ np.asarray(mixture.covariances) @ change.T
        dense = (dense + np.swapaxes(dense, 1, 2)) / 2
        weights = np.asarray(mixture.weights)
        return Mixture.from_parameters(weights, means, dense, family=name)
    return Mixture(mixture.logits, jnp.asarray(means), covariance)


def test_fits_are_equivariant(case, x64):
    """EM of mapped rows makes the mapped steps."""
    name, d = case
    change, shift = map_of(name, d), np.array([5.0, -3.0, 1.0, 0.5, 2.0])[:d]
    first = start(name, d)
    plain = fit(first, rows(d))
    found = fit(mapped(name, first, change, shift), rows(d) @ change.T + shift)
    means = np.asarray(plain.mixture.means) @ change.T + shift
    covariances = change @ np.asarray(plain.mixture.covariances) @ change.T
    weights = np.asarray(plain.mixture.weights)
    assert reference.distance(found.mixture, weights, means, covariances) < 1e-9
    expected = plain.log_likelihood - N * np.linalg.slogdet(change)[1]
    np.testing.assert_allclose(found.log_likelihood, expected, atol=1e-10 * N)


def test_what_does_not_count_changes_nothing(case, x64):
    """Rows of weight 0, wherever they are, and components that are absent."""
    name, d = case
    first, x = start(name, d), rows(d)
    plain = fit(first, x)
    more = np.concatenate([x, np.full((8, d), 1e3)])
    weight = np.repeat([1.0, 0.0], [N, 8])
    weighted = fit(first, x, weight=np.ones(N)).objective, fit(first, more, weight=weight).objective
    absent = dataclasses.replace(
        first, logits=jnp.append(first.logits, -jnp.inf),
        means=jnp.concatenate([first.means, jnp.full((1, d), 50.0)]),
        covariance=first.covariance.select(jnp.array([0, 1, 0])),
    )  # fmt: skip
    for value in (*weighted, fit(absent, x).objective):
        np.testing.assert_allclose(value, plain.objective, rtol=1e-11)


@pytest.mark.thorough
def test_lanes_are_fits_of_their_own(case, x64):
    """`vmap` is a loop, and a lane that fails changes no other."""
    name, d = case
    first = start(name, d)
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * jnp.nan, leaf]), first)
    found = jax.vmap(lambda one: fit(one, rows(d)))(lanes)
    assert list(found.status) == [Status.MAX_STEPS, Status.NONFINITE, Status.MAX_STEPS]
    plain = fit(first, rows(d))
    np.testing.assert_allclose(found.objective[::2], plain.objective, rtol=1e-11)


def lbfgs():
    """L-BFGS with a line search that takes half as long to compile as optax's own."""
    return optax.lbfgs(linesearch=optax.scale_by_backtracking_linesearch(20))


@pytest.mark.thorough
def test_em_and_a_gradient_end_at_one_optimum(case, x64):
    """From a start in its basin, where each stops by the rule of the other."""
    name, d = case
    first = jaxgmm.from_labels(rows(d), LABELS, family=name)
    first = fit(first, rows(d), STRENGTH, max_steps=40).mixture
    by_em = fit(first, rows(d), STRENGTH, tolerance=1e-13, max_steps=5000)
    climb = jaxgmm.Gradient(lbfgs)
    found = fit(first, rows(d), STRENGTH, algorithm=climb, tolerance=1e-11, max_steps=2000)
    assert by_em.converged and found.converged
    np.testing.assert_allclose(found.objective, by_em.objective, atol=1e-7 * N)
    again = fit(found.mixture, rows(d), STRENGTH, tolerance=1e-9)
    assert again.converged and again.steps == 0


@functools.cache
def maximum(name, d):
    """The fit from the start without a prior. It need not be at its very end."""
    return fit(start(name, d), rows(d), tolerance=1e-9, max_steps=1000)


@pytest.mark.parametrize(
    ("smaller", "larger", "d"),
    [
        pytest.param(*pair, d, marks=() if (*pair, d) == ("VEI", "VEE", 2) else pytest.mark.thorough)
        for pair in PAIRS for d in every_family.FEATURES if exists(pair[0], d) and exists(pair[1], d)
    ],
)  # fmt: skip
def test_a_larger_family_fits_no_worse(smaller, larger, d, x64):
    """From the other's mixture, which is a member of it, EM never falls."""
    inner = maximum(smaller, d)
    value, mixture = float(inner.log_likelihood), inner.mixture
    parts = (np.asarray(mixture.weights), mixture.means, mixture.covariances)
    same = Mixture.from_parameters(*parts, family=larger)
    np.testing.assert_allclose(jaxgmm.log_likelihood(same, rows(d)), value, atol=1e-6)
    outer = fit(same, rows(d), tolerance=1e-9, max_steps=1000)
    assert np.diff(outer.history).min(initial=0) > -1e-9
    rise = float(outer.log_likelihood) - value
    assert rise > -1e-7
    count = lambda name: family_class(name).n_parameters(K, d)
    if count(larger) <= count(smaller):  # they are one family, whose parameters may be redundant
        assert rise < 1e-5
    elif larger not in LOW_RANK:  # where a factor without loadings is a saddle, EM stays
        assert rise > 1e-3  # the data are of no smaller family
