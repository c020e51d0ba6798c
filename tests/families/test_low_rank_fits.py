"""Fits of low-rank families: beside textbook EM in NumPy, factor analysis and probabilistic PCA.

The rows are the wines, in standard deviations. Most tests share the programs of a few fits.
"""

import csv
import functools
import warnings

import jax
import jax.numpy as jnp
import mfa
import numpy as np
import optax
import pytest
import reference
from conftest import DATA
from sklearn.decomposition import FactorAnalysis

import jaxgmm
from jaxgmm import Gradient, Prior

K, Q = 3, 2
LBFGS = Gradient(optax.lbfgs)


@functools.cache
def wine():
    """All thirteen measurements (178, 13), in standard deviations, and the cultivars."""
    with open(DATA / "wine.csv") as file:
        table = np.array(list(csv.reader(file))[1:], float)
    x = table[:, 1:]
    return (x - x.mean(axis=0)) / x.std(axis=0), table[:, 0].astype(int) - 1


@functools.cache
def start(name):
    """A mixture of labels of which some are wrong, its parameters, and Λ and Ψ of each component."""
    x, labels = wine()
    labels = np.where(np.arange(len(x)) % 7 == 0, (labels + 1) % K, labels)
    mixture = jaxgmm.from_labels(x, labels, K, family=name)
    loadings = np.asarray(jaxgmm.loadings(mixture))
    noise = np.exp(-2 * np.broadcast_to(mixture.covariance.noise, mixture.means.shape))
    return mixture, (
        np.asarray(mixture.weights), np.asarray(mixture.means), list(zip(loadings, noise, strict=True))
    )  # fmt: skip


def fit(name, mixture, algorithm=jaxgmm.EM(), strength=0.0, dtype=np.float64, **settings):
    x, _ = wine()
    prior = Prior(strength, strength * np.cov(x.T, bias=True), None, None, 0.0)
    cast = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)
    return jaxgmm.fit(x.astype(dtype), cast(mixture), algorithm, prior=cast(prior), **settings)


@pytest.mark.parametrize(
    "name",
    [
        "factors-2",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("ppca-2", "tied-factors-2", "tied-ppca-2")
        ),
    ],
)
def test_em_equals_a_textbook(name, x64):
    """After 1 and 25 steps, without a prior and with one; D is what Q + log prior gains."""
    mixture, parameters = start(name)
    kind = type(mixture.covariance)
    for strength in (0.0, 2.0):
        expected = parameters
        for steps in range(1, 26):
            before = expected
            expected, gain = mfa.em_step(
                *before, wine()[0], strength, kind.own_noise, kind.isotropic
            )
            if steps in (1, 25):
                found = fit(name, mixture, strength=strength, tolerance=0.0, max_steps=steps)
                dense = *expected[:2], mfa.covariances_of(expected[2])
                assert reference.distance(found.mixture, *dense) < 1e-10, (strength, steps)
                truth = reference.log_likelihood(*dense, wine()[0])
                np.testing.assert_allclose(found.log_likelihood, truth, rtol=1e-12)
            if steps in (2, 25):  # D belongs to the step after the last one
                found = fit(name, mixture, strength=strength, tolerance=0.0, max_steps=steps - 1)
                np.testing.assert_allclose(178 * found.em_gain, gain, rtol=1e-9)


