"""Gradient fits: the same optimum as EM, the same count of passes, any optax optimizer."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

import jaxgmm
from jaxgmm import EM, Gradient
from jaxgmm.mixture.coordinates import COORDINATES
from jaxgmm.objective.log_likelihood import statistics_of_gradient

LBFGS = Gradient(optax.lbfgs())


def test_ends_at_the_optimum_of_em(family, iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 2, family=family)
    climbed = jaxgmm.fit(iris, mixture, LBFGS, tolerance=1e-10)
    expected = jaxgmm.fit(iris, mixture, EM(), tolerance=1e-10)
    assert climbed.converged
    assert expected.converged
    assert abs(float(climbed.objective - expected.objective)) < 1e-6 * len(iris)
    np.testing.assert_allclose(climbed.mixture.means, expected.mixture.means, atol=2e-3)


def place(coordinates, base, offsets):
    return coordinates.place(base, coordinates.local(base, offsets))


@pytest.mark.parametrize("name", COORDINATES)
def test_statistics_come_back_from_the_gradient(name, family, iris, x64):
    """Zero offsets are the base; the gradient is the slope; and Fisher's identity is a bijection: at
    any mixture, in all coordinates, with an absent component too."""
    if name == "augmented" and family != "full":
        pytest.skip("augmented coordinates are for full covariances alone")
    x, coordinates = iris[::5, :3], COORDINATES[name]
    base = jaxgmm.initialize(jax.random.key(1), x, 3, family=family)
    base = dataclasses.replace(base, logits=base.logits.at[1].set(-jnp.inf))
    flat, unravel = jax.flatten_util.ravel_pytree(base)
    along = jnp.sin(jnp.arange(flat.size, dtype=flat.dtype))

    @jax.jit
    def look(size):
        offsets = unravel(size * along)
        local = coordinates.local(base, offsets)
        value, slope = jax.value_and_grad(
            lambda o: jaxgmm.log_likelihood(place(coordinates, base, o), x)
        )(offsets)
        pulled = coordinates.local_gradient(base, offsets, slope)
        sums = statistics_of_gradient(local, pulled, jnp.asarray(30.0))
        return coordinates.place(base, local), value, slope, sums

    chex.assert_trees_all_close(look(0.0)[0], base, rtol=1e-12, atol=1e-12)
    mixture, _, slope, found = look(0.1)
    rise = (look(0.1 + 1e-5)[1] - look(0.1 - 1e-5)[1]) / 2e-5
    slope = jax.flatten_util.ravel_pytree(slope)[0]
    np.testing.assert_allclose(slope @ along, rise, rtol=1e-6, atol=1e-7)
    expected = jaxgmm.e_step(mixture, x)
    for a, b in zip(
        (found.mass, found.shift, found.spread),
        (expected.mass, expected.shift, expected.spread), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


def test_coordinates_are_what_they_say(family, x64):
    """The numbers that describe a mixture, against NumPy's factors of its dense covariances."""
    parameters = reference.random_mixture(5, 3, 3, family)
    mixture = jaxgmm.Mixture.from_parameters(*parameters, family=family)
    sigma, precision = np.asarray(mixture.covariances), np.asarray(mixture.precisions)
    values, vectors = np.linalg.eigh(sigma)
    root = vectors @ (np.sqrt(values)[..., None] * np.swapaxes(vectors, 1, 2))
    for name, dense in (
        ("covariance", np.linalg.cholesky(sigma)),
        ("precision", np.linalg.cholesky(precision)),
        ("square-root", root),
    ):
        diagonal, lower = COORDINATES[name].numbers(mixture).covariance.entries()
        diagonal = diagonal if name == "square-root" else np.exp(diagonal)
        expected = np.diagonal(dense, axis1=1, axis2=2)
        held = 1 if family == "tied" else 3
        scales = expected[:, :1] if family == "spherical" else expected
        np.testing.assert_allclose(np.ravel(diagonal), np.ravel(scales[:held]), rtol=1e-12)
        if lower.size:
            rows, columns = np.tril_indices(3, -1)
            np.testing.assert_allclose(lower, dense[:held, rows, columns], atol=1e-12)


