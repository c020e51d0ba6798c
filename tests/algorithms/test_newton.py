"""Newton's method: the optimum of EM, quadratic convergence, and an honest count of passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Newton
from jaxgmm.numerics.trust_region import truncated_step


def test_the_quadratic_model_is_maximized_within_a_ball(x64):
    """Against NumPy: the exact maximum inside, and the boundary where the model curves up."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix, gradient = root @ root.T + np.eye(6), rng.normal(size=6)
    exact = np.linalg.solve(matrix, gradient)

    @jax.jit
    def step(matrix, radius):
        return truncated_step(lambda v: matrix @ v, jnp.asarray(gradient), radius, 1e-12, 30)

    inside = step(matrix, 10.0)
    np.testing.assert_allclose(inside.step, exact, rtol=1e-9)
    np.testing.assert_allclose(inside.gain, gradient @ exact / 2, rtol=1e-9)
    assert not inside.at_boundary and inside.products <= 8
    for indefinite, radius in ((matrix, 0.1), (matrix - 3 * np.eye(6), 2.0)):
        found = step(indefinite, radius)
        model = gradient @ found.step - found.step @ indefinite @ found.step / 2
        np.testing.assert_allclose(found.gain, model, rtol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(found.step), radius, rtol=1e-12)
        assert found.at_boundary and found.gain > 0
    still = truncated_step(lambda v: v, jnp.zeros(3), jnp.asarray(1.0), jnp.asarray(0.1), 5)
    assert still.gain == still.length == still.products == 0


@pytest.fixture(scope="module")
def ends(iris):
    """EM's end and Newton's from one start, in float64."""
    with jax.enable_x64(True):
        start = jaxgmm.initialize(jax.random.key(0), iris, 3)
        em = jaxgmm.fit(iris, start, tolerance=1e-14)
        return em, jaxgmm.fit(iris, start, Newton(), tolerance=1e-14)


def test_newton_ends_where_em_ends(ends):
    em, newton = ends
    assert newton.converged
    assert abs(float(newton.objective - em.objective)) < 1e-9
    assert np.diff(newton.history).min() > -1e-11
    price = 1 + np.ceil(44 + 1) / 6 // 1 + 1  # 1 + s/6 rounded up, s = 45 statistics
    assert set(np.diff(newton.history_passes)) <= {price + 1, price + 2}
    assert newton.passes == newton.history_passes[-1]
