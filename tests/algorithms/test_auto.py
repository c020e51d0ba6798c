"""`Auto`: EM where EM is quick, and fewer passes to the same optimum where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.algorithms.auto import steps_to_go


@pytest.fixture(scope="module")
def fits():
    """Fits of well separated and of overlapping rows, by EM and by Auto, in float64."""
    with jax.enable_x64(True):
        found = {}
        for separation in (6.0, 0.5):
            x = np.asarray(jaxgmm.simulate(jax.random.key(2), 300, 2, 2, separation=separation).x)
            x = x.astype(float)
            start = jaxgmm.initialize(jax.random.key(0), x, 2)
            for algorithm in ("em", "auto"):
                found[separation, algorithm] = jaxgmm.fit(
                    x, start, jaxgmm.ALGORITHMS[algorithm], tolerance=1e-12, max_steps=3000
                )
        yield found


def test_separated_rows_are_fitted_by_em(fits):
    em, auto = fits[6.0, "em"], fits[6.0, "auto"]
    assert auto.converged and auto.passes <= em.passes + 2
    np.testing.assert_allclose(auto.objective, em.objective, rtol=1e-12)


def test_overlapping_rows_take_fewer_passes_to_the_same_optimum(fits):
    em, auto = fits[0.5, "em"], fits[0.5, "auto"]
    assert em.passes > 100, "a case that is not slow"
    assert auto.converged and auto.passes < 0.35 * em.passes
    assert auto.objective >= em.objective - 300e-6


def test_the_forecast_is_exact_for_gains_that_fall_geometrically(x64):
    gains = 1e-3 * 0.8 ** jnp.arange(3.0)
    left = steps_to_go(gains[1], gains[0], jnp.asarray(1e-10))
    np.testing.assert_allclose(1e-3 * 0.8 ** (1 + left), 1e-10, rtol=1e-9)
    np.testing.assert_allclose(steps_to_go(jnp.asarray(1e-4), jnp.asarray(1e-3), None), 5)
    assert steps_to_go(gains[0], gains[1], None) == np.inf
    assert steps_to_go(gains[1], jnp.asarray(np.inf), None) < 1e-6


def test_patience_is_positive():
    with pytest.raises(ValueError, match="patience"):
        jaxgmm.Auto(patience=0)
