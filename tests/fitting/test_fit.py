"""The loop: steps, passes, history, stopping, status, lanes, and how often it is traced."""

import dataclasses
import functools
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import same_climb

import jaxgmm
from jaxgmm import EM, Gradient, Mixture, Status

LBFGS = Gradient(optax.lbfgs())


@pytest.fixture
def start(iris):
    return jaxgmm.initialize(jax.random.key(3), iris.astype(np.float32), 3)


def close(a, b, rtol=1e-6, atol=1e-6):
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def test_no_steps_return_the_start(iris, start):
    x = iris.astype(np.float32)
    fit = jaxgmm.fit(x, start, max_steps=0)
    close(fit.mixture, start)
    assert fit.steps == 0
    assert fit.passes == 1
    assert fit.status == Status.MAX_STEPS
    assert fit.history.shape == fit.history_passes.shape == (1,)
    np.testing.assert_allclose(fit.log_likelihood, jaxgmm.log_likelihood(start, x), rtol=1e-6)


def test_no_tolerance_runs_every_step(iris, start):
    x = iris.astype(np.float32)
    fit = jaxgmm.fit(x, start, tolerance=0.0, max_steps=300)
    assert fit.steps == 300
    assert fit.status == Status.MAX_STEPS
    assert not fit.converged


@pytest.mark.thorough
def test_an_algorithm_by_name_is_that_algorithm(iris, start):
    x = iris.astype(np.float32)
    chex.assert_trees_all_equal(
        jaxgmm.fit(x, start, "squarem", max_steps=5),
        jaxgmm.fit(x, start, jaxgmm.SQUAREM(), max_steps=5),
    )
    sweep = functools.partial(jaxgmm.sweep, jax.random.key(0), x, 2, restarts=2, max_steps=3)
    found, same = sweep(algorithm="squarem"), sweep(algorithm=jaxgmm.SQUAREM())
    chex.assert_trees_all_equal(found.fits, same.fits)


def test_the_fit_describes_its_own_mixture(family, iris):
    x = iris.astype(np.float32)
    prior = jaxgmm.Prior.from_data(x)
    fit = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 3, family=family), max_steps=7)
    likelihood = jaxgmm.log_likelihood(fit.mixture, x)
    np.testing.assert_allclose(fit.log_likelihood, likelihood, rtol=1e-6)
    objective = likelihood + jaxgmm.log_prior(fit.mixture, prior)
    np.testing.assert_allclose(fit.objective, objective, rtol=1e-6)
    np.testing.assert_allclose(fit.history[-1], fit.objective)
    np.testing.assert_array_equal(fit.history_passes, np.arange(1, 9))
    assert fit.history.shape == (8,)


def test_stopping_rules(iris, start, x64):
    start = jax.tree.map(lambda leaf: leaf.astype(np.float64), start)
    kl = jaxgmm.fit(iris, start, tolerance=1e-7)
    assert kl.converged
    assert float(kl.em_gain) < 1e-7
    before = jaxgmm.fit(iris, start, tolerance=0.0, max_steps=int(kl.steps) - 1)
    assert float(before.em_gain) >= 1e-7
    relative = jaxgmm.fit(iris, start, tolerance=1e-7, stopping="relative")
    assert relative.converged
    falls = np.abs(np.diff(relative.history)) / np.abs(relative.history[1:])
    assert falls[-1] < 1e-7 * (1 + 1e-9)  # the quotient is rounded once more than the rule
    assert (falls[:-1] > 1e-7 * (1 - 1e-9)).all()


