"""The natural kernel at the limit of its rule, where EM is slow and errors add up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data.rows import Rows
from jaxgmm.kernels.natural import Natural
from jaxgmm.kernels.rounding_bounds import rounding, safe_rounding
from jaxgmm.objective.statistics import statistics

N, D, PAIRS = 3000, 8, 4
SPREAD = {"full": 4, "tied": 7, "diagonal": 8, "spherical": 11}  # of centers, in widths


def pairs_far_from_the_center(family):
    """Rows of pairs of components that overlap, and a mixture near the one they come from."""
    rng = np.random.default_rng(0)
    center, apart = rng.normal(size=(2, PAIRS, D))
    apart /= np.linalg.norm(apart, axis=1)[:, None]
    center *= SPREAD[family]
    means = np.concatenate([center - apart, center + apart])
    labels = rng.integers(2 * PAIRS, size=N)
    x = (means[labels] + rng.normal(size=(N, D))).astype(np.float32)
    mistaken = np.where(rng.random(N) < 0.15, (labels + PAIRS) % (2 * PAIRS), labels)
    return x, jaxgmm.from_labels(x, mistaken, n_components=2 * PAIRS, family=family)


@pytest.mark.parametrize("steps", [1, 200])
def test_parameters_stay_within_a_ten_thousandth(family, steps, x64):
    x, start = pairs_far_from_the_center(family)
    share = float(rounding(start.translate(-jnp.asarray(x.mean(axis=0))))) / safe_rounding(start)
    assert 1 / 2 < share < 1
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), start)
    fit = lambda mixture, x, kernel: (
        jaxgmm.fit(x, mixture, kernel=kernel, prior=None, tolerance=0, max_steps=steps).mixture
    )
    found, exact = fit(start, x, "natural"), fit(wide, x.astype(np.float64), "whitened")
    assert found.dtype == np.float32
    root = np.linalg.cholesky(exact.covariances)
    whiten = lambda matrix: np.linalg.solve(root, matrix)
    whitened = whiten(np.swapaxes(whiten(np.asarray(found.covariances, float)), 1, 2))
    np.testing.assert_allclose(whiten((found.means - exact.means)[..., None]), 0, atol=1e-4)
    np.testing.assert_allclose(whitened, np.broadcast_to(np.eye(D), whitened.shape), atol=1e-4)
    np.testing.assert_allclose(found.weights, exact.weights, rtol=1e-4)


def test_an_absent_component_takes_no_row_however_far(x64):
    """It may be the wider one, and differences of log-densities reach 1e49 in float64."""
    covariances = [[[1.0]], [[9.0]]]
    mixture = jaxgmm.Mixture.from_parameters([1.0, 0.0], [[0.0], [1.0]], covariances)
    sums = statistics(mixture, Rows.of(jnp.asarray([[1e25], [0.0]]), None), "natural")
    np.testing.assert_array_equal(sums.mass, [2.0, 0.0])


def test_parameters_have_no_rounding_error_of_their_own(x64):
    """The natural parameters of float32 are those of float64, rounded."""
    x, start = pairs_far_from_the_center("full")
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), start)
    exact = Natural(wide).parameters
    np.testing.assert_array_equal(Natural(start).parameters, exact.astype(np.float32))
    # A batch computes them in float32.
    assert np.any(np.asarray(Natural(start, lanes=2).parameters) != exact.astype(np.float32))