def test_a_square_root_need_not_be_positive(x64):
    """Beyond a singular S the covariance S² is a covariance again, with its own gradient."""
    root, coordinates = np.array([[[1.0, 0.4], [0.4, -2.0]]]), COORDINATES["square-root"]
    base = jaxgmm.Mixture.from_parameters([1.0], np.zeros((1, 2)), np.eye(2)[None])
    target = base.covariance.with_entries(jnp.array([[1.0, -2.0]]), jnp.array([[0.4]]))
    offsets = jax.tree.map(
        lambda to, a: to - a,
        dataclasses.replace(base, covariance=target),
        coordinates.numbers(base),
    )
    np.testing.assert_allclose(
        place(coordinates, base, offsets).covariances, root @ root, rtol=1e-12
    )
    x = np.random.default_rng(0).normal(size=(20, 2))
    slope = jax.grad(lambda o: jaxgmm.log_likelihood(place(coordinates, base, o), x))(offsets)
    found = coordinates.local_gradient(base, offsets, slope)
    expected = jax.grad(jaxgmm.log_likelihood)(place(coordinates, base, offsets), x)
    chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(),
        optax.adam(0.05),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20)),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20, store_grad=True)),
    ],
    ids=["lbfgs", "adam", "backtracking", "backtracking-store-grad"],
)
def test_passes_are_counted(optimizer, iris, passes_taken):
    """Against a counter in the pass itself."""
    x = (iris + np.random.default_rng(0).normal(size=iris.shape)).astype(np.float32)
    mixture = jaxgmm.initialize(jax.random.key(0), x, 2)
    passes_taken.clear()
    fit = jaxgmm.fit(x, mixture, Gradient(optimizer), max_steps=30, tolerance=1e-6)
    jax.block_until_ready(fit)
    jax.effects_barrier()
    assert len(passes_taken) == int(fit.passes) == int(fit.history_passes[-1])
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
    np.testing.assert_allclose(fit.em_gain, again.em_gain, rtol=1e-4, atol=1e-14)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("leaves", "full"),
        ("precision", "tied"),
        ("covariance", "diagonal"),
        ("square-root", "full"),
        ("augmented", "full"),
    ],
)
def test_coordinates_agree_on_the_optimum(name, family, iris, x64, passes_taken):
    """In all coordinates L-BFGS ends where EM does, and says how many passes that took."""
    x = (iris - iris.mean(axis=0)) / iris.std(axis=0)
    start = jaxgmm.initialize(jax.random.key(0), x, 2, family=family)
    expected = jaxgmm.fit(x, start, tolerance=1e-11)
    jax.effects_barrier()
    passes_taken.clear()
    found = jaxgmm.fit(x, start, Gradient(optax.lbfgs(), coordinates=name), tolerance=1e-10)
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert found.converged and expected.converged
    assert len(passes_taken) == int(found.passes)
    np.testing.assert_allclose(found.objective, expected.objective, atol=1e-6 * len(x))


def test_leaves_are_moved_as_they_are(iris, x64):
    """Plain gradient descent on the leaves is −learning rate times the gradient of the loss."""
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 2)
    algorithm = Gradient(optax.sgd, learning_rate=0.01, coordinates="leaves")
    fit = jaxgmm.fit(iris, mixture, algorithm, prior=None, max_steps=1, tolerance=0.0)
    slope = jax.grad(jaxgmm.log_likelihood)(mixture, iris)
    expected = jax.tree.map(lambda leaf, g: leaf + 0.01 * g / 150, mixture, slope)
    chex.assert_trees_all_close(fit.mixture, expected, rtol=1e-10, atol=1e-10)


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


@pytest.mark.thorough
def test_float32_in_64_bit_mode(iris, x64):
    x = iris.astype(np.float32)
    fit = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 2), LBFGS)
    assert fit.converged
    assert {leaf.dtype for leaf in jax.tree.leaves(fit.mixture)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3.0,), "not an optax optimizer"),
        ((lambda: None,), "did not make an optax optimizer"),
        ((optax.adam,), "cannot be made from"),
        ((optax.sgd(0.1), dict(learning_rate=1.0)), "go with a factory"),
        ((optax.sgd, dict(learning_rate=0.1, coordinates="polar")), "unknown coordinates 'polar'"),
        ((optax.sgd, dict(learning_rate=0.1, rebase_every=0)), "rebase_every is 0"),
        ((optax.sgd, dict(learning_rate=np.ones(2))), "not hashable"),
    ],
)
def test_bad_optimizers(arguments, words):
    optimizer, *rest = arguments
    with pytest.raises(ValueError, match=words):
        Gradient(optimizer, **(rest[0] if rest else {}))
