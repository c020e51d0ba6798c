"""`level`: the boundary of the smallest region that contains a fraction of the probability."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy.typing as npt

from ..internal import checks
from ..mixture.complete_rows import log_prob
from ..mixture.mixture import Mixture
from ..mixture.sampling import sample


def level(
    key: jax.Array, mixture: Mixture, mass: npt.ArrayLike = 0.95, *, n: int = 100_000
) -> jax.Array:
    """Return the log-density at the boundary of the smallest region with a given probability.

    The region {x: log p(x) ≥ level} is the smallest one with probability `mass`. Its level is the
    1 − mass quantile of log p(x) over draws x from p, and its error falls as 1/√n. A row is in the
    region if `log_prob(mixture, x) >= level`.

    Args:
      key: a JAX random key.
      mixture: a single mixture with finite parameters.
      mass: the probability of the region, above 0 and below 1.
      n: the number of draws, at least 2.

    Returns:
      The log-density (), in nats and in the mixture's dtype.

    Raises:
      ValueError: if an argument is invalid.

    See Hyndman (1996), The American Statistician 50, sec. 3.

    >>> m = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    >>> edge = jaxgmm.level(jax.random.key(0), m, 0.95)  # log N(1.96; 0, 1) = −2.84
    >>> print(f"{edge:.1f}")
    -2.8
    """
    checks.random_key(key)
    checks.one_mixture(mixture)
    n = checks.whole(n, "n", 2)
    if not checks.traced(mass):
        checks.between(mass, "mass", 1e-9, 1 - 1e-9)
    x, _ = sample(key, mixture, n)
    return _quantile(log_prob(mixture, x), jnp.asarray(mass, mixture.dtype))


@jax.jit
def _quantile(values: jax.Array, mass: jax.Array) -> jax.Array:
    return jnp.quantile(values, 1 - mass)
