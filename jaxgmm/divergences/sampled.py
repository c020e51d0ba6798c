"""`kl`, `js` and `entropy`: integrals without a closed form, by Monte Carlo."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ..algebra.pairs import check_pair
from ..internal import checks
from ..mixture.complete_rows import log_prob
from ..mixture.mixture import Mixture
from ..mixture.sampling import sample
from .estimate import Estimate


def kl(key: jax.Array, a: Mixture, b: Mixture, n: int = 100_000) -> Estimate:
    """Estimate the Kullback–Leibler divergence ∫ p log(p/q) by Monte Carlo.

    The divergence has no closed form for mixtures. The estimate is the mean of log p(x) − log q(x)
    over n draws from p. It is unbiased, and so are its derivatives with respect to both mixtures,
    weights included. The value for two equal mixtures is exactly 0.

    Args:
      key: a JAX random key.
      a: the mixture p.
      b: the mixture q, in the same features.
      n: the number of draws, at least 2.

    Returns:
      The divergence in nats, as an `Estimate` with its standard error, in the wider dtype.

    Raises:
      ValueError: if an argument is invalid, or the mixtures have different numbers of features.

    See Hershey & Olsen (2007), ICASSP, sec. 2.

    >>> p = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> q = jaxgmm.Mixture.from_parameters([1.0], [[1.0]], [[[1.0]]])
    >>> jaxgmm.kl(jax.random.key(0), p, q)  # ½
    Estimate(0.50... ± 0.003...)
    """
    a, b = check_pair(a, b)
    x, weight = draw(key, a, n)
    return Estimate.of_mean(_weighted(log_prob(a, x) - log_prob(b, x), weight))


def js(key: jax.Array, a: Mixture, b: Mixture, n: int = 100_000) -> Estimate:
    """Estimate the Jensen–Shannon divergence ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2.

    It is symmetric in p and q, and between 0 and log 2. The estimate uses n draws from each of the
    mixtures. Its derivatives are unbiased too.

    Args:
      key: a JAX random key.
      a: the mixture p.
      b: the mixture q, in the same features.
      n: the number of draws from each mixture, at least 2.

    Returns:
      The divergence in nats, as an `Estimate` with its standard error, in the wider dtype.

    Raises:
      ValueError: if an argument is invalid, or the mixtures have different numbers of features.

    See Lin (1991), IEEE Trans. Information Theory 37, eq. 4.1.

    >>> p = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> q = jaxgmm.Mixture.from_parameters([1.0], [[100.0]], [[[1.0]]])
    >>> jaxgmm.js(jax.random.key(0), p, q)  # log 2
    Estimate(0.69314... ± ...)
    """
    a, b = check_pair(a, b)
    halves = []
    for side, mixture in zip(_two_keys(key), (a, b), strict=True):
        x, weight = draw(side, mixture, n)
        own, p, q = log_prob(mixture, x), log_prob(a, x), log_prob(b, x)
        middle = jnp.logaddexp(p, q) - math.log(2)
        halves.append(Estimate.of_mean(_weighted(own - middle, weight)))
    first, second = halves
    error = jnp.hypot(first.standard_error, second.standard_error) / 2
    return Estimate((first.value + second.value) / 2, error)


def entropy(key: jax.Array, mixture: Mixture, n: int = 100_000) -> Estimate:
    """Estimate the differential entropy −∫ p log p by Monte Carlo.

    The estimate is the mean of −log p(x) over n draws. Its derivatives are unbiased too. See
    `entropy_bounds` for bounds in closed form.

    Args:
      key: a JAX random key.
      mixture: a single mixture with finite parameters.
      n: the number of draws, at least 2.

    Returns:
      The entropy in nats, as an `Estimate` with its standard error, in the mixture's dtype.

    Raises:
      ValueError: if an argument is invalid.

    >>> m = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> jaxgmm.entropy(jax.random.key(0), m)  # ½ log 2πe = 1.419
    Estimate(1.41... ± 0.002...)
    """
    checks.one_mixture(mixture)
    x, weight = draw(key, mixture, n)
    return Estimate.of_mean(_weighted(-log_prob(mixture, x), weight))


def _two_keys(key: jax.Array) -> jax.Array:
    checks.random_key(key)
    return jax.random.split(key)


def draw(key: jax.Array, mixture: Mixture, n: int) -> tuple[jax.Array, jax.Array]:
    """Return n rows from a mixture, and weights of value 1 that carry the derivatives of π.

    Rows have derivatives with respect to the parameters of the component that they come from, but
    the choice of a component has none. The weight is the component's weight divided by its value.
    """
    n = checks.whole(n, "n", 2)
    x, component = sample(key, mixture, n)
    return x, _choice_weight(mixture.logits, component)


@jax.jit
def _choice_weight(logits: jax.Array, component: jax.Array) -> jax.Array:
    chosen = jax.nn.log_softmax(logits)[component]
    return jnp.exp(chosen - jax.lax.stop_gradient(chosen))


@jax.jit
def _weighted(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Return values (n,) that also have the derivatives of their weights.

    The mean of the values is subtracted from what the weights multiply, which leaves the expected
    derivative as it is and reduces its variance.
    """
    baseline = jax.lax.stop_gradient(jnp.mean(values))
    return values + (weight - 1) * jax.lax.stop_gradient(values - baseline)
