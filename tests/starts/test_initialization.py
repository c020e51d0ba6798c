"""Starts: each method, with weights, under vmap, on awkward data."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm.starts.k_means_plus_plus import draw_index
from jaxgmm.starts.methods import METHODS


def distinct(means):
    return len(np.unique(np.asarray(means), axis=0)) == len(means)


@pytest.mark.parametrize("method", METHODS)
def test_a_start_is_a_finite_mixture(method, family, iris):
    x = iris.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 3, family=family, method=method)
    assert start.family == family
    assert start.dtype == np.float32
    chex.assert_tree_all_finite(start)
    assert np.linalg.eigvalsh(start.covariances).min() > 0
    np.testing.assert_allclose(np.sum(start.weights), 1, rtol=1e-6)
    assert distinct(start.means)
    again = jaxgmm.initialize(jax.random.key(0), x, 3, family=family, method=method)
    other = jaxgmm.initialize(jax.random.key(1), x, 3, family=family, method=method)
    np.testing.assert_array_equal(start.means, again.means)
    assert (np.asarray(start.means) != other.means).any()


@pytest.mark.parametrize("method", METHODS)
def test_vmap_over_keys_weights_and_data(method, iris):
    x = jnp.asarray(iris, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    weights = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (3, 150)), jnp.float32)
    data = jnp.stack([x, x + 1, x * 2])

    def make(key, x, weight):
        return jaxgmm.initialize(key, x, 3, weight=weight, method=method)

    many = jax.vmap(make)(keys, data, weights)
    for i in range(3):
        one = make(keys[i], data[i], weights[i])
        np.testing.assert_allclose(many.means[i], one.means, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["k-means++", "random-rows"])
def test_means_differ_while_distinct_rows_remain(method):
    """Three distinct rows, one of them a thousand times: all three are found, with every key."""
    x = np.concatenate([np.zeros((1000, 2)), [[1.0, 0.0]], [[0.0, 1e-3]]]).astype(np.float32)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, x, 3, method=method))(
        jax.random.split(jax.random.key(0), 50)
    )
    for means in np.asarray(starts.means):
        found = {tuple(mean) for mean in (1000 * means).round().astype(int)}
        assert found == {(0, 0), (1000, 0), (0, 1)}


@pytest.mark.parametrize("method", ["k-means++", "random-rows"])
def test_rows_of_no_weight_are_never_drawn(method, iris):
    x = np.concatenate([iris, np.full((50, 4), 1e3)]).astype(np.float32)
    weight = np.concatenate([np.ones(150), np.zeros(50)])
    for seed in range(5):
        start = jaxgmm.initialize(jax.random.key(seed), x, 4, weight=weight, method=method)
        assert np.max(np.asarray(start.means)) < 10


def test_random_rows_are_drawn_by_weight():
    x = np.arange(4.0, dtype=np.float32)[:, None]
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    starts = jax.vmap(
        lambda key: jaxgmm.initialize(key, x, 1, weight=weight, method="random-rows").means
    )(jax.random.split(jax.random.key(0), 4000))
    share = np.bincount(np.asarray(starts).ravel().round().astype(int), minlength=4) / 4000
    np.testing.assert_allclose(share, weight / 10, atol=0.03)


def test_random_rows_have_the_covariance_of_the_data(iris, x64):
    weight = np.arange(150) % 3.0
    start = jaxgmm.initialize(jax.random.key(0), iris, 3, method="random-rows", weight=weight)
    expected = np.cov(iris, rowvar=False, aweights=weight, ddof=0)
    scale = np.sqrt(np.diag(expected))
    for covariance in start.covariances:  # up to the prior, which is a small part of a row
        error = (covariance - expected) / np.outer(scale, scale)
        assert np.abs(error).max() < 1e-3
    np.testing.assert_allclose(start.weights, 1 / 3)


def test_k_means_plus_plus_reaches_every_cluster():
    rng = np.random.default_rng(0)
    centers = 500 * np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    x = centers[np.repeat(np.arange(4), [500, 20, 20, 20])] + rng.normal(size=(560, 2))
    x = x.astype(np.float32)
    for seed in range(5):
        means = np.asarray(jaxgmm.initialize(jax.random.key(seed), x, 4).means)
        nearest = np.abs(means[:, None] - centers).max(axis=2).argmin(axis=1)
        assert set(nearest) == {0, 1, 2, 3}


def test_rows_are_drawn_in_proportion():
    chance = np.random.default_rng(0).uniform(size=50).astype(np.float32)
    chance[[3, 17, 49]] = 0
    keys = jax.random.split(jax.random.key(0), 40_000)
    found = jax.vmap(lambda key: draw_index(key, jnp.asarray(chance)))(keys)
    share = np.bincount(found, minlength=50) / len(keys)
    expected = chance / chance.sum()
    assert (share[chance == 0] == 0).all()
    assert (np.abs(share - expected) < 5 * np.sqrt(expected / len(keys)) + 1e-9).all()


def test_from_responsibilities_is_the_textbook_m_step(family, iris, x64):
    rng = np.random.default_rng(0)
    resp = rng.dirichlet(np.ones(3), 150)
    weight = rng.uniform(0.2, 2, 150)
    for offset in (0.0, 1e6):
        found = jaxgmm.from_responsibilities(iris + offset, resp, family=family, weight=weight)
        share = resp * weight[:, None]
        mass = share.sum(axis=0)
        means = share.T @ iris / mass[:, None]
        covariances = np.stack(
            [np.cov(iris, rowvar=False, aweights=share[:, k], ddof=0) for k in range(3)]
        )
        if family == "tied":
            pooled = np.tensordot(mass, covariances, 1) / mass.sum()
            covariances = np.stack([pooled] * 3)
        if family == "diagonal":
            covariances = covariances * np.eye(4)
        if family == "spherical":
            covariances = np.trace(covariances, axis1=1, axis2=2)[:, None, None] / 4 * np.eye(4)
        tolerance = 1e-12 if offset == 0 else 1e-8
        expected = mass / mass.sum(), means + offset, covariances
        assert reference.distance(found, *expected) < tolerance


@pytest.mark.parametrize("prior", [False, True])
def test_labels_of_many_components_are_one_hot_responsibilities(family, prior, iris, x64):
    """Sums by label and products with one-hot labels agree, with weights and absent components."""
    k = 100
    labels = np.random.default_rng(0).integers(0, 12, 150) * 7
    weight = np.random.default_rng(1).integers(0, 3, 150).astype(float)
    with_prior = prior or family == "full"  # whose covariances are singular without
    settings = dict(family=family, weight=weight)
    settings["prior"] = jaxgmm.Prior.from_data(iris) if with_prior else None
    ours = jaxgmm.from_labels(iris, labels, k, **settings)
    theirs = jaxgmm.from_responsibilities(iris, np.eye(k)[labels], **settings)
    present = np.unique(labels[weight > 0])
    assert set(np.flatnonzero(np.asarray(ours.present))) == set(present)
    for a, b in ((ours.weights, theirs.weights), (ours.means, theirs.means)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    shared = len(ours.covariances) == 1 or family == "tied"
    pick = slice(None) if shared else present
    np.testing.assert_allclose(
        ours.covariances[pick], theirs.covariances[pick], rtol=1e-9, atol=1e-11
    )


def test_starts_of_many_components_are_those_of_few(iris, monkeypatch, x64):
    """The two ways to sum rows by label give one start."""
    starts = []
    for few in (64, 2):
        monkeypatch.setattr("jaxgmm.starts.methods.FEW_COMPONENTS", few)
        jax.clear_caches()
        starts.append(jaxgmm.initialize(jax.random.key(0), iris, 5, family="full"))
    chex.assert_trees_all_close(*starts, rtol=1e-9)


def test_labels_are_one_hot_responsibilities(iris, x64):
    labels = np.arange(150) // 50
    found = jaxgmm.from_labels(iris, labels)
    expected = jaxgmm.from_responsibilities(iris, np.eye(3)[labels])
    np.testing.assert_allclose(found.covariances, expected.covariances, rtol=1e-11)
    four = jaxgmm.from_labels(iris, labels, 4)
    assert four.weights[3] == 0
    assert jaxgmm.n_parameters(four) == jaxgmm.n_parameters(found)


@pytest.mark.parametrize(
    ("labels", "k", "words"),
    [
        (np.zeros(149), None, "labels has shape"),
        (np.full(150, 0.5), 1, r"labels\[0\] is 0.5"),
        (np.arange(150), 3, r"labels\[3\] is 3"),
        (-np.ones(150, int), 2, r"labels\[0\] is -1"),
    ],
)
def test_bad_labels(labels, k, words, iris):
    with pytest.raises(ValueError, match=words):
        jaxgmm.from_labels(iris.astype(np.float32), labels, k)


@pytest.mark.parametrize(
    ("resp", "words"),
    [
        (np.ones(150), "responsibilities have shape"),
        (np.ones((149, 2)), "responsibilities have shape"),
        (-np.ones((150, 2)), "row 0 of the responsibilities"),
        (np.where(np.arange(150)[:, None] == 7, np.nan, np.ones((150, 2))), "row 7 of the resp"),
    ],
)
def test_bad_responsibilities(resp, words, iris):
    with pytest.raises(ValueError, match=words):
        jaxgmm.from_responsibilities(iris.astype(np.float32), resp)


WIDE = """
import jax, jaxgmm, numpy as np
x = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
for seed in range(5):
    jax.block_until_ready(jaxgmm.initialize(jax.random.key(seed), x, 64))
"""


@pytest.mark.thorough
def test_many_wide_components_end():
    """Two large calls of LAPACK at once wait for one another for ever on two cores, every
    other time or so."""
    subprocess.run([sys.executable, "-c", WIDE], check=True, timeout=300)