def test_em_never_falls_and_reaches_its_floor_in_float32(x64):
    mixture, _ = start("factors-2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wide = fit("factors-2", mixture, strength=2.0, tolerance=0.0, max_steps=200)
        narrow = fit(
            "factors-2", mixture, strength=2.0, dtype=np.float32, tolerance=0.0, max_steps=200
        )
    for found, eps in ((wide, 1e-13), (narrow, 1e-6)):
        history = np.asarray(found.history, float)
        assert np.diff(history).min() >= -eps * abs(history[-1])
    truth = wide.mixture.weights, wide.mixture.means, wide.mixture.covariances
    assert reference.distance(narrow.mixture, *map(np.asarray, truth)) < 1e-4
    # A millionth of a row, and the rounding of the sum itself.
    error = abs(float(narrow.log_likelihood) - float(wide.log_likelihood))
    assert error < 1e-6 * 178 + 2 * np.spacing(np.float32(wide.log_likelihood * -1))
    # In this dtype, D falls as far as eps² allows.
    np.testing.assert_allclose(narrow.em_gain, wide.em_gain, rtol=1e-2, atol=1e-11)


@pytest.mark.parametrize(
    ("q", "known"),
    [pytest.param(1, -2894.27028, marks=pytest.mark.thorough), (2, -2747.19105)],
)
def test_one_component_is_factor_analysis(q, known, x64):
    """scikit-learn's optimum, and the published one of this data."""
    x, _ = wine()
    found = fit(
        f"factors-{q}",
        jaxgmm.from_labels(x, np.zeros(178, int), family=jaxgmm.factors(q)),
        tolerance=1e-13,
    )
    assert found.converged
    theirs = FactorAnalysis(q, tol=1e-12, max_iter=5000, svd_method="lapack").fit(x)
    np.testing.assert_allclose(found.log_likelihood, 178 * theirs.score(x), atol=1e-5)
    np.testing.assert_allclose(found.log_likelihood, known, atol=1e-5)
    noise = np.exp(-2 * np.asarray(found.mixture.covariance.noise[0]))
    np.testing.assert_allclose(noise, theirs.noise_variance_, rtol=1e-4)
    explained = np.asarray(jaxgmm.communalities(found.mixture))[0]
    np.testing.assert_allclose(
        explained, 1 - noise / np.diagonal(found.mixture.covariances[0]), rtol=1e-9
    )


def test_one_component_is_probabilistic_pca(iris, x64):
    """A start from labels is the closed form of Tipping & Bishop already."""
    x = (iris - iris.mean(axis=0)) / iris.std(axis=0)
    found = jaxgmm.from_labels(x, np.zeros(150, int), family="ppca-1")
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    closed = -75 * (4 * np.log(2 * np.pi) + np.log(values[0]) + 3 * np.log(values[1:].mean()) + 4)
    np.testing.assert_allclose(jaxgmm.log_likelihood(found, x), closed, rtol=1e-13)
    np.testing.assert_allclose(closed, -702.1344863, atol=1e-6)
    in_units = jaxgmm.from_labels(1000 * iris, np.zeros(150, int), family="ppca-1")
    scaled = np.linalg.eigvalsh(1e6 * np.cov(iris.T, bias=True))
    values = np.linalg.eigvalsh(in_units.covariances[0])
    np.testing.assert_allclose(values, [*[scaled[:3].mean()] * 3, scaled[3]], rtol=1e-9)


def test_gradient_and_hessian_of_the_likelihood(x64):
    """Those of a plain likelihood of dense covariances."""
    mixture, _ = start("factors-2")
    x = jnp.asarray(wine()[0][:40])

    def plain(m):
        root = jnp.linalg.cholesky(m.covariances)
        y = jax.vmap(lambda row: jax.vmap(jnp.linalg.solve)(root, row[None] - m.means))(x)
        half = jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), axis=1)
        joint = (
            m.log_weights[None]
            - jnp.sum(y**2, axis=2) / 2
            - half[None]
            - 13 / 2 * np.log(2 * np.pi)
        )
        return jnp.sum(jax.nn.logsumexp(joint, axis=1))

    along = jax.tree.map(
        lambda leaf: jnp.sin(1 + jnp.arange(leaf.size, dtype=float)).reshape(leaf.shape), mixture
    )
    both = [
        jax.jit(lambda m, f=f: jax.jvp(jax.grad(f), (m,), (along,)))(mixture)
        for f in (lambda m: jaxgmm.log_likelihood(m, x), plain)
    ]
    for ours, theirs in zip(*map(jax.tree.leaves, both), strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, atol=1e-10 * scale)


