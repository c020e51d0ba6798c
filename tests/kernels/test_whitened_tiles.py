"""The whitened kernel in tiles, against the formulas that it computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data.rows import Rows
from jaxgmm.kernels import whitened_tiles
from jaxgmm.kernels.choice import Choice
from jaxgmm.kernels.whitened import Whitened
from jaxgmm.kernels.whitened_tiles import WhitenedTiles, whitened_kernel
from jaxgmm.objective.statistics import statistics

N, D, K = 30, 3, 5


def block_of(name):
    """Return a mixture with an absent component, and columns (d, n) of rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * [1, 2, 3] + 4
    mixture = jaxgmm.from_labels(x, rng.permutation(N) % K, n_components=K, family=name)
    logits = mixture.logits.at[1].set(-jnp.inf)
    return jaxgmm.Mixture(logits, mixture.means, mixture.covariance), jnp.asarray(x.T)


@pytest.mark.parametrize("name", ["diagonal", "spherical", "EEI", "VEI"])
@pytest.mark.parametrize("at_once", [1, 2, K])
def test_tiles_give_the_sums_of_the_plain_formula(name, at_once, monkeypatch, x64):
    mixture, x = block_of(name)
    monkeypatch.setattr(whitened_tiles, "TILE_BYTES", at_once * x.nbytes)
    plain, tiles = Whitened(mixture), WhitenedTiles(mixture)
    weighted = np.random.default_rng(1).random((K, N)) * (np.arange(K) != 1)[:, None]
    found, expected = [], []
    for kernel, results in ((tiles, found), (plain, expected)):
        joint, intermediate = kernel.log_joint(x)
        moments = kernel.statistics(kernel.sums(x, intermediate, jnp.asarray(weighted)))
        results.extend([joint, *moments])
    for leaf, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(leaf, reference, rtol=1e-11, atol=1e-11)


def test_gradients_pass_through_tiles(x64):
    mixture, x = block_of("diagonal")

    def total(kind, mixture):
        joint = kind(mixture).log_joint(x)[0]
        return jnp.sum(jax.nn.logsumexp(joint, axis=0))

    found, expected = (
        jax.grad(lambda mixture, kind=kind: total(kind, mixture))(mixture)
        for kind in (WhitenedTiles, Whitened)
    )
    for leaf, reference in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weight_is_zero", [False, True])
def test_a_fit_by_tiles_is_that_of_the_natural_kernel(weight_is_zero, monkeypatch, x64):
    monkeypatch.setattr(whitened_tiles, "LEAST_ENTRIES", 1)
    mixture, x = block_of("diagonal")
    weight = np.where(np.arange(N) % 3 == 0, 0.0 if weight_is_zero else 0.5, 1.0)
    found, expected = (
        jaxgmm.fit(x.T, mixture, weight=weight, kernel=kernel, max_steps=3).objective
        for kernel in ("whitened", "natural")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_tiles_under_vmap_give_the_statistics_of_each_lane(monkeypatch, x64):
    monkeypatch.setattr(whitened_tiles, "LEAST_ENTRIES", 1)
    mixture, x = block_of("diagonal")
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.5 * leaf]), mixture)
    rows = Rows.of(x.T, None, rows_per_block=16)
    found = jax.vmap(lambda lane: statistics(lane, rows, Choice("whitened", 2)))(lanes)
    for i in range(2):
        lane = jax.tree.map(lambda leaf, i=i: leaf[i], lanes)
        expected = statistics(lane, rows, "natural")
        for leaf, reference in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(leaf[i], reference, rtol=1e-8, atol=1e-8)


def test_tiles_are_for_many_uncorrelated_entries(monkeypatch):
    diagonal, full = block_of("diagonal")[0], block_of("full")[0]
    assert isinstance(whitened_kernel(diagonal), Whitened)
    monkeypatch.setattr(whitened_tiles, "LEAST_ENTRIES", 1)
    if jax.default_backend() == "cpu":
        assert isinstance(whitened_kernel(diagonal), WhitenedTiles)
    assert isinstance(whitened_kernel(full), Whitened)
