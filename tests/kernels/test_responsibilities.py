"""Bayes' rule for a block of rows, in one kernel and in several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from jaxgmm.kernels import responsibilities
from jaxgmm.kernels.responsibilities import weighted_responsibilities

RNG = np.random.default_rng(0)
# Far apart and far away, where exponentials of the numbers themselves are 0.
JOINT = 100 * RNG.normal(size=(5, 30)) - 1e4
WEIGHT = RNG.uniform(0, 2, size=30)


@pytest.mark.parametrize("one_kernel", [True, False])
def test_rule_and_its_derivative(one_kernel, x64, monkeypatch):
    monkeypatch.setattr(responsibilities, "FEW_NUMBERS", 4096 * one_kernel)
    evidence = logsumexp(JOINT, axis=0)
    expected = WEIGHT * np.exp(JOINT - evidence)
    found, value = weighted_responsibilities(jnp.asarray(JOINT), jnp.asarray(WEIGHT))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(value, evidence, rtol=1e-12)
    total = lambda joint: jnp.sum(WEIGHT * weighted_responsibilities(joint, WEIGHT)[1])
    np.testing.assert_allclose(jax.jit(jax.grad(total))(JOINT), expected, atol=1e-12)
