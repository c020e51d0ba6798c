"""Mixtures made from parameters, their densities, and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import Mixture


@pytest.mark.parametrize("d", [1, 3])
def test_density_equals_scipy(family, d, x64):
    parameters = reference.random_mixture(d, 4, d, family)
    mixture = Mixture.from_parameters(*parameters, family=family)
    x = np.random.default_rng(0).normal(size=(50, d)) * 3
    expected = reference.log_joint(*parameters, x)
    np.testing.assert_allclose(jaxgmm.log_joint(mixture, x), expected, rtol=1e-12, atol=1e-11)
    rows = np.logaddexp.reduce(expected, axis=1)
    np.testing.assert_allclose(jaxgmm.log_prob(mixture, x), rows, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(
        jaxgmm.responsibilities(mixture, x), np.exp(expected - rows[:, None]), atol=1e-12
    )


def test_parameters_come_back(family, x64):
    weights, means, covariances = reference.random_mixture(1, 3, 4, family)
    mixture = Mixture.from_parameters(weights, means, covariances, family=family)
    np.testing.assert_allclose(mixture.weights, weights, rtol=1e-12)
    np.testing.assert_allclose(mixture.means, means)
    np.testing.assert_allclose(mixture.covariances, covariances, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        mixture.precisions, np.linalg.inv(covariances), rtol=1e-9, atol=1e-10
    )
    assert mixture.family == family
    own = jaxgmm.FAMILIES[family].own(covariances)
    again = Mixture.from_parameters(weights, means, own, family=family)
    np.testing.assert_allclose(again.covariances, covariances, rtol=1e-11, atol=1e-12)


def test_a_spherical_mixture_reads_the_same_in_wider_families(x64):
    parameters = reference.random_mixture(2, 3, 2, "spherical")
    x = np.random.default_rng(1).normal(size=(20, 2))
    narrow = jaxgmm.log_prob(Mixture.from_parameters(*parameters, family="spherical"), x)
    for wide in ("diagonal", "full"):
        found = jaxgmm.log_prob(Mixture.from_parameters(*parameters, family=wide), x)
        np.testing.assert_allclose(found, narrow, rtol=1e-12)


def test_family_names():
    parameters = reference.random_mixture(0, 2, 2, "diagonal")
    assert Mixture.from_parameters(*parameters, family="diag").family == "diagonal"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(family, dtype, x64):
    parameters = [a.astype(dtype) for a in reference.random_mixture(0, 2, 3, family)]
    mixture = Mixture.from_parameters(*parameters, family=family)
    x = np.zeros((5, 3), dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(mixture)} == {np.dtype(dtype)}
    for value in (
        jaxgmm.log_prob(mixture, x),
        jaxgmm.responsibilities(mixture, x),
        jaxgmm.log_likelihood(mixture, x),
        jaxgmm.sample(jax.random.key(0), mixture, 3)[0],
        jaxgmm.e_step(mixture, x).spread,
    ):
        assert value.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_away_points(family, dtype, x64):
    parameters = [a.astype(dtype) for a in reference.random_mixture(3, 3, 2, family)]
    mixture = Mixture.from_parameters(*parameters, family=family)
    x = np.array([[1e8, -1e8], [1e8, 1e8], [0, 1e8]], dtype)
    assert np.isfinite(jaxgmm.log_prob(mixture, x)).all()
    resp = np.asarray(jaxgmm.responsibilities(mixture, x))
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=1e-6)
    joint = np.asarray(jaxgmm.log_joint(mixture, x), np.float64)
    np.testing.assert_allclose(resp, jax.nn.softmax(joint, axis=1), atol=1e-6)


def test_tied_components_share_a_far_row_equally(family):
    mixture = Mixture.from_parameters(
        [0.5, 0.5], np.zeros((2, 2)), np.stack([np.eye(2)] * 2), family=family
    )
    resp = jaxgmm.responsibilities(mixture, np.array([[3e8, 1.0]], np.float32))
    np.testing.assert_array_equal(resp, [[0.5, 0.5]])


def test_absent_components_change_nothing(family, x64):
    weights, means, covariances = reference.random_mixture(4, 3, 2, family)
    padded = Mixture.from_parameters(
        np.append(weights, 0.0), np.vstack([means, [[5.0, 5.0]]]),
        np.concatenate([covariances, covariances[:1]]), family=family,
    )  # fmt: skip
    plain = Mixture.from_parameters(weights, means, covariances, family=family)
    x = np.random.default_rng(2).normal(size=(30, 2)) * 2
    np.testing.assert_allclose(jaxgmm.log_prob(padded, x), jaxgmm.log_prob(plain, x), rtol=1e-13)
    assert (np.asarray(jaxgmm.responsibilities(padded, x))[:, 3] == 0).all()
    assert jaxgmm.n_parameters(padded) == jaxgmm.n_parameters(plain)
    x, component = jaxgmm.sample(jax.random.key(0), padded, 500)
    assert np.asarray(component).max() == 2


def test_sample_has_the_mixture_s_moments(family, x64):
    parameters = reference.random_mixture(5, 2, 3, family)
    mixture = Mixture.from_parameters(*parameters, family=family)
    x, component = jaxgmm.sample(jax.random.key(1), mixture, 40_000)
    assert x.shape == (40_000, 3)
    assert component.shape == (40_000,)
    for j in range(2):
        rows = np.asarray(x)[np.asarray(component) == j]
        assert abs(len(rows) / 40_000 - parameters[0][j]) < 0.015
        scale = np.sqrt(np.diagonal(parameters[2][j]))
        assert (np.abs(rows.mean(axis=0) - parameters[1][j]) < 0.05 * scale).all()
        error = np.cov(rows, rowvar=False) - parameters[2][j]
        assert (np.abs(error) < 0.06 * np.outer(scale, scale)).all()
    again, _ = jaxgmm.sample(jax.random.key(1), mixture, 40_000)
    np.testing.assert_array_equal(x, again)


def test_from_parameters_under_jit_vmap_and_grad(family, x64):
    weights, means, covariances = reference.random_mixture(6, 3, 2, family)
    own = jaxgmm.FAMILIES[family].own(covariances)
    x = np.random.default_rng(3).normal(size=(10, 2))

    def likelihood(weights, means, own):
        mixture = Mixture.from_parameters(weights, means, own, family=family)
        return jaxgmm.log_likelihood(mixture, x)

    plain = likelihood(weights, means, own)
    np.testing.assert_allclose(jax.jit(likelihood)(weights, means, own), plain, rtol=1e-12)
    slope = jax.grad(likelihood, argnums=1)(weights, means, own)
    step = np.zeros_like(means)
    step[1, 0] = 1e-6
    rise = likelihood(weights, means + step, own) - likelihood(weights, means - step, own)
    np.testing.assert_allclose(slope[1, 0], rise / 2e-6, rtol=1e-5)
    many = jax.vmap(likelihood, in_axes=(None, 0, None))(weights, jnp.stack([means] * 2), own)
    np.testing.assert_allclose(many, [plain, plain], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(weights=[0.5, 0.6]), "sum to 1.1"),
        (dict(weights=[-0.5, 1.5]), r"weights\[0\] is negative"),
        (dict(weights=[np.nan, 1.0]), "weights contain NaN"),
        (dict(weights=[1.0]), "weights has shape"),
        (dict(means=[[0.0, np.inf], [1.0, 1.0]]), "means contain NaN"),
        (dict(means=[0.0, 1.0]), "means has shape"),
        (dict(covariances=np.stack([np.eye(2)] * 3)), "covariances has shape"),
        (dict(covariances=[[[1.0, 0.5], [0.1, 1.0]], np.eye(2)]), r"covariances\[0\] is not symmetric"),
        (dict(covariances=[np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]), r"covariances\[1\] is not positive"),
        (dict(covariances=[np.eye(2), np.diag([1.0, 0.0])]), "feature 1 has variance 0"),
        (dict(covariances=np.stack([np.eye(2), 2 * np.eye(2)]), family="tied"), "not of family 'tied'"),
        (dict(covariances=[[1.0, -1.0], [1.0, 1.0]], family="diagonal"), "feature 1 has variance -1"),
        (dict(covariances=np.stack([np.diag([1.0, 2.0])] * 2), family="spherical"), "not of family"),
        (dict(family="round"), "unknown family 'round'"),
        (dict(family=None), "unknown family None"),
        (dict(means=[["a", "b"], ["c", "d"]]), "not numbers"),
        (dict(covariances=1j * np.stack([np.eye(2)] * 2)), "complex"),
    ],
)  # fmt: skip
def test_bad_parameters(change, words):
    good = dict(weights=[0.5, 0.5], means=np.zeros((2, 2)), covariances=np.stack([np.eye(2)] * 2))
    with pytest.raises(ValueError, match=words):
        Mixture.from_parameters(**(good | change))


def test_rounded_means_are_announced():
    with pytest.warns(UserWarning, match="component 0 has a standard deviation of 1 in column 0"):
        Mixture.from_parameters([1.0], [[1e7 + 0.3]], [[[1.0]]])


def test_reading_covariances_again_compiles_nothing(family):
    mixture = Mixture.from_parameters(*reference.random_mixture(1, 3, 2, family), family=family)
    read = lambda: (mixture.covariances, mixture.precisions)
    first, compiled = read(), []
    note = lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        jax.jit(lambda x: x + 1).lower(1.0).compile()
        assert len(compiled) == 1  # the listener hears of compilations
        again = read()
        assert len(compiled) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    np.testing.assert_array_equal(first, again)
