"""Bayes' rule for a block of rows, of one mixture and of several in a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from jaxgmm.kernels.responsibilities import FEW_NUMBERS, rule_for_lanes

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("rows", [30, FEW_NUMBERS])
def test_rule_and_its_derivative(lanes, rows, x64):
    # Far apart and far away, where exponentials of the numbers themselves are 0.
    joint = 100 * RNG.normal(size=(lanes, 5, rows)) - 1e4
    weight = RNG.uniform(0, 2, size=rows)
    evidence = logsumexp(joint, axis=1)
    expected = weight * np.exp(joint - evidence[:, None])
    rule = jax.vmap(rule_for_lanes(lanes), in_axes=(0, None))
    found, value = jax.jit(rule)(joint, weight)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(value, evidence, rtol=1e-12)
    total = lambda joint: jnp.sum(weight[None] * rule(joint, weight)[1])
    np.testing.assert_allclose(jax.jit(jax.grad(total))(joint), expected, atol=1e-12)
