"""The whitened kernel: its accuracy, and products by panels, which many features get."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data.rows import Rows
from jaxgmm.numerics import panels
from jaxgmm.objective.statistics import statistics

D, K = 5, 3


@pytest.fixture
def few_features_in_panels(monkeypatch, x64):
    monkeypatch.setattr(panels, "LEAST_ROWS", 2)


@pytest.mark.parametrize("name", ["full", "tied"])
def test_panels_change_no_statistics(name, few_features_in_panels):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, D)) @ rng.normal(size=(D, D))
    mixture = jaxgmm.from_labels(x, rng.integers(K, size=40), n_components=K, family=name)
    rows = Rows.of(jnp.asarray(x), jnp.asarray(rng.random(40)), rows_per_block=16)
    found, expected = (statistics(mixture, rows, kernel) for kernel in ("whitened", "natural"))
    for leaf in dataclasses.fields(found):
        pair = (getattr(sums, leaf.name) for sums in (found, expected))
        np.testing.assert_allclose(*pair, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.spread, np.swapaxes(found.spread, 1, 2))


@pytest.mark.parametrize("name", ["full", "tied"])
def test_narrow_components_lose_no_digits(name):
    """Components 1000 widths apart, in float32: as in float64, from the same rounded numbers."""
    rng = np.random.default_rng(1)
    centers, component = 1000 * rng.normal(size=(K, D)), rng.integers(K, size=400)
    root = np.eye(D) + 0.3 * rng.normal(size=(1 if name == "tied" else K, D, D))
    x = centers[component] + np.einsum(
        "nij,nj->ni", root[component % len(root)], rng.normal(size=(400, D))
    )
    covariance = root @ root.transpose(0, 2, 1)
    with jax.enable_x64(True):
        wide = jaxgmm.Mixture.from_parameters(
            np.full(K, 1 / K), centers, covariance[0] if name == "tied" else covariance, family=name
        )
        single = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)
        mixture, rows = single(wide), single(x)
        double = jax.tree.map(lambda leaf: np.asarray(leaf, float), (mixture, rows))
        expected = statistics(double[0], Rows.of(jnp.asarray(double[1]), None), "whitened")
        expected = jax.tree.map(np.asarray, expected)
    found = statistics(mixture, Rows.of(rows, None), "whitened")
    mass = np.asarray(expected.mass)[:, None]
    np.testing.assert_allclose(found.shift / mass, expected.shift / mass, atol=1e-5)
    mass = mass.sum(keepdims=True) if name == "tied" else mass
    np.testing.assert_allclose(
        found.spread / mass[..., None], expected.spread / mass[..., None], atol=1e-5
    )
