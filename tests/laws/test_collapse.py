"""Fits without a maximum: they end with a status, and never with NaN.

All fits of a family share one program, without a prior.
"""

import dataclasses

import every_family
import jax.numpy as jnp
import numpy as np
import pytest
from every_family import LOW_RANK, OWN, _own_family  # noqa: F401

import jaxgmm
from jaxgmm import Mixture, Status

D, K = 3, 2
ONE_VARIANCE = {"EII", "VII", "ppca-1", "tied-ppca-1", OWN}
FREE_OF_AXES = {"EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"}
QUICK = {"EVE", "VEE", "ppca-1"}


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough)
        for name in every_family.NAMES if every_family.exists(name, D)
    ]
)  # fmt: skip
def name(request, x64):
    return request.param


def fit(x, name):
    """Without a tolerance. Where volumes are equal, the likelihood has a limit where a variance is
    zero, so that D is small before it is; and how small depends on rounding."""
    means = np.stack([x[:30].mean(axis=0), x[30:].mean(axis=0)])
    member = every_family.random_member(name, K, D, float, 0, 0.1)
    start = Mixture(jnp.zeros(K), jnp.asarray(means), member)
    return jaxgmm.fit(x, start, prior=None, tolerance=0.0, max_steps=300)


def rows():
    x = np.random.default_rng(1).normal(size=(60, D))
    x[30:] += 4
    return x


def test_features_that_do_not_vary_are_degenerate(name):
    """A constant one, a multiple of another, and one that is constant for one component alone.

    A family that has one variance for all features, or no axes but the features, does not see it.
    """
    constant, multiple, half = rows(), rows(), rows()
    constant[:, 2] = 1.0
    multiple[:, 2] = multiple[:, 0] - 2 * multiple[:, 1]
    half[:30, 2] = 7.0
    common = name in ("EII", "EEI", "EEE", "VEI", "VEE", "EEV", "VEV") or name.startswith("tied")
    for x, sees in (
        (constant, name not in ONE_VARIANCE),
        (multiple, name in FREE_OF_AXES),
        (half, name not in ONE_VARIANCE and not common),
    ):
        found = fit(x, name)
        assert np.isfinite(found.log_likelihood) and np.isfinite(found.mixture.means).all()
        if sees:
            assert found.status == Status.DEGENERATE
        elif name not in LOW_RANK:  # whose noise may go to zero, or not
            assert found.status == Status.MAX_STEPS


def test_axes_that_are_singular_are_not_finite(x64):
    equal = np.stack([np.eye(2)] * 2)
    mixture = Mixture.from_parameters([0.5, 0.5], np.zeros((2, 2)), equal, "VVE")
    axes = jnp.ones_like(mixture.covariance.axes)
    broken = dataclasses.replace(
        mixture, covariance=dataclasses.replace(mixture.covariance, axes=axes)
    )
    assert jaxgmm.fit(rows()[:, :2], broken, prior=None).status == Status.NONFINITE
