"""The M-step of EVE and VVE on the wines, whose clusters hardly agree about common axes.

Sweeps of plane rotations alone need more than a hundred of them there.
"""

import functools

import fourteen
import numpy as np
import pytest
import reference

import jaxgmm

WINE = fourteen.IRIS.with_name("wine.csv")
CASES = [
    pytest.param("VVE", 3),
    *(pytest.param(*case, marks=pytest.mark.thorough) for case in
      [("VVE", 2), ("EVE", 2), ("EVE", 3)]),
]  # fmt: skip


@functools.cache
def wine():
    """Five columns in standard deviations."""
    table = np.genfromtxt(WINE, delimiter=",", skip_header=1, usecols=range(1, 6))
    return (table - table.mean(axis=0)) / table.std(axis=0)


@functools.cache
def start(family, k):
    """A mixture of labels: slices of the rows in the order of a column, with some exchanged."""
    x = wine()
    labels = np.argsort(np.argsort(x[:, 0] + x[:, 4])) * k // len(x)
    labels[::9] = (labels[::9] + 1) % k
    shares = np.eye(k)[labels]
    mass, means = shares.sum(axis=0), shares.T @ x / shares.sum(axis=0)[:, None]
    covariances, axes = fourteen.covariances_of(scatter(shares, means), mass, family)
    return mass / len(x), means, covariances, axes


def scatter(responsibilities, means):
    return np.stack([
        (r[:, None] * (wine() - m)).T @ (wine() - m)
        for r, m in zip(responsibilities.T, means, strict=True)
    ])  # fmt: skip


def fit(family, k, steps):
    mixture = jaxgmm.Mixture.from_parameters(*start(family, k)[:3], family=family)
    return jaxgmm.fit(wine(), mixture, prior=None, tolerance=0.0, max_steps=steps).mixture


@pytest.mark.parametrize(("family", "k"), CASES)
def test_the_m_step_is_stationary(family, k, x64):
    """Flury's equations: Σ_k (1/l_ki − 1/l_kj) S_kij = 0 for the variances l along the axes."""
    joint = reference.log_joint(*start(family, k)[:3], wine())
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    found = fit(family, k, 1)
    covariances = np.asarray(found.covariances)
    axes = np.linalg.eigh(covariances[0])[1]
    moments = axes.T @ scatter(shares, np.asarray(found.means)) @ axes
    variances = np.diagonal(axes.T @ covariances @ axes, axis1=1, axis2=2)
    precision = 1 / variances
    apart = precision[:, :, None] - precision[:, None, :]
    assert np.abs(np.sum(apart * moments, axis=0)).max() / len(wine()) < 1e-13


@pytest.mark.parametrize(("family", "k"), CASES)
def test_em_equals_an_independent_one(family, k, x64):
    for steps in (1, 10):
        weights, means, covariances, axes = start(family, k)
        expected = fourteen.em(weights, means, covariances, wine(), family, steps, 0.0, axes)
        assert reference.distance(fit(family, k, steps), *expected) < 1e-9, steps
