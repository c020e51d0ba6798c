"""Newton's method: the optimum of EM, quadratic convergence, and an honest count of passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Newton
from jaxgmm.algorithms import newton_model
from jaxgmm.numerics.trust_region import symmetric_rank_one, truncated_step


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


def test_corrections_of_rank_one_find_a_quadratic(x64):
    """After steps in p directions, the matrix is the Hessian (Nocedal & Wright, theorem 6.1)."""
    rng = np.random.default_rng(0)
    root, steps = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    hessian = root + root.T  # indefinite
    matrix = jnp.eye(4)
    for step in steps:
        times = lambda vector, matrix=matrix: matrix @ vector
        matrix = symmetric_rank_one(matrix, times, step, hessian @ step)
        np.testing.assert_allclose(matrix @ step, hessian @ step, rtol=1e-9)
    np.testing.assert_allclose(matrix, hessian, rtol=1e-9)
    for image in (hessian @ step, np.full(4, np.nan)):  # nothing to correct, or nothing known
        same = symmetric_rank_one(matrix, lambda vector: matrix @ vector, step, image)
        np.testing.assert_allclose(same, hessian, rtol=1e-9)


@pytest.fixture(scope="module")
def ends(iris):
    """A start, EM's end and Newton's, in float64."""
    with jax.enable_x64(True):
        start = jaxgmm.initialize(jax.random.key(0), iris, 3)
        em = jaxgmm.fit(iris, start, tolerance=1e-14)
        return start, em, jaxgmm.fit(iris, start, Newton(), tolerance=1e-14)


def test_newton_ends_where_em_ends(ends):
    _, em, newton = ends
    assert newton.converged
    assert abs(float(newton.objective - em.objective)) < 1e-9
    assert np.diff(newton.history).min() > -1e-11
    price = 1 + 8  # 1 + s/6, rounded up, for s = 45 statistics
    made = np.diff(newton.history_passes) - price
    assert made.min() >= 1 and made.max() <= 16 + 1
    assert made.max() > 2, "each Hessian was used for one step alone"


def test_the_end_is_quadratic(ends, iris, x64):
    """From D = 1e-6, at most four moves to D = 1e-14."""
    start, _, _ = ends
    near = jaxgmm.fit(iris, start, tolerance=1e-6)
    end = jaxgmm.fit(iris, near.mixture, Newton(), tolerance=1e-14)
    assert near.em_gain > 1e-8
    assert end.converged and end.steps <= 4


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [0, 11, 33])
def test_the_end_after_a_saddle_is_quadratic(seed, x64):
    """From seeds 11 and 33 EM comes to D = 1e-6 near a saddle, where D rises again."""
    gains = []
    x = jaxgmm.simulate(jax.random.key(seed), 300, 3, 2, separation=1.5).x
    near = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1000 + seed), x, 3), tolerance=1e-6)
    end = jaxgmm.fit(
        x, near.mixture, Newton(), tolerance=1e-14,
        callback=lambda step, objective, gain: gains.append(gain),
    )  # fmt: skip
    jax.effects_barrier()
    assert near.converged and end.converged
    leaves_saddle = max(gains) > 1e-5
    assert leaves_saddle == (seed > 0) == bool(end.objective - near.objective > 1)
    moves_before = max((i + 1 for i, gain in enumerate(gains) if gain > 1e-6), default=0)
    assert end.steps - moves_before <= 4


@pytest.mark.thorough
def test_passes_are_counted(iris, passes_taken, monkeypatch):
    """Evaluations and Hessians are counted in the program, and each Hessian has its price. In a
    large trust region, some of Newton's steps are rejected. No gradient is small enough to end a
    move early, because the tolerance is 0."""
    hessians, compute = [], newton_model.information

    def counted(*arguments, **options):
        jax.debug.callback(lambda: hessians.append(1))
        return compute(*arguments, **options)

    monkeypatch.setattr(newton_model, "information", counted)
    x = iris[:, :3].astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(1), x, 2)
    passes_taken.clear()
    fit = jaxgmm.fit(x, start, Newton(radius=50.0, steps=2), max_steps=7, tolerance=0.0)
    jax.block_until_ready(fit)
    jax.effects_barrier()
    assert len(hessians) == 7
    price = newton_model.passes_of_matrix(fit.mixture)
    assert set(np.diff(fit.history_passes)) == {price + 2, price + 3}
    assert int(fit.passes) == len(passes_taken) + 7 * price
    assert fit.history_passes[-1] == fit.passes


@pytest.mark.thorough
def test_products_in_place_of_the_matrix(ends, iris, x64, monkeypatch):
    """The same end. Two passes are counted for each product, so counts stay whole numbers."""
    start, em, _ = ends
    monkeypatch.setattr(newton_model, "MOST_STATISTICS", 0)
    fit = jaxgmm.fit(iris, start, Newton(radius=0.4), tolerance=1e-14)
    assert fit.converged
    assert abs(float(fit.objective - em.objective)) < 1e-9
    made = np.diff(fit.history_passes)
    assert (made >= 3).all() and (made == made.round()).all()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["tied", "spherical", "VEV", "EVE", "ppca-1"])
def test_families_with_flat_directions(name, iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 3, family=name)
    em = jaxgmm.fit(iris, start, tolerance=1e-13)
    newton = jaxgmm.fit(iris, start, Newton(), tolerance=1e-13)
    assert newton.converged
    assert float(newton.objective - em.objective) > -1e-8
    assert np.diff(newton.history).min() > -1e-11


@pytest.mark.thorough
def test_absent_components_and_lanes(ends, iris, x64):
    """Under vmap, with a component that is absent, row weights and all priors."""
    start, _, _ = ends
    padded = jaxgmm.Mixture(
        jnp.append(start.logits, -jnp.inf),
        jnp.append(start.means, start.means[:1], axis=0),
        jax.tree.map(lambda leaf: jnp.append(leaf, leaf[:1], axis=0), start.covariance),
    )
    prior = jaxgmm.Prior(2.0, np.cov(iris.T), 1.5, np.mean(iris, axis=0) + 0.1, 1.0)
    weight = np.linspace(0.5, 1.5, 150)
    fit = lambda mixture, algorithm: jaxgmm.fit(
        iris, mixture, algorithm, weight=weight, prior=prior, tolerance=1e-13
    )
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), padded)
    found = jax.vmap(lambda mixture: fit(mixture, Newton()))(both)
    expected = fit(start, jaxgmm.EM())
    assert (found.mixture.weights[:, 3] == 0).all()
    assert found.converged.all()
    np.testing.assert_allclose(found.objective, expected.objective, atol=1e-8)


@pytest.mark.thorough
def test_rows_with_missing_values(ends, iris, x64):
    gaps = iris.copy()
    gaps[::6, 0] = np.nan
    x, (start, _, _) = jaxgmm.Observed(gaps), ends
    em = jaxgmm.fit(x, start, tolerance=1e-13)
    newton = jaxgmm.fit(x, start, Newton(), tolerance=1e-13)
    assert newton.converged
    assert float(newton.objective - em.objective) > -1e-8


@pytest.mark.thorough
def test_float32_reaches_its_floor(iris):
    x = iris.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 2)
    fit = jaxgmm.fit(x, start, Newton(), tolerance=1e-12, max_steps=50)
    assert fit.converged
    assert fit.mixture.means.dtype == np.float32


def test_bad_settings():
    with pytest.raises(ValueError, match="radius is 0"):
        Newton(radius=0)
    with pytest.raises(ValueError, match="steps is 0"):
        Newton(steps=0)
    with pytest.raises(ValueError, match="needs the rows themselves"):
        Newton().move(None, None, None, lambda mixture: None, None)