def test_callback_sees_every_step(iris, start):
    seen = []

    def record(step, objective, em_gain):
        seen.append((int(step), float(objective), float(em_gain)))

    fit = jaxgmm.fit(iris.astype(np.float32), start, max_steps=5, tolerance=0.0, callback=record)
    jax.effects_barrier()
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([objective for _, objective, _ in seen], fit.history[1:])


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", [EM(), LBFGS], ids=["em", "lbfgs"])
def test_lanes_are_fits_of_their_own(algorithm, iris, x64):
    """vmap over starts, weights, priors and data sets equals a loop; a failing lane changes none."""
    keys = jax.random.split(jax.random.key(0), 3)
    starts = [jaxgmm.initialize(key, iris, 3) for key in keys]
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, starts[1])
    starts[1] = broken
    weights = np.random.default_rng(0).uniform(0.5, 2, (3, 150))
    strengths = np.array([0.01, 0.1, 1.0])
    data = np.stack([iris, iris + 1, iris * 2])
    run = functools.partial(jaxgmm.fit, algorithm=algorithm, tolerance=1e-8, max_steps=60)

    def one(x, start, weight, strength):
        prior = jaxgmm.Prior.from_data(x, weight=weight, strength=strength)
        return run(x, start, weight=weight, prior=prior)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    many = jax.vmap(one)(data, stacked, weights, strengths)
    assert many.history.shape == (3, 61)
    assert many.status[1] == Status.NONFINITE
    single = jax.jit(one)
    for i in (0, 2):
        alone = single(data[i], starts[i], weights[i], strengths[i])
        lane = jax.tree.map(lambda leaf, i=i: leaf[i], many)
        same_climb(lane, alone, rtol=1e-7)
        close(lane.mixture, alone.mixture, rtol=1e-6)
        np.testing.assert_allclose(lane.log_likelihood, alone.log_likelihood, rtol=1e-7)
        assert lane.history[-1] == lane.objective


def test_padding_rows_change_nothing(iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(1), iris, 3)
    padded = np.concatenate([iris, np.zeros((30, 4))])
    weight = np.concatenate([np.ones(150), np.zeros(30)])
    plain = jaxgmm.fit(iris, mixture, max_steps=20, tolerance=0.0)
    with_padding = jaxgmm.fit(padded, mixture, weight=weight, max_steps=20, tolerance=0.0)
    close(with_padding.mixture, plain.mixture, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(with_padding.objective, plain.objective, rtol=1e-12)


@pytest.mark.parametrize("family", ["full", pytest.param("tied", marks=pytest.mark.thorough)])
def test_absent_components_stay_absent(family, iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(1), iris, 2, family=family)
    leaves = lambda a: jnp.concatenate([a, a[:1]]) if a.shape[0] == 2 else a
    padded = jax.tree.map(leaves, mixture)
    padded = dataclasses.replace(padded, logits=padded.logits.at[2].set(-jnp.inf))
    for algorithm in (EM(), Gradient(optax.adam, learning_rate=0.05)):
        run = functools.partial(jaxgmm.fit, iris, algorithm=algorithm, tolerance=0.0, max_steps=10)
        plain, found = run(mixture), run(padded)
        np.testing.assert_allclose(found.objective, plain.objective, rtol=1e-11)
        np.testing.assert_allclose(found.em_gain, plain.em_gain, rtol=1e-4, atol=1e-20)
        np.testing.assert_allclose(found.mixture.means[:2], plain.mixture.means, rtol=1e-6)
        assert found.mixture.weights[2] == 0


BROKEN_DATA = {
    "constant column": (lambda x: np.where([False, True, False, False], 5.0, x), 2),
    "zero column": (lambda x: x * [1, 0, 1, 1], 2),
    "collinear columns": (lambda x: np.c_[x[:, :2], x[:, 0] + x[:, 1], x[:, 2]], 2),
    "identical rows": (lambda x: np.ones((20, 4)), 1),
    "one row each": (lambda x: x[::30] + np.arange(5)[:, None], 5),
    "more features than rows": (lambda x: x[[0, 60, 120]], 1),
}


@pytest.mark.filterwarnings("ignore:component . has a covariance that is nearly singular")
@pytest.mark.parametrize(("dtype", "prior"), [(np.float32, "default"), (np.float64, None)])
@pytest.mark.parametrize("name", BROKEN_DATA)
def test_degenerate_data_say_so(name, dtype, prior, iris, x64):
    change, k = BROKEN_DATA[name]
    x = change(iris).astype(dtype)
    fit = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, k), prior=prior)
    for leaf in jax.tree.leaves((fit.mixture, fit.objective)):
        assert np.isfinite(leaf).all()
    if name == "one row each" and prior == "default":
        assert fit.converged  # the prior's pseudo-rows give every row a covariance
        assert np.linalg.eigvalsh(fit.mixture.covariances).min() > 0
    else:
        assert fit.status == Status.DEGENERATE


