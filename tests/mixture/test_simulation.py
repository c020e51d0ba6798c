"""Simulated data and the overlap of components: what the dials say is what there is."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy.stats import norm

import jaxgmm
from jaxgmm import Mixture, misassignment, overlap, separation, simulate
from jaxgmm.internal import memory


def separation_of(mixture):
    """The closest pair, by the definition."""
    means, size = np.asarray(mixture.means), np.trace(mixture.covariances, axis1=1, axis2=2)
    k = len(means)
    return min(
        np.linalg.norm(means[i] - means[j]) / np.sqrt(max(size[i], size[j]))
        for i in range(k) for j in range(i)
    )  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("d", "k", "c", "e"), [(1, 3, 2.0, 1.0), (4, 5, 0.2, 10.0), (2, 2, 1e4, 3.0), (3, 2, 0.0, 1.0)]
)
def test_the_dials_mean_what_they_say(d, k, c, e, x64):
    made = simulate(jax.random.key(3), 500, d, k, separation=c, eccentricity=e)
    np.testing.assert_allclose(separation_of(made.mixture), c, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(separation(made.mixture), c, rtol=1e-9, atol=1e-12)
    values = np.linalg.eigvalsh(made.mixture.covariances)
    if d > 1:
        np.testing.assert_allclose(values[:, -1] / values[:, 0], e)
        np.testing.assert_allclose(np.diff(np.log(values), axis=1), np.log(e) / (d - 1), atol=1e-9)
    np.testing.assert_allclose(values.sum(axis=1), d)
    assert float(made.mixture.weights.min()) > 1 / (4 * k)
    np.testing.assert_allclose(made.mixture.weights.sum(), 1)
    assert made.x.shape == (500, d) and made.component.shape == (500,)
    assert made.x.dtype == np.float64 and made.mixture.family == "full"
    np.testing.assert_allclose(made.overlap, overlap(made.mixture), atol=1e-12)


def test_rows_are_those_of_the_mixture(x64):
    made = simulate(
        jax.random.key(0), 20_000, 2, 2, separation=3.0, eccentricity=5.0, weights=[0.25, 0.75]
    )
    for i in range(2):
        rows = np.asarray(made.x)[np.asarray(made.component) == i]
        assert abs(len(rows) / 20_000 - [0.25, 0.75][i]) < 0.02
        np.testing.assert_allclose(rows.mean(axis=0), made.mixture.means[i], atol=0.05)
        np.testing.assert_allclose(np.cov(rows.T), made.mixture.covariances[i], atol=0.06)


def test_a_single_component():
    made = simulate(jax.random.key(0), 10, 3, 1, separation=2.0)
    assert made.overlap.shape == (1, 1) and float(made.overlap[0, 0]) == 0
    assert (np.asarray(made.mixture.means) == 0).all()
    assert np.isinf(separation(made.mixture))
    assert made.x.dtype == np.float32


def test_keys_and_dials_are_batched():
    keys = jax.random.split(jax.random.key(0), 2)
    many = jax.vmap(lambda key, c: simulate(key, 20, 2, 3, separation=c))(
        keys, jnp.array([0.5, 2.0])
    )
    np.testing.assert_allclose(jax.vmap(separation)(many.mixture), [0.5, 2.0], rtol=1e-5)
    one = simulate(keys[1], 20, 2, 3, separation=2.0)
    np.testing.assert_allclose(many.x[1], one.x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("d", [1, 2, 3, 10])
def test_equal_covariances_have_a_closed_form(d, x64):
    """ω_j|i = Φ(−Δ/2 + log(π_j/π_i)/Δ), Δ the Mahalanobis distance."""
    rng = np.random.default_rng(d)
    root = np.tril(rng.normal(size=(d, d))) + 2 * np.eye(d)
    means, weights = rng.normal(size=(3, d)) * 2, np.array([0.2, 0.3, 0.5])
    mixture = Mixture.from_parameters(weights, means, root @ root.T, family="tied")
    found, error = misassignment(mixture)
    for i in range(3):
        for j in {0, 1, 2} - {i}:
            delta = np.linalg.norm(np.linalg.solve(root, means[i] - means[j]))
            expected = norm.cdf(-delta / 2 + np.log(weights[j] / weights[i]) / delta)
            np.testing.assert_allclose(
                found[i, j], expected, atol=1e-7, rtol=1e-12 if d == 1 else 0
            )
            assert float(error[i, j]) < 1e-8
    np.testing.assert_allclose(overlap(mixture), found + found.T, atol=1e-15)
    assert (np.diag(found) == 0).all()


@pytest.mark.parametrize("d", [1, 2, 4])
def test_misassignment_is_what_sampling_finds(d, family, x64):
    """Against the Bayes rule applied to 200 000 rows of each component."""
    parameters = reference.random_mixture(21 + d, 3, d, family, spread=1.0)
    weights, means, covariances = parameters
    mixture = Mixture.from_parameters(*parameters, family=family)
    found, error = misassignment(mixture)
    rng, n = np.random.default_rng(0), 200_000
    for i in range(3):
        rows = rng.multivariate_normal(means[i], covariances[i], n)
        joint = reference.log_joint(*parameters, rows)
        for j in {0, 1, 2} - {i}:
            seen = np.mean(joint[:, j] > joint[:, i])
            noise = np.hypot(np.sqrt(seen * (1 - seen) / n), error[i, j])
            assert abs(seen - float(found[i, j])) < 4.5 * noise + 2e-5
            assert float(error[i, j]) < 1e-4


def test_overlap_at_the_edges(x64):
    """Equal components share their rows; an absent one takes none; far ones have a tail as exact as
    it is small; a wider component in the same place."""
    same = Mixture.from_parameters([0.5, 0.5, 0.0], np.zeros((3, 2)), [np.eye(2)] * 3)
    np.testing.assert_allclose(overlap(same), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    far = Mixture.from_parameters([0.5, 0.5], [[0.0], [20.0]], [np.eye(1)] * 2)
    np.testing.assert_allclose(overlap(far)[0, 1], 2 * norm.cdf(-10), rtol=1e-10)
    wide = Mixture.from_parameters([0.5, 0.5], np.zeros((2, 2)), [1.0, 4.0], family="spherical")
    limit = 2 * np.log(4) / (1 - 1 / 4)  # where the densities are equal, as r² of the narrow one
    np.testing.assert_allclose(misassignment(wide)[0][0, 1], np.exp(-limit / 2), rtol=1e-10)
    np.testing.assert_allclose(misassignment(wide)[0][1, 0], 1 - np.exp(-limit / 8), rtol=1e-10)


def test_bad_input():
    key = jax.random.key(0)
    for arguments, words in (
        (dict(n=0), "n is 0"),
        (dict(d=1.5), "d is 1.5"),
        (dict(k=0), "k is 0"),
        (dict(separation=-1.0), "separation is -1.0"),
        (dict(eccentricity=0.5), "eccentricity is 0.5"),
        (dict(weights=[0.5, 0.6]), "sum to 1"),
        (dict(weights=[1.0]), r"pass \(2,\)"),
        (dict(weights=[0.0, 1.0]), "positive weights"),
        (dict(key=3), "not one JAX random key"),
    ):
        with pytest.raises(ValueError, match=words):
            simulate(**(dict(key=key, n=5, d=2, k=2, separation=1.0) | arguments))
    with pytest.raises(ValueError, match="pass a Mixture"):
        overlap(3.0)


# ---- memory -------------------------------------------------------------------------------------


def test_more_rows_than_memory_holds_are_refused_before_anything_is_drawn(monkeypatch):
    mixture = jaxgmm.Mixture.from_parameters([1.0], [[0.0, 0.0]], [np.eye(2)])
    key = jax.random.key(0)
    monkeypatch.setattr(
        "jaxgmm.internal.memory.available_bytes", lambda: 48 * 1000
    )  # 12 numbers for a row
    assert jaxgmm.sample(key, mixture, 1000)[0].shape == (1000, 2)
    with pytest.raises(ValueError, match=r"n is 2000: .* about 0.0 GB .* Draw fewer at a time"):
        jaxgmm.sample(key, mixture, 2000)
    monkeypatch.setattr("jaxgmm.internal.memory.available_bytes", lambda: None)  # nobody knows
    assert jaxgmm.sample(key, mixture, 2000)[0].shape == (2000, 2)


def test_available_memory_is_what_the_control_group_leaves(tmp_path):
    """A file that could be given back is not in use."""
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 1000\n")
    assert memory._group_limit(str(tmp_path)) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._group_limit(str(tmp_path)) is None
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.available_bytes() <= physical
