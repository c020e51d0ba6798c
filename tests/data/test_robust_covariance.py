"""The covariance of rows that are not far from all others: the data's own where none is far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data.robust_covariance import robust_covariance_of
from jaxgmm.data.rows import Rows

covariance = jax.jit(lambda x, weight=None: robust_covariance_of(Rows.of(x, weight)))
RNG = np.random.default_rng(0)
BULK = np.concatenate([RNG.normal(0, 1, (500, 3)), RNG.normal(4, 0.7, (500, 3))])


def plain(x):
    return np.cov(x.T, bias=True)


def beside(far):
    return np.concatenate([BULK, np.broadcast_to(far, (len(far), 3))])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_plain_one_where_no_row_is_far(iris, penguins, dtype, x64):
    heavy = np.random.default_rng(1).exponential(size=(1000, 3))
    for x in (iris, penguins, BULK, heavy):
        close = 2e-4 if dtype == np.float32 else 1e-10
        np.testing.assert_allclose(covariance(x.astype(dtype)), plain(x), rtol=close)


@pytest.mark.parametrize("n_far", [1, 5, 20])
@pytest.mark.parametrize("far", [1e2, 1e4, 1e8])
def test_far_rows_change_nothing_however_far(n_far, far, x64):
    together = beside(np.full((n_far, 1), far))
    apart = beside(far * (1 + np.arange(n_far)[:, None]) * np.array([[1, -1, 0.5]]))
    for x in (together, apart):
        np.testing.assert_allclose(covariance(x), plain(BULK), rtol=1e-7)


def test_it_follows_affine_maps(x64):
    x = beside(np.full((3, 1), 300.0))
    turned = np.random.default_rng(2).normal(size=(3, 3)) * np.array([[1e-3, 1.0, 1e3]])
    expected = turned.T @ covariance(x) @ turned
    np.testing.assert_allclose(covariance(x @ turned + 7), expected, rtol=1e-6)


def test_weights_count_rows(x64):
    x = beside(np.full((2, 1), 1e5))
    weight = np.ones(len(x))
    weight[:100] = 3
    repeated = np.concatenate([x, x[:100], x[:100]])
    np.testing.assert_allclose(covariance(x, weight), covariance(repeated), rtol=1e-9)
    # Rows that make up a share of more than 1/(√d + 5)² are never far.
    weight[-2:] = 10
    assert covariance(x, weight)[0, 0] < 10
    weight[-2:] = 30
    assert covariance(x, weight)[0, 0] > 1e8


def test_no_row_is_left_out_where_a_column_would_be_constant(x64):
    rare = np.zeros((1000, 1))
    rare[:3] = 1
    x = np.concatenate([BULK[:, :2], rare], axis=1)
    np.testing.assert_allclose(covariance(x), plain(x), rtol=1e-9)
    # nor where columns would become collinear
    x = np.concatenate([BULK[:, :2], BULK[:, :1] + 5 * rare], axis=1)
    np.testing.assert_allclose(covariance(x), plain(x), rtol=1e-6)


def test_every_kind_of_rows_has_the_same_prior(x64):
    x = beside(np.full((4, 1), 1e6))
    blocks = lambda: (x[i : i + 300] for i in range(0, len(x), 300))
    expected = 0.01 * plain(BULK)
    for rows in (x, jaxgmm.Blocks(x, 128), jaxgmm.Stream(blocks), jaxgmm.Shards(x)):
        np.testing.assert_allclose(jaxgmm.Prior.from_data(rows).scatter, expected, rtol=1e-7)
    both = jax.vmap(lambda x: jaxgmm.Prior.from_data(x).scatter)(jnp.stack([x[:1000], x[4:]]))
    np.testing.assert_allclose(both[1], 0.01 * plain(BULK[4:]), rtol=1e-7)


def test_a_ridge_is_a_variance_in_every_direction(x64):
    x = np.concatenate([BULK, BULK.sum(axis=1, keepdims=True), np.ones((1000, 1))], axis=1)
    ridged = jaxgmm.Prior.from_data(x, ridge=1e-4)
    bare = jaxgmm.Prior.from_data(x)
    variance = np.append(x.std(axis=0)[:4] ** 2, 1)
    added = np.diag(1e-4 * 1000 * variance)
    np.testing.assert_allclose(ridged.scatter, bare.scatter + added, rtol=1e-6, atol=1e-9)
    found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 2), prior=ridged)
    assert found.converged
    for weight, sigma in zip(found.mixture.weights, found.mixture.covariances, strict=True):
        assert np.linalg.eigvalsh(sigma / np.sqrt(np.outer(variance, variance))).min() > (
            0.9e-4 / weight
        )
    with pytest.raises(ValueError, match="ridge is -1"):
        jaxgmm.Prior.from_data(x, ridge=-1)
