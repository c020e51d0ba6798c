"""The family of all fourteen takes the M-steps of each of them."""

import functools

import every_family
import fourteen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.families.family import _likeliest_member
from jaxgmm.families.registry import FOURTEEN, family_class
from jaxgmm.families.universal import CodedFamily, code_of, own_members
from jaxgmm.mixture.mixture import Mixture
from jaxgmm.objective.m_step import m_step_from
from jaxgmm.objective.prior import Prior, log_prior
from jaxgmm.objective.statistics import Statistics, e_step

K, D = 3, 3
LABELS = np.repeat(np.arange(K), [40, 50, 60])


@functools.cache
def rows(d):
    """Three clusters of different shapes.

    With many features they are alike. Otherwise common axes need more sweeps than the exact M-step
    of all families makes.
    """
    rng = np.random.default_rng(8)
    centers, mixed = 3 * rng.normal(size=(K, d)), rng.normal(size=(K, d, d)) + 2 * np.eye(d)
    if d > D:
        mixed = mixed[:1] + 0.3 * rng.normal(size=(K, d, d))
    clusters = (rng.normal(size=(n, d)) @ mixed[k] for k, n in enumerate(np.bincount(LABELS)))
    return np.concatenate(list(clusters)) + centers[LABELS]


def start_of(code, d=D):
    """Means and weights of the labels, with equal uncorrelated covariances."""
    x = rows(d)
    weights = jnp.asarray(np.bincount(LABELS) / len(LABELS))
    means = jnp.asarray(np.stack([x[c == LABELS].mean(axis=0) for c in range(K)]))
    scales = jnp.asarray(x.std(axis=0))
    return Mixture(jnp.log(weights), means, CodedFamily(code).of_scales(scales, K))


def prior(d=D):
    return Prior(2.0, jnp.asarray(np.cov(rows(d).T).reshape(d, d)), mean_strength=0.0)


def statistics_of(mixture):
    """The statistics, of weights so uneven that components differ in mass."""
    x = jnp.asarray(rows(mixture.n_features))
    joint = jaxgmm.log_joint(mixture, x)
    shares = jax.nn.softmax(joint, axis=1)
    y = jax.vmap(lambda row: mixture.frame.whiten(row[None] - mixture.means))(x)
    mass, shift = shares.sum(0), jnp.einsum("nk,nkd->kd", shares, y)
    spread = mixture.frame.pool(jnp.einsum("nk,nkd,nke->kde", shares, y, y))
    return Statistics(mass, shift, spread, jax.nn.logsumexp(joint, axis=1).sum())


@functools.cache
def steps(d):
    """Three exact M-steps and a step of the usual length from there, for all codes at once."""

    @jax.jit
    @jax.vmap
    def run(code):
        mixture = start_of(code, d)
        for _ in range(3):
            step = m_step_from(mixture, statistics_of(mixture), prior(d), to_the_end=True)
            mixture = step.after
        step = m_step_from(mixture, statistics_of(mixture), prior(d))
        moved = step.after
        value = lambda at: statistics_of(at).log_likelihood + log_prior(at, prior(d))
        own = mixture.covariance.n_own_parameters(d), mixture.covariance.shares_leaves(K)
        return mixture, step.em_gain, value(mixture), value(moved), mixture.frame.dense, own

    codes = jnp.asarray(np.stack([code_of(letters) for letters in FOURTEEN]), float)
    return jax.tree.map(np.asarray, run(codes))


@pytest.fixture(
    params=[D, *(pytest.param(d, marks=pytest.mark.thorough) for d in every_family.FEATURES)],
    scope="module",
)
def d(request):
    """The number of features. All tests of one run one after another."""
    return request.param


@pytest.fixture(params=fourteen.each(FOURTEEN))
def letters(request, x64):
    return request.param


