"""The whitened kernel with products by panels, which many features get."""

import dataclasses

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
