"""The parts of accelerated EM, against formulas in NumPy and SciPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import jaxgmm
from jaxgmm.algorithms import anderson
from jaxgmm.algorithms.coordinate_chart import Chart
from jaxgmm.algorithms.line_search import FLAT, Point, search_line
from jaxgmm.algorithms.secants import SecantState
from jaxgmm.objective.m_step import m_step_from

RANDOM = np.random.default_rng(0)


# ---- the chart ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["full", *(pytest.param(f, marks=pytest.mark.thorough) for f in ("tied", "VVE"))]
)
def test_positions(family, iris, x64):
    """EM's steps add up in a chart, and 0 is the origin, whatever the logits add up to."""
    covariances = np.broadcast_to(np.cov(iris.T), (3, 4, 4))
    start = jaxgmm.Mixture.from_parameters([0.2, 0.3, 0.5], iris[::50], covariances, family=family)
    chart = Chart.about(jaxgmm.Mixture(start.logits + 7.0, start.means, start.covariance))

    def same(placed, mixture):
        for name in ("weights", "means", "covariances"):
            np.testing.assert_allclose(
                getattr(placed, name), getattr(mixture, name), rtol=1e-9, atol=1e-9
            )

    position, mixture = chart.zero, start
    same(jax.jit(chart.mixture_at)(position), mixture)

    @jax.jit
    def advance(position, mixture):
        step = m_step_from(mixture, jaxgmm.e_step(mixture, iris), None)
        moved = chart.after(position, mixture, step)
        return moved, step.after, chart.mixture_at(moved)

    for _ in range(3):
        position, mixture, placed = advance(position, mixture)
        same(placed, mixture)


@pytest.mark.parametrize(
    "family",
    ["full", *(pytest.param(f, marks=pytest.mark.thorough) for f in ("VVI", "tied", "EEV"))],
)
def test_the_gradient_at_the_origin(family, iris, x64):
    """By a closed form, and by automatic differentiation anywhere in the chart."""
    covariance = np.cov(iris.T) * (np.eye(4) if family == "VVI" else 1)
    covariances = np.broadcast_to(covariance, (3, 4, 4))
    start = jaxgmm.Mixture.from_parameters([0.2, 0.3, 0.5], iris[::50], covariances, family=family)
    prior = jaxgmm.Prior(2.0, np.eye(4), 3.0, np.ones(4), 5.0)

    @jax.jit
    def both(mixture):
        chart, sums = Chart.about(mixture), jaxgmm.e_step(mixture, iris)
        return (
            chart.gradient_at_origin(sums, prior),
            chart.gradient(chart.zero, mixture, sums, prior),
        )

    closed, differentiated = both(start)
    np.testing.assert_allclose(closed, differentiated, rtol=1e-9, atol=1e-9)
    absent = dataclasses.replace(start, logits=start.logits.at[1].set(-jnp.inf))
    closed, differentiated = both(absent)
    np.testing.assert_allclose(closed, differentiated, rtol=1e-9, atol=1e-9)


# ---- corrections -------------------------------------------------------------------------------


def test_damped_least_squares(x64):
    """λ is that of ridge regression on scaled rows, and leaves the fraction asked for."""
    rows = RANDOM.normal(size=(5, 12)) * np.array([1e-3, 1, 10, 0, 1e3])[:, None]
    rows[4] = 2 * rows[2]  # dependent: the shortest solution
    target = RANDOM.normal(size=12)
    lengths = np.where(np.any(rows, axis=1), np.linalg.norm(rows, axis=1), 1)
    unit = rows / lengths[:, None]
    full = np.linalg.lstsq(unit.T, target, rcond=1e-10)[0]
    solve = jax.jit(jax.vmap(anderson.damped_least_squares, (None, None, 0)))
    fractions = jnp.array([1.0, 0.5, 0.01, 0.0])
    found = np.asarray(solve(rows, target, fractions)) * lengths
    np.testing.assert_allclose(found[0], full, rtol=1e-9, atol=1e-12)
    sizes = np.sum(found**2, axis=1)
    np.testing.assert_allclose(sizes[1:3], np.asarray(fractions[1:3]) * sizes[0], rtol=1e-3)
    assert (found[:, 3] == 0).all()
    for gamma in found[1:3]:  # (A Aᵀ + λ I) γ = A f on the span of the rows, for one λ
        gradient = unit @ (target - gamma @ unit)
        ridge = gradient @ gamma / (gamma @ gamma)
        np.testing.assert_allclose(gradient, ridge * gamma, atol=1e-6)
    assert np.isfinite(np.asarray(solve(0 * rows, 0 * target, fractions))).all()


@pytest.mark.parametrize("algorithm", [jaxgmm.Anderson(), jaxgmm.QuasiNewtonEM()])
def test_corrections_are_exact_on_linear_maps(algorithm, x64):
    """With as many differences as dimensions they lead to the fixed point, along which every
    unused difference is 0."""
    matrix = RANDOM.normal(size=(3, 3)) / 4
    fixed = RANDOM.normal(size=3)
    residual = lambda x: matrix @ (x - fixed) + fixed - x
    start = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    state = SecantState.start(start, 4)
    positions = np.concatenate([RANDOM.normal(size=(3, 3)), np.zeros((1, 3))])
    residuals = positions @ (matrix - np.eye(3)).T
    state = state._replace(
        positions=jnp.asarray(positions), residuals=jnp.asarray(residuals),
        confidence=jnp.array(1e3),
    )  # fmt: skip
    x = RANDOM.normal(size=3)
    change = algorithm.correction(state, jnp.asarray(residual(x)))
    np.testing.assert_allclose(x + residual(x) + change, fixed, rtol=1e-9)


