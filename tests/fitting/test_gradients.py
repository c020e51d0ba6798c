"""Gradients of a loss of the fitted parameters, by rows, row weights and the prior's strength, in
every family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_family import OWN, _own_family  # noqa: F401
from fourteen import FOURTEEN

import jaxgmm
from jaxgmm import Prior

N, D, K = 160, 7, 2
RANDOM = np.random.default_rng(4)
LABELS = np.arange(N) % K
# Two factors of each component, and noise.
FIRST, SECOND = [1.0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1.0, 1, 1, 1]
LOADINGS = np.stack([np.transpose([FIRST, SECOND]), np.transpose([SECOND, FIRST]) * [1.4, -0.8]])
X = np.einsum("nij,nj->ni", LOADINGS[LABELS], RANDOM.normal(size=(N, 2)))
X += 0.6 * RANDOM.normal(size=(N, D)) + 2.5 * LABELS[:, None]
WEIGHT = RANDOM.uniform(0.5, 2, N)
WEIGHT[5] = 0
# Directions in which the rows and the weights move.
ALONG = RANDOM.normal(size=X.shape), RANDOM.normal(size=N) * (WEIGHT > 0)
SLOPES = RANDOM.normal(size=K), RANDOM.normal(size=(K, D)), RANDOM.normal(size=(K, D, D))
FULL_RANK = (*FOURTEEN, OWN)
LOW_RANK = "factors-1", "factors-2", "ppca-1", "ppca-2"
# One rule has derivatives in both modes, so that one family of each kind shows that they agree.
IN_BOTH_MODES = "EVI", "EEE", "EVE", "factors-1"


@pytest.mark.thorough
@pytest.mark.parametrize("family", [*FULL_RANK, *LOW_RANK])
def test_gradients_equal_central_differences(family, x64):
    """Within 2e-5 of differences of converged fits, and within 1e-4 at the default tolerance."""
    d = 3 if family in FULL_RANK else D  # the loadings of 2 factors in 3 features are not unique
    rows, along = X[:, :d], (ALONG[0][:, :d], ALONG[1])
    slopes = SLOPES[0], SLOPES[1][:, :d], SLOPES[2][:, :d, :d]
    start = jaxgmm.from_labels(rows, LABELS, family=family)

    def loss(moved, tolerance):
        x, weight = rows + moved[0] * along[0], WEIGHT + moved[1] * along[1]
        prior = Prior.from_data(x, weight=weight, strength=5 + moved[2])
        settings = dict(weight=weight, prior=prior, tolerance=tolerance, max_steps=30_000)
        mixture = jaxgmm.fit(x, start, **settings).mixture
        parts = mixture.weights, mixture.means, mixture.covariances
        linear = sum(jnp.vdot(slope, part) for slope, part in zip(slopes, parts, strict=True))
        return linear + jnp.sum(jnp.sin(parts[2]))

    reverse = jax.jit(jax.value_and_grad(loss))
    step, zero = 1e-4, jnp.zeros(3)
    # Values where a derivative is taken are those of the maximum to rounding.
    differences = [reverse(m, 1e-20)[0] - reverse(-m, 1e-20)[0] for m in step * np.eye(3)]
    expected = np.array(differences) / (2 * step)
    found = {tolerance: reverse(zero, tolerance)[1] for tolerance in (1e-18, 1e-9)}
    np.testing.assert_allclose(found[1e-18], expected, rtol=2e-5)
    np.testing.assert_allclose(found[1e-9], expected, rtol=1e-4)
    if family in IN_BOTH_MODES:
        forward = jax.jit(jax.jacfwd(loss))(zero, 1e-9)
        np.testing.assert_allclose(forward, found[1e-9], rtol=1e-10)
