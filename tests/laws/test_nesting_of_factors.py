"""A family with more factors, or with less equal noise, fits no worse than one that it contains.

Where EM stops in it, the likelihood has no slope.
"""

import functools
import itertools

import jax
import numpy as np
import pytest

import jaxgmm

N, D, K = 120, 5, 2
RNG = np.random.default_rng(11)
LABELS = np.repeat([0, 1], [70, 50])
# Two components with two factors and a noise of its own for each feature.
X = np.concatenate([
    RNG.normal(size=(rows, 2)) @ RNG.normal(size=(2, D)) * 1.5
    + RNG.normal(size=(rows, D)) * np.exp(RNG.uniform(-1, 0.5, size=D)) + shift
    for rows, shift in ((70, 0.0), (50, 2.5))
])  # fmt: skip
# Each family is contained in the one after it.
CHAINS = (
    "ppca-1 factors-1 factors-2 full", "ppca-1 ppca-2 factors-2", "tied-ppca-1 ppca-1",
    "tied-ppca-1 tied-factors-1 factors-1", "tied-factors-1 tied-factors-2 factors-2",
)  # fmt: skip
PAIRS = [pair for chain in map(str.split, CHAINS) for pair in itertools.pairwise(chain)]


def climb(first):
    # EM need not come to its end, which takes long where the noise of a feature is nearly zero.
    return jaxgmm.fit(X, first, prior=None, tolerance=1e-8, max_steps=400)


@functools.cache
def optimum(name):
    """The fit from the labels, or nearly that."""
    return climb(jaxgmm.from_labels(X, LABELS, K, family=name))


def slope(mixture):
    """The steepest slope by noise or loadings, per row and in units of the information's root."""
    found = jax.jit(jax.grad(lambda mixture: jaxgmm.log_likelihood(mixture, X)))(mixture).covariance
    scaled = jax.tree.map(np.divide, found, mixture.covariance.metric(mixture.weights, D))
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(scaled)) / N


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [pytest.param(*pair, marks=() if pair == PAIRS[1] else pytest.mark.thorough) for pair in PAIRS],
)
def test_a_larger_family_fits_no_worse(smaller, larger, x64):
    inner = optimum(smaller)
    # EM's gain is about half of its square.
    assert slope(inner.mixture) < 1e-3
    leaves = (np.asarray(inner.mixture.weights), inner.mixture.means, inner.mixture.covariances)
    same = jaxgmm.Mixture.from_parameters(*leaves, family=larger)
    value = float(inner.log_likelihood)
    np.testing.assert_allclose(jaxgmm.log_likelihood(same, X), value, atol=1e-6)
    shares = jaxgmm.responsibilities(inner.mixture, X)
    again = jaxgmm.from_responsibilities(X, shares, family=larger)
    from_same, from_shares = (float(climb(first).log_likelihood) for first in (same, again))
    assert from_same > value - 1e-7
    # The data are of no smaller family. A factor without loadings is a saddle, where EM stays.
    assert max(from_same, from_shares, float(optimum(larger).log_likelihood)) > value + 0.5
