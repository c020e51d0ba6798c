"""`cdf` and `quantile` of mixtures in one dimension."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ..internal import checks
from ..mixture.mixture import Mixture

# Halvings of the interval that encloses a quantile, after which it is one number wide.
HALVINGS = {"float32": 30, "float64": 60}


def scales(mixture: Mixture) -> jax.Array:
    """Return the standard deviations (k,) of the components of a mixture in one dimension."""
    return jnp.abs(mixture.frame.unwhiten(jnp.ones_like(mixture.means)))[:, 0]


def probability_below(
    log_weights: jax.Array, means: jax.Array, scales: jax.Array, x: jax.Array
) -> jax.Array:
    """Return P(X ≤ x) as (), for components with these parameters (k,)."""
    z = (x - means) / scales
    return jnp.sum(jnp.exp(log_weights) * jax.scipy.special.ndtr(z))


@jax.custom_jvp
def quantile_of(
    log_weights: jax.Array, means: jax.Array, scales: jax.Array, p: jax.Array
) -> jax.Array:
    """Return the number () below which a mixture in one dimension has probability p.

    The components' own quantiles enclose it, because each component has at most p below the
    smallest of them and at least p below the largest.
    """
    own = means + scales * jax.scipy.special.ndtri(p)
    present = log_weights > -jnp.inf

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = low + (high - low) / 2
        below = probability_below(log_weights, means, scales, middle) < p
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low = jnp.min(jnp.where(present, own, jnp.inf))
    high = jnp.max(jnp.where(present, own, -jnp.inf))
    low, high = jax.lax.fori_loop(0, HALVINGS[str(own.dtype)], halve, (low, high))
    return low + (high - low) / 2


@quantile_of.defjvp
def _(primals, tangents):
    # F(x; θ) = p stays true, hence ẋ = (ṗ − ∂F/∂θ·θ̇) / f(x).
    log_weights, means, scales, _ = primals
    x = quantile_of(*primals)
    error = lambda log_weights, means, scales, p: (
        p - probability_below(log_weights, means, scales, x)
    )
    moved = jax.jvp(error, primals, tangents)[1]
    z = (x - means) / scales
    density = jnp.sum(jnp.exp(log_weights - z**2 / 2) / scales) / np.sqrt(2 * np.pi)
    return x, moved / density.astype(x.dtype)


def cdf(mixture: Mixture, x: npt.ArrayLike) -> jax.Array:
    """Return the probability that a draw is at most x, for a mixture in one dimension.

    The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture of one feature.
      x: numbers of any shape, or rows (n, 1), in the units of the mixture's means.

    Returns:
      The probabilities, in the shape of x, or (n,) for rows, in the mixture's dtype.

    Raises:
      ValueError: if the mixture has several features, a number is NaN, or `mixture` is not a single
        mixture with finite parameters.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.cdf(m, [0.0, 2.0])).round(3)
    array([0.25, 0.5 ], dtype=float32)
    """
    _check_univariate(mixture, "cdf")
    array = checks.array(x, "x")
    if not checks.traced(array) and np.isnan(np.asarray(array)).any():
        raise ValueError("x contains NaN: pass numbers.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return _cdf(mixture, checks.cast(array, "x", mixture.dtype))


def quantile(mixture: Mixture, p: npt.ArrayLike) -> jax.Array:
    """Return the numbers below which a mixture in one dimension has probability p.

    The quantile is found by bisection between the smallest and the largest of the components' own
    quantiles, which always enclose it. Its derivatives are exact: they follow from those of the
    cumulative distribution function. The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture of one feature.
      p: probabilities of any shape, above 0 and below 1.

    Returns:
      The quantiles, in the shape of p and in the mixture's dtype and units.

    Raises:
      ValueError: if the mixture has several features, a probability is not between 0 and 1, or
        `mixture` is not a single mixture with finite parameters.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.quantile(m, [0.1, 0.5])).round(2)
    array([-0.84,  2.  ], dtype=float32)
    """
    _check_univariate(mixture, "quantile")
    return _quantile(mixture, probabilities(p, mixture))


def probabilities(p: npt.ArrayLike, mixture: Mixture) -> jax.Array:
    """Return probabilities in the mixture's dtype.

    Raises:
      ValueError: if one of them is not between 0 and 1.
    """
    array = checks.array(p, "p")
    if not checks.traced(array):
        values = np.asarray(array)
        if not ((values > 0) & (values < 1)).all():
            raise ValueError(f"p is {values}: pass probabilities above 0 and below 1.")
    return checks.cast(array, "p", mixture.dtype)


def _check_univariate(mixture: Mixture, name: str) -> None:
    checks.one_mixture(mixture)
    if mixture.n_features != 1:
        raise ValueError(
            f"{name} is for one feature, but the mixture has {mixture.n_features}: pass the "
            "marginal of one feature, or use draws from sample."
        )


@jax.jit
def _cdf(mixture: Mixture, x: jax.Array) -> jax.Array:
    parameters = mixture.log_weights, mixture.means[:, 0], scales(mixture)
    flat = jax.vmap(lambda value: probability_below(*parameters, value))(x.reshape(-1))
    return flat.reshape(x.shape)


@jax.jit
def _quantile(mixture: Mixture, p: jax.Array) -> jax.Array:
    parameters = mixture.log_weights, mixture.means[:, 0], scales(mixture)
    flat = jax.vmap(lambda value: quantile_of(*parameters, value))(p.reshape(-1))
    return flat.reshape(p.shape)