@pytest.mark.thorough  # for the certificate's compilation
def test_em_and_gradient_end_at_one_optimum(x64):
    """A maximum, whose free directions do not count rotations of factors."""
    x = (
        np.random.default_rng(0).normal(size=(300, 1, 2))
        @ np.random.default_rng(1).normal(size=(300, 2, 6)).mean(axis=0)[None]
    )
    x = (
        x[:, 0] * 12
        + np.random.default_rng(2).normal(size=(300, 6))
        + 4 * (np.arange(300) % 2)[:, None]
    )
    first = jaxgmm.from_labels(x, np.arange(300) % 2, family="factors-2")
    by_em = jaxgmm.fit(x, first, tolerance=1e-13, max_steps=20000)
    by_gradient = jaxgmm.fit(x, first, LBFGS, tolerance=1e-12)
    by_squarem = jaxgmm.fit(x, first, jaxgmm.SQUAREM(), tolerance=1e-12)
    for found in (by_em, by_gradient, by_squarem):
        assert found.converged
        np.testing.assert_allclose(found.objective, by_em.objective, atol=1e-6)
    point = jaxgmm.certificate(by_em.mixture, x)
    assert point.verdict == "maximum"
    assert int(point.n_parameters) == jaxgmm.n_parameters(by_em.mixture) == 1 + 12 + 12 + 2 * 11
    assert 0 < float(point.rate) < 1


@pytest.mark.parametrize(
    "name", ["factors-2", pytest.param("tied-ppca-1", marks=pytest.mark.thorough)]
)
def test_kernels_agree(name, x64):
    """Statistics by residuals and by products, in float64; in float32 beside them."""
    from jaxgmm.data.rows import Rows
    from jaxgmm.objective.statistics import statistics

    mixture, _ = start(name)
    weight = np.random.default_rng(0).uniform(0, 2, 178)
    sums = lambda kernel, dtype: jax.jit(
        lambda m, x, w: statistics(m, Rows.of(x, w), kernel)
    )(*jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (mixture, wine()[0], weight)))  # fmt: skip
    exact = sums("whitened", np.float64)
    for kernel, dtype, error in (
        ("natural", np.float64, 1e-11), ("whitened", np.float32, 2e-5), ("natural", np.float32, 2e-4),
        ("double", np.float32, 2e-5),
    ):  # fmt: skip
        for ours, theirs in zip(*map(jax.tree.leaves, (sums(kernel, dtype), exact)), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=error * np.abs(theirs).max(), rtol=0)


def test_far_components_use_an_accurate_kernel():
    """The bound on the rounding of products grows with means and loadings in units of the noise."""
    from jaxgmm.kernels.rounding_bounds import natural_is_safe

    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    near = jaxgmm.from_labels(x, np.zeros(50, int), family="factors-1")
    assert natural_is_safe(near) and not natural_is_safe(near.translate(jnp.full(6, 50.0)))


@pytest.mark.thorough
def test_gradients_are_fast_near_heywood_cases(x64):
    """What L-BFGS reaches in 150 passes, where EM crawls: it has more to gain after 1000."""
    x, _ = wine()
    first = jaxgmm.initialize(jax.random.key(0), x, K, family="factors-2")
    settings = dict(tolerance=0.0, max_steps=1000)
    by_gradient, by_em = (fit("", first, rule, **settings) for rule in (LBFGS, jaxgmm.EM()))
    within = np.asarray(by_gradient.history)[np.asarray(by_gradient.history_passes) <= 150]
    assert within.max() > -2277.2
    em = np.asarray(by_em.history)
    assert em[150] < within.max() < em[1000]
    assert 0.7 < (em[1000] - em[900]) / (em[900] - em[800]) < 1  # and it goes on as slowly
    assert np.asarray(jaxgmm.communalities(by_em.mixture)).max() > 0.99
