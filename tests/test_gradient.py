"""Gradient fits: the same optimum as EM, the same count of passes, any optax optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgmm
from jaxgmm import EM, Gradient
from jaxgmm.coordinates import COORDINATES
from jaxgmm.likelihood import statistics_of_gradient

LBFGS = Gradient(optax.lbfgs())
COUNT = []


def counted(function):
    """The function, and a host callback each time the compiled program runs it."""

    def counts(*arguments):
        jax.debug.callback(lambda: COUNT.append(1))
        return function(*arguments)

    return counts


def test_ends_at_the_optimum_of_em(family, iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 2, family=family)
    climbed = jaxgmm.fit(iris, mixture, LBFGS, tolerance=1e-10)
    expected = jaxgmm.fit(iris, mixture, EM(), tolerance=1e-10)
    assert climbed.converged
    assert expected.converged
    assert abs(float(climbed.objective - expected.objective)) < 1e-6 * len(iris)
    np.testing.assert_allclose(climbed.mixture.means, expected.mixture.means, atol=2e-3)


def test_statistics_come_back_from_the_gradient(family, iris, x64):
    """Fisher's identity is a bijection: at any mixture, in both kinds of coordinates."""
    base = jaxgmm.initialize(jax.random.key(1), iris, 3, family=family)
    flat, unravel = jax.flatten_util.ravel_pytree(base)
    offsets = unravel(0.1 * jnp.sin(jnp.arange(flat.size, dtype=flat.dtype)))
    for coordinates in COORDINATES.values():

        def place(o, coordinates=coordinates):
            return coordinates.place(base, coordinates.local(base, o))

        slope = jax.jit(jax.grad(lambda o: jaxgmm.log_likelihood(place(o), iris)))(offsets)
        found = statistics_of_gradient(
            coordinates.local(base, offsets), coordinates.local_gradient(base, slope),
            jnp.asarray(150.0),
        )  # fmt: skip
        expected = jaxgmm.e_step(place(offsets), iris)
        for a, b in zip(
            (found.mass, found.shift, found.spread),
            (expected.mass, expected.shift, expected.spread), strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "optimiser",
    [
        optax.lbfgs(),
        optax.adam(0.05),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20)),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20, store_grad=True)),
    ],
    ids=["lbfgs", "adam", "backtracking", "backtracking-store-grad"],
)
def test_passes_are_counted(optimiser, iris, monkeypatch):
    """Against a counter in the pass itself."""
    monkeypatch.setattr("jaxgmm.likelihood.statistics", counted(jaxgmm.likelihood.statistics))
    x = (iris + np.random.default_rng(len(COUNT)).normal(size=iris.shape)).astype(np.float32)
    mixture = jaxgmm.initialize(jax.random.key(0), x, 2)
    COUNT.clear()
    fit = jaxgmm.fit(x, mixture, Gradient(optimiser), max_steps=30, tolerance=1e-6)
    jax.block_until_ready(fit)
    jax.effects_barrier()
    assert len(COUNT) == int(fit.passes) == int(fit.history_passes[-1])
    assert fit.passes >= fit.steps + 1
    if len(fit.history) > 10:  # most steps of a line search take its first trial
        assert np.median(np.diff(fit.history_passes)) <= 2


def test_the_recovered_end_is_the_real_one(family, iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(2), iris, 2, family=family)
    fit = jaxgmm.fit(iris, mixture, LBFGS, max_steps=7, tolerance=0.0)
    np.testing.assert_allclose(
        fit.log_likelihood, jaxgmm.log_likelihood(fit.mixture, iris), rtol=1e-11
    )
    again = jaxgmm.fit(iris, fit.mixture, max_steps=0)
    np.testing.assert_allclose(fit.residual, again.residual, rtol=1e-4, atol=1e-14)


def test_coordinates_agree_on_the_optimum(iris, x64):
    x = (iris - iris.mean(axis=0)) / iris.std(axis=0)
    mixture = jaxgmm.initialize(jax.random.key(0), x, 2)
    leaves = Gradient(optax.lbfgs(), coordinates="leaves")
    ends = [jaxgmm.fit(x, mixture, algorithm, tolerance=1e-9) for algorithm in (LBFGS, leaves)]
    assert all(end.converged for end in ends)
    np.testing.assert_allclose(ends[0].objective, ends[1].objective, atol=1e-4)


def test_leaves_are_moved_as_they_are(iris, x64):
    """Plain gradient descent on the leaves is −learning rate times the gradient of the loss."""
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 2)
    algorithm = Gradient(optax.sgd, learning_rate=0.01, coordinates="leaves")
    fit = jaxgmm.fit(iris, mixture, algorithm, prior=None, max_steps=1, tolerance=0.0)
    slope = jax.grad(jaxgmm.log_likelihood)(mixture, iris)
    expected = jax.tree.map(lambda leaf, g: leaf + 0.01 * g / 150, mixture, slope)
    for a, b in zip(jax.tree.leaves(fit.mixture), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_relative_coordinates_ignore_units(iris, x64):
    rng = np.random.default_rng(0)
    matrix = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 2)
    mapped = jaxgmm.Mixture.from_parameters(
        mixture.weights, np.asarray(mixture.means) @ matrix.T,
        matrix @ np.asarray(mixture.covariances) @ matrix.T,
    )  # fmt: skip
    plain = jaxgmm.fit(iris, mixture, LBFGS, max_steps=25, tolerance=0.0)
    other = jaxgmm.fit(iris @ matrix.T, mapped, LBFGS, max_steps=25, tolerance=0.0)
    volume = 150 * np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(other.log_likelihood + volume, plain.log_likelihood, rtol=1e-6)


def test_float32_in_64_bit_mode(iris, x64):
    x = iris.astype(np.float32)
    fit = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 2), LBFGS)
    assert fit.converged
    assert {leaf.dtype for leaf in jax.tree.leaves(fit.mixture)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3.0,), "not an optax optimiser"),
        ((lambda: None,), "did not make an optax optimiser"),
        ((optax.adam,), "cannot be made from"),
        ((optax.sgd(0.1), dict(learning_rate=1.0)), "go with a factory"),
        ((optax.sgd, dict(learning_rate=0.1, coordinates="polar")), "unknown coordinates 'polar'"),
        ((optax.sgd, dict(learning_rate=0.1, rebase_every=0)), "rebase_every is 0"),
        ((optax.sgd, dict(learning_rate=np.ones(2))), "not hashable"),
    ],
)
def test_bad_optimisers(arguments, words):
    optimiser, *rest = arguments
    with pytest.raises(ValueError, match=words):
        Gradient(optimiser, **(rest[0] if rest else {}))
