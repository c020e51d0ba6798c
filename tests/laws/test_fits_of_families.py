"""What holds for fits of every family, of two clusters that overlap.

A family, a number of features and a dtype share one program of EM.
"""

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
CHOSEN = {("EEE", 1, "32"), ("VEI", 5, "64"), ("VVE", 2, "64"), ("tied-factors-2", 5, "64")}
IN_BOTH, IN_DOUBLE = every_family.cases(CHOSEN), every_family.cases(CHOSEN, [np.float64])


@pytest.fixture(params=IN_BOTH)
def case(request):
    with every_family.precision(request.param[2]):
        yield request.param


@pytest.fixture(params=IN_DOUBLE)
def wide(request, x64):
    return request.param


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


def start(name, d, dtype=np.float64):
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
    with warnings.catch_warnings():  # of float64 that float32 rounds
        warnings.simplefilter("ignore", UserWarning)
        return jaxgmm.fit(x.astype(mixture.dtype), mixture, prior=prior, **settings)


def test_em_never_falls(case):
    """With a prior and without, beyond rounding; and D is never negative."""
    name, d, dtype = case
    for strength in (0.0, STRENGTH):
        found = fit(start(*case), rows(d), strength, max_steps=60)
        history = np.asarray(found.history, float)
        assert np.diff(history).min() >= -5 * np.finfo(dtype).eps * abs(history[-1])
        assert history[-1] > history[0] + 1 and found.em_gain >= 0


@pytest.mark.parametrize("case", every_family.cases(CHOSEN, [np.float32]), indirect=True)
def test_the_floor_of_d(case):
    """Rounding in float32 leaves D as small as its square allows."""
    name, d, dtype = case
    found = fit(start(*case), rows(d), STRENGTH, max_steps=1000)
    # Without a formula for its change, a family's D has the rounding error of a difference.
    assert 0 <= found.em_gain < (1e-6 if name == OWN else 1e-12)


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


def test_fits_are_equivariant(wide):
    """EM of mapped rows makes the mapped steps."""
    name, d, _ = wide
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


def test_what_does_not_count_changes_nothing(wide):
    """Rows of weight 0, wherever they are, and components that are absent."""
    name, d, _ = wide
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
def test_lanes_are_fits_of_their_own(wide):
    """`vmap` is a loop, and a lane that fails changes no other."""
    name, d, _ = wide
    first = start(name, d)
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * jnp.nan, leaf]), first)
    found = jax.vmap(lambda one: fit(one, rows(d)))(lanes)
    assert list(found.status) == [Status.MAX_STEPS, Status.NONFINITE, Status.MAX_STEPS]
    plain = fit(first, rows(d))
    np.testing.assert_allclose(found.objective[::2], plain.objective, rtol=1e-11)


def optimum(name, d):
    """EM's end, by one start: with labels that are known."""
    first = fit(start(name, d), rows(d), STRENGTH, max_steps=20).mixture
    return first, fit(first, rows(d), STRENGTH, tolerance=1e-13, max_steps=5000)


@pytest.mark.thorough
def test_em_and_a_gradient_end_at_one_optimum(wide):
    """From a start in its basin, where each stops by the rule of the other."""
    name, d, _ = wide
    first, by_em = optimum(name, d)
    lbfgs = jaxgmm.Gradient(optax.lbfgs)
    found = fit(first, rows(d), STRENGTH, algorithm=lbfgs, tolerance=1e-11, max_steps=2000)
    assert found.converged and found.em_gain < 1e-9
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
    """From the other's mixture, which is a member, and from its responsibilities."""
    inner = maximum(smaller, d)
    value, mixture = float(inner.log_likelihood), inner.mixture
    parts = (np.asarray(mixture.weights), mixture.means, mixture.covariances)
    same = Mixture.from_parameters(*parts, family=larger)
    np.testing.assert_allclose(jaxgmm.log_likelihood(same, rows(d)), value, atol=1e-6)
    rise = float(fit(same, rows(d), tolerance=1e-9, max_steps=1000).log_likelihood) - value
    assert rise > -1e-7
    count = lambda name: family_class(name).n_parameters(K, d)
    if count(larger) == count(smaller):
        assert rise < 1e-5
