"""Products of the statistics of rows from fourth moments, against those of the statistics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgmm import Mixture
from jaxgmm.kernels import pair_moments
from jaxgmm.kernels.pair_moments import PairMoments, dtype_of_products
from jaxgmm.kernels.row_statistics import RowStatistics

N, D, K = 50, 2, 3
RNG = np.random.default_rng(0)
X, WEIGHT = RNG.normal(size=(N, D)), RNG.uniform(0, 2, N)
MEANS = RNG.normal(size=(K, D))
ROOTS = np.eye(D) + 0.3 * RNG.normal(size=(K, D, D))


def a_mixture(family="full", moved=0.0):
    covariances = ROOTS @ ROOTS.transpose(0, 2, 1)
    if family != "full":  # covariances that are equal and diagonal belong to every family
        covariances = np.broadcast_to(np.diag([1.0, 2.0]), (K, D, D))
    mixture = Mixture.from_parameters(np.full(K, 1 / K), MEANS + moved, covariances, family)
    return dataclasses.replace(mixture, logits=mixture.logits.at[1].set(-jnp.inf))


def both(mixture, x, dtype="float64"):
    """The products of fourth moments, and those of the statistics of each row."""
    x, weight = jnp.asarray(x.T, mixture.dtype), jnp.asarray(WEIGHT, mixture.dtype)

    @jax.jit
    def products(mixture, x, weight):
        kernels = PairMoments(mixture, dtype), RowStatistics(mixture, 1)
        return [k.products(k.sums_of_products(x, weight, True)) for k in kernels]

    return products(mixture, x, weight)


def apart(mixture, x, dtype="float64"):
    """The largest difference between the two, relative to the largest entry of each."""
    pairs = zip(*both(mixture, x, dtype), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_moments_have_the_products_of_the_statistics(family, x64):
    """With weights, an absent component, and entries that components share."""
    assert apart(a_mixture(family), X) < 1e-13


def test_moments_of_float32_rows_are_summed_in_float64():
    assert apart(a_mixture(moved=5.0), X + 5) < 2e-6


def test_products_in_float32_are_for_mixtures_near_their_mean(x64):
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), a_mixture())
    assert dtype_of_products(narrow) == "float32"
    wide = dataclasses.replace(narrow, means=10 * narrow.means)
    assert dtype_of_products(wide) == "float64"
    assert dtype_of_products(a_mixture()) == "float64"
    assert 1e-9 < apart(a_mixture(), X, "float32") < 2e-6


def test_sums_in_float32_are_added_in_float64(x64):
    """Rows that are repeated have an exact multiple of the products."""
    once = jnp.asarray(RNG.normal(size=(D, 1024)))
    kernel = PairMoments(a_mixture(), "float32")
    found = jax.jit(lambda x: kernel.sums_of_products(x, jnp.ones(x.shape[1]), True))
    for one, many in zip(found(once), found(jnp.tile(once, 15)), strict=True):
        np.testing.assert_allclose(
            many, 15 * one, rtol=0, atol=1e-12 * float(jnp.max(jnp.abs(many)))
        )


def test_moments_far_from_the_center_are_not_used(x64):
    """Means that are a thousand standard deviations apart lose half of float64's digits."""
    near, far = a_mixture(), dataclasses.replace(a_mixture(), means=jnp.asarray(1e3 * MEANS))
    assert dtype_of_products(near) == "float64" and dtype_of_products(far) is None
    assert apart(far, np.concatenate([X[:25] + 1e3 * MEANS[0], X[25:] + 1e3 * MEANS[2]])) > 1e-10
    assert dtype_of_products(a_mixture("diagonal")) is None  # its statistics are few


def test_many_features_are_declined_without_a_list_of_their_monomials(monkeypatch):
    """For 256 features, the list would fill the memory."""
    monkeypatch.setattr(pair_moments, "_monomials", None)
    assert pair_moments.n_monomials(256) > 10**8
    means = np.zeros((2, 256))
    wide = Mixture.from_parameters([0.5, 0.5], means, [np.eye(256)] * 2)
    assert dtype_of_products(wide) is None


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_number_of_monomials(d):
    assert pair_moments.n_monomials(d) == len(pair_moments._monomials(d, 4))
