"""Sweeps over rows with missing values and labels."""

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Observed

pytestmark = pytest.mark.thorough
N = 60
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def rows():
    r = np.random.default_rng(0)
    x = r.normal(size=(N, 2)) + 5.0 * (np.arange(N) < N // 2)[:, None]
    x[r.random(x.shape) < 0.1] = np.nan
    x[0] = 5.0, 5.0
    # The first rows have label 1, and the last ones have label 0.
    labels = np.where(np.arange(N) % 10 == 0, np.arange(N) < N // 2, -1)
    return Observed(x.astype(np.float32), labels=labels)


@pytest.fixture(scope="module")
def found(rows):
    return jaxgmm.sweep(KEY, rows, range(1, 4), restarts=2, strategy="full")


def test_every_label_has_a_component(rows, found):
    assert found.n_components == (2, 3)
    with pytest.raises(ValueError, match="a label is 1, but there are 1 components"):
        jaxgmm.sweep(KEY, rows, 1)


@pytest.mark.parametrize("k", [2, 3])
def test_results_are_maxima_that_keep_the_labels(rows, found, k):
    best = found.best(n_components=k)
    again = jaxgmm.fit(rows, best.mixture)
    np.testing.assert_allclose(again.objective, best.objective, rtol=1e-5)
    means = np.asarray(best.mixture.means)
    assert means[1].mean() > 3 > means[0].mean()
