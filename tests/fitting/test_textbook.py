"""The textbook mode against the notebook's algorithm, written here with NumPy's own functions."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import jaxgmm
from jaxgmm import Mixture, Status

EPSILON = 1e-5


def notebook(x, means, max_steps):
    """Random rows as means, the features' variances, `numpy.cov` with aweights, 1e-5 on the
    diagonal, until the mean log-likelihood changes by less than 1e-5."""
    k, d = means.shape
    weights, covariances = np.full(k, 1 / k), np.stack([np.diag(x.var(axis=0))] * k)
    means, seen = means.copy(), []
    for _ in range(max_steps):
        density = np.stack(
            [
                w * multivariate_normal(m, c).pdf(x)
                for w, m, c in zip(weights, means, covariances, strict=True)
            ],
            axis=1,
        )
        resp = density / density.sum(axis=1, keepdims=True)
        for j in range(k):
            means[j] = np.average(x, axis=0, weights=resp[:, j])
            covariances[j] = np.cov(x, rowvar=False, aweights=resp[:, j]) + EPSILON * np.eye(d)
        weights = resp.sum(axis=0) / resp.sum()
        seen.append(np.log(density.sum(axis=1)).mean())
        if len(seen) > 1 and abs(seen[-1] - seen[-2]) < EPSILON:
            break
    return weights, means, covariances, seen


@pytest.mark.parametrize("max_steps", [3, 200])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_number_for_number(seed, max_steps, iris, x64):
    x = iris[:, :2]
    rows = x[np.random.default_rng(seed).choice(150, 3)]
    weights, means, covariances, seen = notebook(x, rows, max_steps)
    # No change is so near the threshold that rounding decides where it stops.
    assert (np.abs(np.abs(np.diff(seen)) - EPSILON) > 1e-10).all()
    start = Mixture.from_parameters(np.full(3, 1 / 3), rows, np.stack([np.diag(x.var(axis=0))] * 3))
    fit = jaxgmm.textbook_em(x, start, max_steps=max_steps)
    assert fit.steps == len(seen) == len(fit.history) - 1
    assert fit.converged == (len(seen) < max_steps)
    np.testing.assert_allclose(fit.history[: len(seen)] / 150, seen, rtol=1e-10)
    np.testing.assert_allclose(fit.mixture.weights, weights, rtol=1e-8)
    np.testing.assert_allclose(fit.mixture.means, means, rtol=1e-8)
    np.testing.assert_allclose(fit.mixture.covariances, covariances, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(
        fit.log_likelihood, jaxgmm.log_likelihood(fit.mixture, x), rtol=1e-12
    )


def test_bad_start(iris):
    x = iris.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 2, family="tied")
    with pytest.raises(ValueError, match="family 'full'"):
        jaxgmm.textbook_em(x, start)


def test_no_steps(iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 2)
    fit = jaxgmm.textbook_em(iris, start, max_steps=0)
    assert fit.status == Status.MAX_STEPS
    np.testing.assert_allclose(fit.log_likelihood, jaxgmm.log_likelihood(start, iris))
