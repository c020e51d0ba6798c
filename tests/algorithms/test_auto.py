"""`Auto`: EM where EM is quick, and fewer passes to the same optimum where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxgmm
from jaxgmm.algorithms.auto import AutoState
from jaxgmm.algorithms.coordinate_chart import Chart
from jaxgmm.algorithms.lbfgs_direction import Memory
from jaxgmm.mixture.relative_coordinates import Relative


@pytest.fixture(scope="module")
def fits():
    """Fits of well separated and of overlapping rows, by EM and by Auto, in float64."""
    with jax.enable_x64(True):
        found = {}
        for separation in (6.0, 0.5):
            x = np.asarray(jaxgmm.simulate(jax.random.key(4), 300, 2, 2, separation=separation).x)
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


def test_the_direction_is_that_of_bfgs(x64):
    """The updates of a dense inverse Hessian, from γ times the identity."""
    random = np.random.default_rng(0)
    root = random.normal(size=(4, 4))
    hessian = root @ root.T / 16
    steps = random.normal(size=(3, 4))
    falls = steps @ hessian
    gamma = max(1, steps[0] @ falls[0] / (falls[0] @ falls[0]))
    inverse = gamma * np.eye(4)
    for step, fall in zip(steps[::-1], falls[::-1], strict=True):
        part = np.eye(4) - np.outer(fall, step) / (step @ fall)
        inverse = part.T @ inverse @ part + np.outer(step, step) / (step @ fall)
    memory = Memory.empty(5, jnp.zeros(4))
    gradient = jnp.asarray(random.normal(size=4))
    assert not memory.has_pairs
    np.testing.assert_array_equal(memory.direction(gradient, 2 * gradient), 2 * gradient)
    for step, fall in zip(steps[::-1], falls[::-1], strict=True):
        memory = memory.after(jnp.asarray(step), jnp.asarray(fall))
    assert memory.has_pairs
    np.testing.assert_allclose(memory.direction(gradient, gradient), inverse @ gradient, rtol=1e-9)
    # A pair along which the objective is convex is not kept.
    convex = memory.after(jnp.asarray(steps[0]), jnp.asarray(-falls[0]))
    np.testing.assert_array_equal(convex.steps, memory.steps)


def test_moves_that_are_too_long(x64):
    """A move displaces no component by more than 1; one that falls is tried again, shortened."""
    noise = np.random.default_rng(0).normal(size=(100, 2))
    x = np.concatenate([noise - noise.mean(axis=0)] * 2) + np.repeat([[-9], [9]], 100, axis=0)
    covariances = np.stack([np.cov(noise.T)] * 2)
    start = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[-9.12, -9], [9, 9]], covariances)
    auto, chart = jaxgmm.Auto(memory=1), Chart.about(start)

    evaluate = lambda mixture: jaxgmm.e_step(mixture, x)
    sums = evaluate(start)
    value, gradient = jax.jit(
        lambda: (sums.log_likelihood / len(x), chart.gradient_at_origin(sums, None) / len(x))
    )()

    @jax.jit
    def move_from(state):
        moved, state, _, passes = auto.move(start, state, sums, evaluate, None)
        offsets = Relative().offsets(start, moved)
        return moved, state, passes, chart.farthest(ravel_pytree(offsets)[0])

    move = lambda memory, fraction: move_from(AutoState(memory, fraction, value, gradient))

    # The first move is EM's, and makes no pair, because no earlier gradient is known.
    moved, after, _, _ = move_from(auto.init(start, sums)._replace(gradient=gradient))
    np.testing.assert_allclose(moved.means, x.reshape(2, 100, 2).mean(axis=1), rtol=1e-6)
    assert after.value > value and not after.memory.has_pairs
    # The pair promises that the objective rises for very long along the first mean.
    along = jnp.zeros_like(chart.zero).at[2].set(1.0)
    memory = Memory(along[None], 1e-9 * along[None])
    moved, state, passes, _ = move(memory, jnp.float64(1))
    assert passes == 1 and state.fraction < 0.3, "a move of one standard deviation rises"
    np.testing.assert_array_equal(moved.means, start.means)
    moved, after, _, farthest = move(memory, state.fraction)
    assert after.fraction == 1 and after.memory.has_pairs
    np.testing.assert_allclose(farthest, state.fraction)
    moved, after, _, _ = move(memory, jnp.float64(0.01))  # EM's step
    np.testing.assert_allclose(moved.means, x.reshape(2, 100, 2).mean(axis=1), rtol=1e-6)
    assert after.fraction == 1 and not after.memory.has_pairs


@pytest.mark.parametrize("memory", [0, 1.5, "5"])
def test_bad_memory(memory):
    with pytest.raises(ValueError, match="memory"):
        jaxgmm.Auto(memory=memory)
