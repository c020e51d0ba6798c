"""The log-likelihood, its derivatives, and the complete-data log-likelihood."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import reference

import jaxgmm
from jaxgmm import Mixture


def weighted(mixture, x, weight=None):
    """The log-likelihood with positional weights, for derivatives by argument number."""
    return jaxgmm.log_likelihood(mixture, x, weight=weight)


def setting(family, n=12, d=2, k=2):
    parameters = reference.random_mixture(11, k, d, family)
    rng = np.random.default_rng(9)
    x, weight = rng.normal(size=(n, d)) * 2, rng.uniform(0.3, 2, n)
    return Mixture.from_parameters(*parameters, family=family), parameters, x, weight


def naive(mixture, x, weight):
    """The log-likelihood by dense covariances and plain autodiff."""
    d = x.shape[1]
    apart = x[:, None, :] - mixture.means[None]
    squared = jnp.einsum("nki,kij,nkj->nk", apart, mixture.precisions, apart)
    volume = jnp.linalg.slogdet(mixture.covariances)[1]
    constants = jax.nn.log_softmax(mixture.logits) - volume / 2 - d / 2 * jnp.log(2 * jnp.pi)
    return weight @ jax.nn.logsumexp(constants[None] - squared / 2, axis=1)


def close(a, b, rtol=1e-9, atol=1e-9):
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def test_value_equals_the_reference(family, x64):
    mixture, parameters, x, weight = setting(family)
    np.testing.assert_allclose(
        jaxgmm.log_likelihood(mixture, x, weight=weight),
        reference.log_likelihood(*parameters, x, weight), rtol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(
        jaxgmm.log_likelihood(mixture, x), np.sum(jaxgmm.log_prob(mixture, x)), rtol=1e-12
    )


def test_first_derivatives_are_exact(family, x64):
    mixture, _, x, weight = setting(family)
    slopes = lambda function: jax.jit(jax.grad(function, argnums=(0, 1, 2)))(mixture, x, weight)
    close(slopes(weighted), slopes(naive))
    along = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=float)).reshape(leaf.shape),
                         (mixture, jnp.asarray(x), jnp.asarray(weight)))  # fmt: skip
    arguments = (mixture, jnp.asarray(x), jnp.asarray(weight))
    forward = lambda function: jax.jit(lambda a, t: jax.jvp(function, a, t))(arguments, along)
    close(forward(weighted), forward(naive))


def test_second_derivatives_are_exact(family, x64):
    mixture, _, x, weight = setting(family, n=5)
    arguments = (mixture, jnp.asarray(x), jnp.asarray(weight))
    flat, unravel = jax.flatten_util.ravel_pytree(arguments)
    found = jax.jit(jax.hessian(lambda v: weighted(*unravel(v))))(flat)
    expected = jax.jit(jax.hessian(lambda v: naive(*unravel(v))))(flat)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    along = jnp.cos(jnp.arange(flat.size, dtype=float))
    reverse = jax.grad(lambda v: jax.grad(lambda u: weighted(*unravel(u)))(v) @ along)
    np.testing.assert_allclose(jax.jit(reverse)(flat), expected @ along, rtol=1e-8, atol=1e-8)


def test_fisher_identity(family, x64):
    """At fixed responsibilities, the gradient of the complete-data log-likelihood is the
    incomplete one's."""
    mixture, _, x, weight = setting(family)
    resp = jaxgmm.responsibilities(mixture, x)
    incomplete = jax.grad(weighted)(mixture, x, weight)
    complete = jax.grad(
        lambda mixture: jaxgmm.complete_log_likelihood(mixture, x, resp, weight=weight)
    )(mixture)
    close(incomplete, complete, rtol=1e-10, atol=1e-10)


