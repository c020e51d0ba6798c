"""`sample`: random rows of a mixture."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..internal import checks, memory
from .inputs import ROWS_PER_STEP
from .mixture import Mixture

# The most rows that one call draws, because rows are counted in 32 bits.
MOST_DRAWN = 2**31 - 1


@jax.jit(static_argnames="n")
def _sample(key: jax.Array, mixture: Mixture, n: int) -> tuple[jax.Array, jax.Array]:
    component_key, noise_key = jax.random.split(key)
    component = jax.random.categorical(component_key, mixture.logits, shape=(n,))
    noise = jax.random.normal(noise_key, (n, mixture.n_features), mixture.dtype)
    unit = jnp.eye(mixture.n_features, dtype=mixture.dtype)
    k = mixture.n_components
    columns = jax.vmap(lambda e: mixture.frame.unwhiten(jnp.broadcast_to(e, (k, len(e)))))
    factor = jnp.moveaxis(columns(unit), 0, -1)

    def draw(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        index, z = row
        return mixture.means[index] + jnp.sum(factor[index] * z[None], axis=-1)

    x = jax.lax.map(draw, (component, noise), batch_size=min(ROWS_PER_STEP, max(n, 1)))
    return x, component


def sample(key: jax.Array, mixture: Mixture, n: int) -> tuple[jax.Array, jax.Array]:
    """Draw n independent rows from a mixture.

    Rows have derivatives with respect to the mean, and the leaves of the covariance, of the
    component that they come from. They have no derivatives with respect to the logits, because the
    component is a random choice: the gradient of an expectation with respect to the weights is not
    the gradient of its sample mean.

    Args:
      key: a JAX random key.
      mixture: the mixture to draw from.
      n: the number of rows, a plain whole number from 0 to 2³¹ − 1.

    Returns:
      A pair of the rows x (n, d), in the mixture's dtype and units, and the component (n,) that
      each row comes from, a whole number from 0 to k − 1.

    Raises:
      ValueError: if n is not such a number, the rows need more memory than this machine has left,
        or `mixture` is not a single mixture with finite parameters.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> x, component = jaxgmm.sample(jax.random.key(0), m, 5)
    >>> x.shape, component
    ((5, 1), Array([0, 0, 1, 0, 0], dtype=int32))
    """
    checks.random_key(key)
    checks.one_mixture(mixture)
    n = checks.whole(n, "n", 0, MOST_DRAWN)
    if not checks.traced(key, mixture):
        _check_memory(mixture, n)
    return _sample(key, mixture, n)


def _check_memory(mixture: Mixture, n: int) -> None:
    """Raise ValueError if n rows need more memory than this machine has left."""
    # A row needs 2k random numbers for its component and 2d for its position. Random bits, normal
    # numbers and rows are in memory at the same time. Measured use is 0.8 to 1.4 times this.
    numbers = 2 * mixture.n_components + 5 * mixture.n_features
    needed = n * numbers * mixture.dtype.itemsize
    available = memory.available_bytes() if jax.default_backend() == "cpu" else None
    if available is not None and needed > available:
        raise ValueError(
            f"n is {n}: drawing this many rows at once takes about {needed / 1e9:.1f} GB of "
            f"memory, and {available / 1e9:.1f} GB are available. Draw fewer at a time, each time "
            "with another key."
        )
