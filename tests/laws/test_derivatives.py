"""Derivatives are those of central differences, or they are refused: never silently wrong."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
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


@pytest.mark.thorough
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


def along(function, *at):
    """The forward derivative."""
    return jax.jvp(function, at, jax.tree.map(jnp.ones_like, at))[1]


SEARCHES = {
    "sweep": (lambda x: jaxgmm.sweep(KEY, x, 2).fits["full"], jnp.asarray(ROWS)),
    "prior of a sweep": (
        lambda s: jaxgmm.sweep(KEY, ROWS, 2, prior=Prior(s, PRIOR.scatter)).fits["full"], 0.1,
    ),
    "compare": (lambda x: jaxgmm.compare(KEY, x, 2, ["em"]).fits["em"], jnp.asarray(ROWS)),
    "tolerance of compare": (
        lambda t: jaxgmm.compare(KEY, ROWS, 2, ["em"], tolerance=t).fits["em"], 1e-9,
    ),
}  # fmt: skip


@pytest.mark.parametrize("argument", SEARCHES)
def test_derivatives_of_a_search_are_refused(argument):
    function, at = SEARCHES[argument]
    with pytest.raises(ValueError, match="differentiable by jaxgmm"):
        jax.eval_shape(lambda at: along(lambda at: function(at).objective, at), at)


@pytest.mark.parametrize("function", [jaxgmm.overlap, lambda m: jaxgmm.misassignment(m)[0]])
def test_derivatives_of_overlap_are_refused(function):
    """Of equal covariances they were NaN, and in one dimension a wrong number."""
    with pytest.raises(ValueError, match="derivatives of misassignment and overlap"):
        jax.grad(lambda mixture: function(mixture).sum())(START)
    assert jax.jit(function)(START).shape == (K, K)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(jaxgmm.Shards, marks=pytest.mark.thorough), lambda x: jaxgmm.Stream([x])],
)
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