def test_a_collapsing_component_is_stopped(iris, x64):
    """Maximum likelihood puts a component on the repeated rows and shrinks it without end."""
    x = np.concatenate([iris, np.tile(iris[:1], (30, 1))])
    mixture = Mixture.from_parameters(
        [0.3, 0.7], [iris[0], iris.mean(axis=0)], [0.01 * np.eye(4), np.cov(iris, rowvar=False)]
    )
    fit = jaxgmm.fit(x, mixture, prior=None)
    assert fit.status == Status.DEGENERATE
    assert np.isfinite(fit.mixture.covariances).all()
    assert jaxgmm.fit(x, mixture).converged


def test_an_emptied_component_is_reported(iris, x64):
    mixture = Mixture.from_parameters(
        [0.5, 0.5], [iris.mean(axis=0), iris.mean(axis=0) + 1e4], np.stack([np.eye(4)] * 2)
    )
    fit = jaxgmm.fit(iris, mixture)
    assert fit.status == Status.DEGENERATE
    close(fit.mixture, mixture)


@pytest.mark.filterwarnings("ignore:component 0 has a standard deviation")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_start_far_from_all_rows(dtype, iris, x64):
    x = iris.astype(dtype)
    far = np.full((1, 4), 1e8), np.eye(4)[None]
    mixture = Mixture.from_parameters(np.ones(1, dtype), *[a.astype(dtype) for a in far])
    fit = jaxgmm.fit(x, mixture, prior=None)
    assert fit.converged
    truth = np.cov(iris, rowvar=False, bias=True)
    np.testing.assert_allclose(fit.mixture.covariances[0], truth, rtol=1e-4)


def test_divergence_keeps_the_last_finite_mixture(iris, start):
    fit = jaxgmm.fit(iris.astype(np.float32), start, Gradient(optax.sgd, learning_rate=1e5))
    assert fit.status == Status.NONFINITE
    assert not fit.converged
    chex.assert_tree_all_finite(fit.mixture)


@dataclasses.dataclass(frozen=True)
class Counted(EM):
    """EM that counts how often it is traced."""

    traces: ClassVar[list] = []

    def move(self, *arguments):
        self.traces.append(1)
        return super().move(*arguments)


def test_a_second_call_does_not_trace_again(iris, start):
    x = iris.astype(np.float32)
    jaxgmm.fit(x, start, Counted())
    made = len(Counted.traces)
    assert made > 0
    jaxgmm.fit(x + 1, start, Counted(), tolerance=1e-5, max_steps=17)
    jaxgmm.fit(x, start, Counted(), tolerance=0, max_steps=1000)
    assert len(Counted.traces) == made
    jaxgmm.fit(x, start, Counted(), max_steps=5000)  # another capacity of the history
    assert len(Counted.traces) > made


def test_gradients_are_keyed_by_factory_or_by_object(iris, start, monkeypatch):
    x = iris.astype(np.float32)
    traces = []
    move = Gradient.move
    monkeypatch.setattr(Gradient, "move", lambda *a: (traces.append(1), move(*a))[1])
    jaxgmm.fit(x, start, Gradient(optax.adam, learning_rate=0.01), max_steps=3)
    made = len(traces)
    jaxgmm.fit(x, start, Gradient(optax.adam, learning_rate=0.01), max_steps=3)
    assert len(traces) == made > 0
    tx = optax.sgd(0.1)
    jaxgmm.fit(x, start, Gradient(tx), max_steps=3)
    once = len(traces)
    jaxgmm.fit(x, start, Gradient(tx), max_steps=4, tolerance=1e-3)
    assert len(traces) == once > made


def test_fit_and_initialize_under_jit(iris):
    family = "tied"
    x = jnp.asarray(iris, jnp.float32)

    @jax.jit
    def run(key, x):
        return jaxgmm.fit(x, jaxgmm.initialize(key, x, 3, family=family), max_steps=30)

    found = run(jax.random.key(0), x)
    plain = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 3, family=family), max_steps=30)
    assert found.history.shape == (31,)
    np.testing.assert_allclose(found.objective, plain.objective, rtol=1e-5)
    start = jaxgmm.initialize(jax.random.key(0), x, 3, family=family)
    tolerance = jax.jit(lambda t: jaxgmm.fit(x, start, tolerance=t, max_steps=30).objective)
    np.testing.assert_allclose(tolerance(1e-9), plain.objective, rtol=1e-5)