def test_a_correction_helps_if_it_gains_what_em_promises(x64):
    """Only then a correction that was shortened may be longer.

    The one difference makes the correction (1 − c) / c times EM's step. Between separated
    components no step rises by more than EM's, and among overlapping ones a longer step does.
    """
    anderson, evaluate = jaxgmm.Anderson(memory=1), jaxgmm.e_step

    @jax.jit
    def longest_after(x, start, c):
        sums = evaluate(start, x)
        state = SecantState.start(start, 1)
        residual = state.chart.after(state.position, start, m_step_from(start, sums, None))
        state = state._replace(
            positions=residual[None], residuals=-c * residual[None],
            takes_em=jnp.array(False), confidence=jnp.float64(1e3),
        )  # fmt: skip
        moved, after, *_ = anderson.move(start, state, sums, lambda m: evaluate(m, x), None)
        return after.rejected, after.longest

    noise = np.random.default_rng(0).normal(size=(200, 1))
    signs = np.array([-1, 1]).repeat(100)[:, None]
    covariances = [[[1.2]], [[1.2]]]
    apart = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[-10.5], [10.5]], covariances)
    close = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[-0.8], [0.8]], covariances)
    close = jaxgmm.fit(noise + signs, close, max_steps=10).mixture
    rejected, longest = longest_after(noise + 10 * signs, apart, 2 / 3)
    assert not rejected and longest == pytest.approx(0.25), "half of the correction's length"
    rejected, longest = longest_after(noise + signs, close, 0.2)
    assert not rejected and longest == 2, "twice what was allowed"


@pytest.mark.parametrize(
    "algorithm",
    [jaxgmm.Anderson(), pytest.param(jaxgmm.QuasiNewtonEM(), marks=pytest.mark.thorough)],
)
def test_escape_from_a_saddle(algorithm, x64):
    """Between two components that are almost equal, EM is slow to leave; corrections help."""
    x = np.concatenate([RANDOM.normal(-1.2, 1, 100), RANDOM.normal(1.2, 1, 100)])[:, None]
    start = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[-0.01], [0.01]], [[[3.0]], [[3.0]]])
    fit = functools.partial(jaxgmm.fit, x, start, tolerance=1e-12)
    plain = fit(max_steps=5000)
    found = fit(algorithm)
    assert abs(float(found.objective - plain.objective)) < 1e-6 * len(x)
    assert found.passes < 0.2 * plain.passes


@pytest.mark.parametrize("algorithm", [jaxgmm.Anderson, jaxgmm.QuasiNewtonEM])
@pytest.mark.parametrize("memory", [0, -1, 1.5, True, "5"])
def test_bad_memory(algorithm, memory):
    with pytest.raises(ValueError, match="memory"):
        algorithm(memory=memory)


# ---- the line search ---------------------------------------------------------------------------

LINES = {
    "a parabola": lambda a: -((a - 0.3) ** 2),
    "far": lambda a: -jnp.log(1 + (a / 40 - 1) ** 2),
    "near": lambda a: a * jnp.exp(-50 * a),
    "two humps": lambda a: jnp.sin(3 * a) - (a / 3) ** 2,
    "a cliff": lambda a: jnp.where(a < 0.2, jnp.sqrt(1 + a) - a**3, jnp.nan),
}


@pytest.mark.parametrize("line", LINES)
def test_line_search(line, x64):
    """An accepted point rises and is flat; the best of all trials is kept if none is accepted."""
    function = LINES[line]

    def at(length):
        value, slope = jax.value_and_grad(function)(length)
        return Point(length, value, slope), 10 * length

    start = at(jnp.float64(0))[0]
    search = jax.jit(lambda: search_line(at, start, 0.0, jnp.float64(1), jnp.array(False)))()
    assert search.low.value > start.value
    assert search.results == 10 * search.low.length
    if line != "a cliff":
        assert search.done and search.trials <= 8
        assert abs(search.low.slope) <= FLAT * start.slope
    if line == "a parabola":
        best = minimize_scalar(lambda a: float(-function(a)), bounds=(0, 2), method="bounded").x
        np.testing.assert_allclose(search.low.length, best, rtol=1e-5)


def test_line_search_that_finds_nothing(x64):
    """The start is kept; the first trial is taken where it must be."""
    fall = lambda length: (Point(length, -length, jnp.float64(-1)), length)
    start = Point(jnp.float64(0), jnp.float64(0), jnp.float64(1))
    search = search_line(fall, start, jnp.float64(0), jnp.float64(1), jnp.array(False))
    assert (search.low.length, search.trials, bool(search.done)) == (0, 10, False)
    search = search_line(fall, start, jnp.float64(0), jnp.float64(1), jnp.array(True))
    assert (search.low.length, search.trials) == (1, 1)
