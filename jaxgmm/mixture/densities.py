"""What rows ask of a mixture, one by one: densities, responsibilities; and rows drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..internal import checks, memory
from .inputs import ROWS_PER_STEP, check_mixture_and_array, over_rows, row_log_joint, row_log_prob
from .mixture import Mixture

MOST_DRAWN = 2**31 - 1  # at once: rows are counted in 32 bits


@jax.jit
def _log_joint(mixture, x):
    return over_rows(row_log_joint, mixture, x)


@jax.jit
def _log_prob(mixture, x):
    return over_rows(row_log_prob, mixture, x)


@jax.jit
def _responsibilities(mixture, x):
    return jax.nn.softmax(_log_joint(mixture, x), axis=1)


def log_joint(mixture: Mixture, x) -> jax.Array:
    """log π_k + log N(x_n; μ_k, Σ_k) of each row and component.

    Args:
      mixture: the mixture θ.
      x: (n, d) rows, finite, in the units of the mixture's means.

    Returns:
      (n, k) in nats, in the wider dtype of mixture and x; −inf for an absent component.

    Raises:
      ValueError: for x that is not finite (n, d) rows of the mixture's features, and for a mixture
        whose parameters are not finite. (Under jit and vmap values are not looked at.)

    (Bishop 2006, Pattern Recognition and Machine Learning, eq. 9.7.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.log_joint(m, [[0.0], [2.0]])).round(2)
    array([[-1.61, -9.61],
           [-3.61, -3.61]], dtype=float32)
    """
    return _log_joint(*check_mixture_and_array(mixture, x)[:2])


def log_prob(mixture: Mixture, x) -> jax.Array:
    """log p(x_n) = log Σ_k π_k N(x_n; μ_k, Σ_k) as (n,), in nats, in the wider dtype of
    mixture and x. Raises as `log_joint`. (Bishop 2006, eq. 9.7.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.log_prob(m, [[0.0], [2.0]])).round(2)
    array([-1.61, -2.92], dtype=float32)
    """
    return _log_prob(*check_mixture_and_array(mixture, x)[:2])


def responsibilities(mixture: Mixture, x) -> jax.Array:
    """r_nk = p(component k | x_n) as (n, k), in the wider dtype of mixture and x; each row sums to
    1, far away too. Raises as `log_joint`. (Bishop 2006, eq. 9.23.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.responsibilities(m, [[0.0], [2.0]])).round(3)
    array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """
    return _responsibilities(*check_mixture_and_array(mixture, x)[:2])


@jax.jit(static_argnames="n")
def _sample(key, mixture, n):
    component_key, noise_key = jax.random.split(key)
    component = jax.random.categorical(component_key, mixture.logits, shape=(n,))
    noise = jax.random.normal(noise_key, (n, mixture.n_features), mixture.dtype)
    unit = jnp.eye(mixture.n_features, dtype=mixture.dtype)
    k = mixture.n_components
    columns = jax.vmap(lambda e: mixture.frame.unwhiten(jnp.broadcast_to(e, (k, len(e)))))
    factor = jnp.moveaxis(columns(unit), 0, -1)

    def draw(row):
        which, z = row
        return mixture.means[which] + jnp.sum(factor[which] * z[None], axis=-1)

    x = jax.lax.map(draw, (component, noise), batch_size=min(ROWS_PER_STEP, max(n, 1)))
    return x, component


def sample(key: jax.Array, mixture: Mixture, n: int) -> tuple[jax.Array, jax.Array]:
    """n independent rows of the mixture.

    Args:
      key: a JAX random key.
      mixture: where to draw from.
      n: how many rows, a plain whole number.

    Returns:
      x (n, d) in the mixture's dtype and units, and the component (n,) that each row came from, 0 …
      k − 1. The rows have derivatives with respect to the means and the covariance's leaves, each
      at the component that it came from. They have none with respect to the logits, since a
      component is drawn: the gradient of an expectation by the weights is not that of its sample.

    Raises:
      ValueError: if n is not a whole number from 0 to 2³¹ − 1, or so many rows need more memory
        than this machine has left; and for what is not one finite mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x, component = jaxgmm.sample(jax.random.key(0), m, 5)
    >>> x.shape, component
    ((5, 1), Array([0, 0, 1, 0, 0], dtype=int32))
    """
    checks.random_key(key)
    checks.one_mixture(mixture)
    n = checks.whole(n, "n", 0, MOST_DRAWN)
    if not checks.traced(key, mixture):
        _fits_in_memory(mixture, n)
    return _sample(key, mixture, n)


def _fits_in_memory(mixture: Mixture, n: int) -> None:
    # A row is drawn from 2k random numbers that choose its component and 2d that place it; bits,
    # normal numbers and the rows lie side by side (measured: 0.8 to 1.4 of this).
    numbers = 2 * mixture.n_components + 5 * mixture.n_features
    needed = n * numbers * mixture.dtype.itemsize
    available = memory.available_bytes() if jax.default_backend() == "cpu" else None
    if available is not None and needed > available:
        raise ValueError(
            f"n is {n}: to draw so many rows at once takes about {needed / 1e9:.1f} GB of memory, "
            f"and {available / 1e9:.1f} GB are left. Draw fewer at a time, each with its own key."
        )
