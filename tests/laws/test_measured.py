"""Noise that all rows share, and families whose passes are computed by full covariances."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import observed as reference
import pytest

import jaxgmm
from jaxgmm import Observed

pytestmark = pytest.mark.usefixtures("x64")
K, D, N = 2, 3, 40


@functools.cache
def rows():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(N // 2, D)), rng.normal(size=(N // 2, D)) + 2.5])
    gaps = np.where(rng.random(x.shape) < 0.4, np.nan, x)
    gaps[3] = np.nan
    root = rng.normal(size=(D, D))
    return x, gaps, rng.random(D) + 0.1, 0.3 * root @ root.T


@functools.cache
def mixture(family="full"):
    rng = np.random.default_rng(0)
    root = np.eye(D) + 0.4 * rng.normal(size=(K, D, D))
    whole = root @ np.swapaxes(root, 1, 2)
    dense = jaxgmm.Mixture.from_parameters([0.4, 0.6], rng.normal(size=(K, D)), whole)
    kind = jaxgmm.FAMILIES.get(family) or jaxgmm.factors(1)
    return dataclasses.replace(dense, covariance=kind.from_own(kind.own(whole), jnp))


def parameters(m):
    return tuple(np.asarray(part) for part in (m.weights, m.means, m.covariances))


def assert_same(found, expected, tolerance=1e-12):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * N)


def with_another_row(x, noise):
    """The rows with their noise each, and a row of weight 0 whose noise is another one.

    So the noise is not the same for all rows, and the sums are those of the rows given.
    """
    each = np.broadcast_to(noise, (N, *noise.shape))
    observed = Observed(np.concatenate([x, x[:1]]), noise=np.concatenate([each, 2 * each[:1]]))
    return observed, np.arange(N + 1) < N


QUICK = [("full", "gaps", "covariances"), ("tied", "complete", "covariances"),
         ("diagonal", "gaps", "variances")]  # fmt: skip
FAMILIES = ("full", "tied", "diagonal", "spherical", "EEI", "VVE", "factors")


@pytest.mark.parametrize(
    ("family", "values", "kind"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.thorough)
        for case in itertools.product(FAMILIES, ("complete", "gaps"), ("variances", "covariances"))
    ],
)
def test_shared_noise_is_noise_of_every_row(family, values, kind):
    x, gaps, variances, matrix = rows()
    noise = variances if kind == "variances" else matrix
    at, m = gaps if values == "gaps" else x, mixture(family)
    each, weight = with_another_row(at, noise)
    found = jaxgmm.e_step(m, Observed(at, noise=noise))
    assert_same(found, jaxgmm.e_step(m, each, weight=weight))
    density = jaxgmm.log_prob(m, each)[:N]
    assert_same(jaxgmm.log_prob(m, Observed(at, noise=noise)), density)


@pytest.mark.thorough
def test_shared_noise_in_every_kind_of_data():
    """Blocks of a stream with noise of their own do not share it, even if their rows do."""
    _, gaps, variances, _ = rows()
    m, whole = mixture(), Observed(gaps, noise=variances)
    expected = jaxgmm.e_step(m, whole)
    for source in (jaxgmm.Stream(gaps, 16), jaxgmm.Shards(gaps), jaxgmm.Blocks(gaps, 16)):
        assert_same(jaxgmm.e_step(m, Observed(source, noise=variances)), expected)
    parts = [(gaps[i : i + 20], variances * (1 + i)) for i in (0, 20)]
    stream = Observed(jaxgmm.Stream([Observed(x, noise=noise) for x, noise in parts]))
    sums = [jaxgmm.e_step(m, Observed(x, noise=noise)) for x, noise in parts]
    assert_same(jaxgmm.e_step(m, stream), sums[0] + sums[1])


def test_a_covariance_for_a_stream_with_a_block_of_as_many_rows_as_columns():
    x, _, _, matrix = rows()
    stream = jaxgmm.Stream([x[: N - D], x[N - D :]])
    expected = jaxgmm.e_step(mixture(), Observed(x, noise=matrix))
    assert_same(jaxgmm.e_step(mixture(), Observed(stream, noise=matrix)), expected)


@pytest.mark.parametrize("kind", ["variances", pytest.param("matrix", marks=pytest.mark.thorough)])
def test_the_slope_by_shared_noise_is_that_of_every_row(kind):
    _, gaps, variances, matrix = rows()
    noise, m, weight = variances if kind == "variances" else matrix, mixture(), np.arange(N) % 3

    def height(noise):
        return jaxgmm.log_likelihood(m, Observed(gaps, noise=noise), weight=weight)

    each = np.broadcast_to(noise, (N, *noise.shape))
    of_rows = jax.jit(jax.grad(height))(each)
    assert_same(jax.jit(jax.grad(height))(noise), of_rows.sum(axis=0), 1e-10)


@pytest.mark.thorough
def test_imputed_rows_with_shared_noise():
    x, _, variances, _ = rows()
    each, _ = with_another_row(x, variances)
    filled = jaxgmm.impute(mixture(), Observed(x, noise=variances))
    assert_same(filled, jaxgmm.impute(mixture(), each)[:N])


def cases():
    x, gaps, variances, matrix = rows()
    each = np.arange(1, N + 1)[:, None] / N * variances
    return {
        "gaps": (Observed(gaps), (gaps,)),
        "variances": (Observed(gaps, noise=each), (gaps, each)),
        "covariance": (Observed(x, noise=matrix), (x, np.tile(matrix, (N, 1, 1)))),
    }


KINDS = ["gaps", *(pytest.param(kind, marks=pytest.mark.thorough) for kind in list(cases())[1:])]


@pytest.mark.parametrize("kind", KINDS)
def test_few_factors_with_incomplete_rows(kind):
    """The density is that of the covariances, and the gradient its own."""
    observed, arguments = cases()[kind]
    m = mixture("factors")
    joint = reference.log_joint(*parameters(m), *arguments)
    assert_same(jaxgmm.log_prob(m, observed), np.logaddexp.reduce(joint, axis=1))
    slope = jax.grad(jaxgmm.log_likelihood)(m, observed)
    plain = jax.jit(jax.grad(lambda m: jnp.sum(jaxgmm.log_prob(m, observed))))(m)
    assert_same(slope, plain, 1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", cases())
def test_em_of_few_factors_never_falls(kind):
    fit = jaxgmm.fit(cases()[kind][0], mixture("factors"), prior=None, max_steps=10, tolerance=0.0)
    assert np.all(np.diff(fit.history) > 0)