def test_likelihood_is_complete_plus_entropy(family, x64):
    mixture, _, x, weight = setting(family)
    resp = np.asarray(jaxgmm.responsibilities(mixture, x))
    entropy = -weight @ np.sum(resp * np.log(resp), axis=1)
    complete = jaxgmm.complete_log_likelihood(mixture, x, resp, weight=weight)
    np.testing.assert_allclose(
        complete + entropy, jaxgmm.log_likelihood(mixture, x, weight=weight), rtol=1e-12
    )


def test_derivatives_stay_finite(family, x64):
    """Zero weights, an absent component, a row 1e8 standard deviations away, in float32."""
    dtype = np.float32
    weights, means, covariances = reference.random_mixture(12, 3, 2, family)
    parameters = np.array([0.4, 0.6, 0.0]), means, covariances
    mixture = Mixture.from_parameters(*[p.astype(dtype) for p in parameters], family=family)
    x = np.array([[0.3, 0.1], [1e8, -1e8], [0.5, 0.5]], dtype)
    weight = np.array([1, 1, 0], dtype)
    slopes = jax.jit(jax.grad(weighted, argnums=(0, 1, 2)))(mixture, x, weight)
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all()
        assert leaf.dtype == dtype
    assert (np.asarray(slopes[1][2]) == 0).all()
    assert float(slopes[0].logits[2]) == 0
    assert (np.asarray(slopes[0].means[2]) == 0).all()
    hessian = jax.jit(jax.hessian(weighted))(mixture, x, weight)
    chex.assert_tree_all_finite(hessian)


def test_gradient_of_an_absent_component_is_that_without_it(x64):
    weights, means, covariances = reference.random_mixture(13, 3, 2, "full")
    x = np.random.default_rng(1).normal(size=(20, 2))
    two = weights[:2] / weights[:2].sum()
    padded = Mixture.from_parameters([*two, 0.0], means, covariances)
    plain = Mixture.from_parameters(two, means[:2], covariances[:2])
    found = jax.grad(jaxgmm.log_likelihood)(padded, x)
    close(
        jax.tree.map(lambda leaf: leaf[:2], found), jax.grad(jaxgmm.log_likelihood)(plain, x),
        rtol=1e-11,
    )  # fmt: skip


def test_complete_log_likelihood_of_labels(family, x64):
    mixture, parameters, x, weight = setting(family)
    labels = np.arange(len(x)) % 2
    joint = reference.log_joint(*parameters, x)
    np.testing.assert_allclose(
        jaxgmm.complete_log_likelihood(mixture, x, np.eye(2)[labels], weight=weight),
        weight @ joint[np.arange(len(x)), labels], rtol=1e-11,
    )  # fmt: skip


def test_adbench_objective(x64):
    """The Gaussian-mixture objective of ADBench (github.com/microsoft/ADBench, data/gmm/test.txt):
    its factors are ours, and its Wishart term is −log_prior and a constant."""
    from scipy.special import multigammaln

    alphas = jnp.array([-0.649014, 1.181166, -0.758453])
    means = jnp.array([[0.092339, 0.186260], [0.345561, 0.396767], [0.538817, 0.419195]])
    factors = jnp.array(
        [[0.586443, -0.851887, 0.800321], [-1.509405, 0.875874, -0.242790],
         [0.166813, -1.965419, -1.270071]]
    )  # fmt: skip
    x, gamma, m = jnp.array([[1.175171, 2.029160]]), 1.0, 0
    mixture = Mixture(alphas, means, jaxgmm.FAMILIES["full"](factors[:, :2], factors[:, 2:]))
    prior = jaxgmm.Prior(strength=m, scatter=gamma**2 * jnp.eye(2))
    n = 2 + m + 1
    constant = n * 2 * np.log(gamma / np.sqrt(2)) - multigammaln(n / 2, 2)
    found = jaxgmm.log_likelihood(mixture, x) - jaxgmm.log_prior(mixture, prior) - 3 * constant
    np.testing.assert_allclose(found, 8.07380408004975791, rtol=1e-10)