def test_members_are_converted_exactly(letters, d):
    mixture, _, _, _, dense, _ = steps(d)
    at, kind = FOURTEEN.index(letters), family_class(letters)
    batch = jax.tree.map(lambda leaf: leaf[at : at + 1], mixture)
    member = own_members(kind, batch.covariance, batch.logits)
    own = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), member)
    found = jnp.broadcast_to(own.frame(d).dense, (K, d, d))
    np.testing.assert_allclose(found, dense[at], rtol=1e-9, atol=1e-10)
    expected = jax.eval_shape(lambda: kind.identity(K, d, float))
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(lambda leaf: leaf.shape, expected)


def test_exact_m_steps_are_those_of_the_family(letters, d):
    """Three steps of the family's own, from its own member nearest to the start."""
    mixture, em_gain, value, _, dense, _ = steps(d)
    at = FOURTEEN.index(letters)
    start = start_of(jnp.asarray(code_of(letters), float), d)
    own = Mixture(
        start.logits, start.means, _likeliest_member(family_class(letters), start.frame.dense)
    )

    @jax.jit
    def run(mixture):
        for _ in range(3):
            sums = e_step(mixture, rows(d))
            mixture = m_step_from(mixture, sums, prior(d), to_the_end=True).after
        sums = e_step(mixture, rows(d))
        gain = m_step_from(mixture, sums, prior(d)).em_gain
        return mixture, gain, sums.log_likelihood + log_prior(mixture, prior(d))

    own, own_gain, own_value = run(own)
    np.testing.assert_allclose(own.covariances, dense[at], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(own.means, mixture.means[at], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(own_value, value[at], rtol=1e-8)
    # A step of the usual length gains nearly as much, and never more.
    assert 0.9 * own_gain <= em_gain[at] <= own_gain * (1 + 1e-4)


def test_a_step_raises_the_objective_by_its_gain_or_more(x64):
    _, em_gain, before, after, _, _ = steps(D)
    assert np.all(em_gain > 0)
    assert np.all(after - before >= em_gain * len(LABELS) * (1 - 1e-6))


def test_codes_count_parameters_and_shared_leaves(x64):
    own, shares = steps(D)[-1]
    for letters, parameters, shared in zip(FOURTEEN, own, shares, strict=True):
        kind = family_class(letters)
        unit = kind.identity(K, D, float)
        assert parameters == unit.n_own_parameters(D), letters
        assert shared == unit.shares_leaves(len(unit.frame(D).log_determinant)), letters


def test_absent_components_do_not_count(x64):
    """A component of mass 0 changes nothing about the others."""

    @jax.jit
    @jax.vmap
    def run(code):
        mixture = start_of(code)
        sums = statistics_of(mixture)
        absent = jnp.concatenate([mixture.logits, jnp.array([-jnp.inf])])
        more = Mixture(
            absent,
            jnp.concatenate([mixture.means, jnp.full((1, D), 1e3)]),
            mixture.covariance.select(jnp.array([0, 1, 2, 0])),
        )
        pad = lambda leaf: jnp.concatenate([leaf, jnp.zeros_like(leaf[:1])])
        spread = jnp.concatenate([sums.spread, sums.spread[:1]])
        spread = more.frame.pool(jnp.where(jnp.arange(4)[:, None, None] < 3, spread, 0) / 1)
        pooled = mixture.covariance.words.all_common
        spread = jnp.where(pooled, jnp.concatenate([sums.spread, sums.spread[:1]]), spread)
        padded = Statistics(pad(sums.mass), pad(sums.shift), spread, sums.log_likelihood)
        first = m_step_from(mixture, sums, prior())
        second = m_step_from(more, padded, prior())
        covariance = lambda step: step.after.frame.dense[:K]
        return (first.em_gain, covariance(first)), (second.em_gain, covariance(second))

    codes = jnp.asarray(np.stack([code_of(letters) for letters in FOURTEEN]), float)
    (gain, dense), (padded_gain, padded_dense) = run(codes)
    np.testing.assert_allclose(padded_gain, gain, rtol=1e-9)
    np.testing.assert_allclose(padded_dense, dense, rtol=1e-9, atol=1e-11)
