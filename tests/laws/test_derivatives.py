"""Derivatives are those of central differences, or they are refused: never silently wrong."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgmm
from jaxgmm import Blocks, Mixture, Prior

N, D, K = 30, 2, 3
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(N, D)) + 3 * RANDOM.integers(0, K, N)[:, None]
WEIGHT = RANDOM.uniform(0.5, 2, N)
RESPONSIBILITIES = RANDOM.dirichlet(np.ones(K), N)
LABELS = np.arange(N) % K
KEY = jax.random.key(1)


def of_each_family(family, mixture, x, weight, prior):
    """Functions that do something else for every family."""
    return {
        "log_likelihood of blocks": jaxgmm.log_likelihood(mixture, Blocks(x, 7), weight=weight),
        "m_step": jaxgmm.m_step(mixture, jaxgmm.e_step(mixture, x, weight=weight), prior),
        "from_responsibilities": jaxgmm.from_responsibilities(
            x, RESPONSIBILITIES, family=family, weight=weight, prior=prior
        ),
        "icl": jaxgmm.icl(mixture, x, weight=weight),
        "from_parameters": Mixture.from_parameters(
            mixture.weights, mixture.means, mixture.covariances, family
        ),
        "k-means++": jaxgmm.initialize(KEY, x, K, family=family, weight=weight),
    }


def of_any_family(family, mixture, x, weight, prior):
    """The other functions with a derivative."""
    own, start = jaxgmm.responsibilities(mixture, x), functools.partial(jaxgmm.initialize, KEY, x)
    return {
        "log_joint": jaxgmm.log_joint(mixture, x),
        "log_prob": jaxgmm.log_prob(mixture, x),
        "complete_log_likelihood": jaxgmm.complete_log_likelihood(mixture, x, own, weight=weight),
        "log_prior": jaxgmm.log_prior(mixture, prior),
        "e_step of blocks": jaxgmm.e_step(mixture, Blocks(x, 7), weight=weight),
        "m_step without a prior": jaxgmm.m_step(mixture, jaxgmm.e_step(mixture, x)),
        "from_labels": jaxgmm.from_labels(x, LABELS, K, family=family, weight=weight),
        "from_data": Prior.from_data(x, weight=weight, strength=prior.strength),
        "aic": jaxgmm.aic(mixture, x, weight=weight),
        "bic of blocks": jaxgmm.bic(mixture, Blocks(x, 7), weight=weight),
        "separation": jaxgmm.separation(mixture),
        "readable": (mixture.weights, mixture.covariances, mixture.precisions),
        "sample": jaxgmm.sample(KEY, mixture, 5)[0],
        "random rows": start(K, family=family, method="random-rows", weight=weight),
        "random": start(K, family=family, method="random-responsibilities", weight=weight),
    }


def of_loops(family, mixture, x, weight, prior):
    """Functions with a loop inside that JAX cannot turn around: forward mode alone."""
    found = jaxgmm.textbook_em(x, mixture, epsilon=1e-9, max_steps=3)
    certificate = jaxgmm.certificate(mixture, x, weight=weight)
    return {
        "textbook_em": (found.mixture, found.objective),
        "certificate": (certificate.gradient_norm, certificate.em_gain),
        "curvature": (certificate.smallest_eigenvalue, certificate.rate),
    }


def setting(family):
    """A mixture, rows, weights and a prior, and a direction in which all of them move."""
    mixture = jaxgmm.initialize(jax.random.key(0), X, K, family=family)
    prior = Prior(0.7, 0.5 * np.cov(X.T), 1.5, X.mean(axis=0), 0.3)
    at = jax.tree.map(jnp.asarray, (mixture, X, WEIGHT, prior))
    random = np.random.default_rng(5)
    along = jax.tree.map(lambda leaf: jnp.asarray(0.1 * random.normal(size=leaf.shape)), at)
    scatter = along[3].scatter + along[3].scatter.T
    return at, (*along[:3], dataclasses.replace(along[3], scatter=scatter))


def floats(found):
    """The numbers in each value, as one vector."""
    return {
        name: jnp.concatenate([jnp.ravel(leaf).astype(float) for leaf in jax.tree.leaves(value)])
        for name, value in found.items()
    }


def slopes(derivative, functions, family):
    """What derivative(value, step) says of the values along the direction, and their central
    differences; it gives both the values and their slopes, so that one program is compiled."""
    at, along = setting(family)

    def value(step):
        moved = jax.tree.map(lambda leaf, slope: leaf + step * slope, at, along)
        return floats(functions(family, *moved))

    program, step = jax.jit(lambda step: derivative(value, step)), 1e-5
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * step), program(step)[0], program(-step)[0])
    return program(0.0)[1], expected


def forward(functions, family, tolerance=1e-5):
    """Forward derivatives, with respect to everything that a function takes."""
    derivative = lambda value, step: jax.jvp(value, (step,), (1.0,))
    found, expected = slopes(derivative, functions, family)
    for name, slope in found.items():
        np.testing.assert_allclose(slope, expected[name], tolerance, tolerance, err_msg=name)


def test_forward_derivatives_of_every_family(family, x64):
    forward(of_each_family, family)


def test_forward_derivatives(x64):
    forward(of_any_family, "full")


@pytest.mark.thorough
def test_forward_derivatives_through_loops(x64):
    forward(of_loops, "full", 1e-4)


def test_reverse_derivatives(x64):
    """Of products with numbers without a pattern, so that a slope that is missing anywhere shows."""
    names = ("log_likelihood of blocks", "m_step", "from_responsibilities", "icl")

    def product(values):
        chosen = [values[name] for name in names]
        return sum(jnp.vdot(jnp.sin(1 + jnp.arange(one.size) ** 2), one) for one in chosen)

    derivative = lambda value, step: jax.value_and_grad(lambda t: product(value(t)))(step)
    found, expected = slopes(derivative, of_each_family, "full")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---- what is refused --------------------------------------------------------------------------

ROWS = X.astype(np.float32)
START = jaxgmm.initialize(jax.random.key(0), ROWS, K)
PRIOR = Prior.from_data(ROWS)
fitted = functools.partial(jaxgmm.fit, max_steps=3)


def of_offset(c):
    return fitted(ROWS + c, START).mixture.means.sum()


def along(function, *at):
    """The forward derivative."""
    return jax.jvp(function, at, jax.tree.map(jnp.ones_like, at))[1]


def looped(c):
    return jax.lax.fori_loop(0, 2, lambda _, total: total + of_offset(total), c)


TRANSFORMED = {
    "jvp": lambda: along(of_offset, 0.0),
    "jvp of jit": lambda: along(jax.jit(of_offset), 0.0),
    "jit of jvp": lambda: jax.jit(lambda c: along(of_offset, c))(0.0),
    "linearize": lambda: jax.linearize(jax.jit(of_offset), 0.0),
    "grad": lambda: jax.grad(of_offset)(0.0),
    "grad of jit": lambda: jax.grad(jax.jit(of_offset))(0.0),
    "jacfwd of vmap": lambda: jax.jacfwd(jax.vmap(of_offset))(jnp.zeros(2)),
    "jvp of jit of vmap": lambda: along(jax.jit(jax.vmap(of_offset)), jnp.zeros(2)),
    "vmap of jvp": lambda: jax.vmap(lambda c: along(of_offset, c))(jnp.zeros(2)),
    "map": lambda: along(lambda c: jax.lax.map(of_offset, c), jnp.zeros(2)),
    "cond": lambda: along(lambda c: jax.lax.cond(c > -1, of_offset, jnp.sin, c), 0.0),
    "loop": lambda: along(looped, 0.0),
    "checkpoint": lambda: jax.grad(jax.checkpoint(of_offset))(0.0),
}


@pytest.mark.parametrize("transformed", TRANSFORMED)
def test_derivatives_of_a_fit_are_refused(transformed):
    with pytest.raises(ValueError, match="derivatives through a fit are not available yet"):
        TRANSFORMED[transformed]()


ARGUMENTS = {
    "weight": (lambda w: fitted(ROWS, START, weight=w), jnp.ones(N)),
    "start": (lambda start: fitted(ROWS, start), START),
    "prior": (lambda s: fitted(ROWS, START, prior=Prior(s, PRIOR.scatter)), 0.1),
    "tolerance": (lambda tolerance: fitted(ROWS, START, tolerance=tolerance), 1e-9),
    "blocks": (lambda x: fitted(Blocks(x, 8), START), jnp.asarray(ROWS)),
    "shards": (lambda start: fitted(jaxgmm.Shards(ROWS), start), START),
    "stream": (lambda start: fitted(jaxgmm.Stream([ROWS]), start), START),
    "learning rate": (
        lambda rate: fitted(ROWS, START, jaxgmm.Gradient(optax.sgd(rate))), 0.1,
    ),
    "sweep": (lambda x: jaxgmm.sweep(KEY, x, 2).fits["full"], jnp.asarray(ROWS)),
    "prior of a sweep": (
        lambda s: jaxgmm.sweep(KEY, ROWS, 2, prior=Prior(s, PRIOR.scatter)).fits["full"], 0.1,
    ),
    "compare": (lambda x: jaxgmm.compare(KEY, x, 2, ["em"]).fits["em"], jnp.asarray(ROWS)),
    "tolerance of compare": (
        lambda t: jaxgmm.compare(KEY, ROWS, 2, ["em"], tolerance=t).fits["em"], 1e-9,
    ),
}  # fmt: skip


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_derivatives_by_every_argument_are_refused(argument):
    function, at = ARGUMENTS[argument]
    with pytest.raises(ValueError, match="derivatives through a fit are not available yet"):
        jax.eval_shape(lambda at: along(lambda at: function(at).objective, at), at)


def test_what_is_held_fixed_has_no_derivative_to_refuse():
    """A fit of stopped values, or of others than those that move, differentiates as a constant."""
    stopped = lambda c: of_offset(jax.lax.stop_gradient(c)) + c
    assert along(stopped, 0.0) == along(jax.jit(stopped), 0.0) == 1
    assert jax.grad(jax.jit(stopped))(0.0) == 1

    def score(c, x):
        return jaxgmm.log_likelihood(fitted(x, START).mixture, x + c)

    at = fitted(ROWS, START).mixture
    expected = jax.grad(lambda c: jaxgmm.log_likelihood(at, ROWS + c))(0.0)
    slope = jax.grad(jax.jit(score))(0.0, ROWS)
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("function", [jaxgmm.overlap, lambda m: jaxgmm.misassignment(m)[0]])
def test_derivatives_of_overlap_are_refused(function):
    """Of equal covariances they were NaN, and in one dimension a wrong number."""
    with pytest.raises(ValueError, match="derivatives of misassignment and overlap"):
        jax.grad(lambda mixture: function(mixture).sum())(START)
    assert jax.jit(function)(START).shape == (K, K)


@pytest.mark.parametrize("kind", [jaxgmm.Shards, lambda x: jaxgmm.Stream([x])])
def test_rows_that_the_host_lays_out(kind):
    """They have derivatives by the mixture, and refuse those by rows and weights."""
    weight = jnp.asarray(WEIGHT, jnp.float32)
    found = jax.grad(lambda m: jaxgmm.log_likelihood(m, kind(ROWS), weight=weight))(START)
    expected = jax.grad(lambda m: jaxgmm.log_likelihood(m, ROWS, weight=weight))(START)
    chex.assert_trees_all_close(found, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="derivatives with respect to rows or weights"):
        along(lambda x: jaxgmm.log_likelihood(START, kind(x)), jnp.asarray(ROWS))
    with pytest.raises(ValueError, match="derivatives with respect to rows or weights"):
        along(lambda w: jaxgmm.e_step(START, kind(ROWS), weight=w).mass, weight)
