"""`posterior` and `impute`: complete rows, given what was seen of them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Columns
from ..data.observed import Observed
from ..internal import checks
from ..internal.pytrees import pytree
from ..kernels.conditional_moments import complete_row
from ..kernels.row_values import log_joint_of_rows
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..objective.densities import check_mixture_and_observed

ROWS_PER_STEP = 256


@pytree
@dataclasses.dataclass(frozen=True)
class Posterior:
    """What is known of the complete rows, given what was seen: a mixture for each row.

    Attributes:
      mixture: the mixture (the prior of each row).
      x: (n, width) the packed rows.
      responsibilities: (n, k) p(component | what was seen).
      means: (n, k, d) mean of the complete row for each component.
      columns: what the columns of x hold.
    """

    mixture: Mixture
    x: jax.Array
    responsibilities: jax.Array
    means: jax.Array
    columns: Columns = dataclasses.field(metadata={"static": True})

    @property
    def covariances(self) -> jax.Array:
        """Covariances (n, k, d, d) of the complete rows for each component, when asked for."""
        return _completed(self.mixture, self.x, self.columns)[1]

    @property
    def mean(self) -> jax.Array:
        """Means (n, d) of the complete rows: denoised and filled."""
        return jnp.sum(self.responsibilities[..., None] * self.means, axis=1)

    @property
    def covariance(self) -> jax.Array:
        """Covariances (n, d, d) of the complete rows."""
        difference = self.means - self.mean[:, None]
        outer = difference[..., :, None] * difference[..., None, :]
        share = self.responsibilities[..., None, None]
        return jnp.sum(share * (self.covariances + outer), axis=1)


@functools.partial(jax.jit, static_argnums=2)
def _completed(mixture: Mixture, x: jax.Array, columns: Columns) -> tuple[jax.Array, jax.Array]:
    def of_row(row: jax.Array) -> tuple[jax.Array, jax.Array]:
        block = columns.of_each_row.split(row[:, None])
        noise = None if block.noise is None else block.noise[:, 0]
        return complete_row(mixture, block.x[:, 0], noise)

    return jax.lax.map(of_row, x, batch_size=min(ROWS_PER_STEP, len(x)))


@functools.partial(jax.jit, static_argnums=2)
def _means(mixture: Mixture, x: jax.Array, columns: Columns) -> tuple[jax.Array, jax.Array]:
    shares = jax.nn.softmax(log_joint_of_rows(mixture, x, columns), axis=1)
    return shares, _completed(mixture, x, columns)[0]


def posterior(mixture: Mixture, x: Any) -> Posterior:
    """Return what is known of each complete row, given what was seen of it.

    Args:
      mixture: the mixture.
      x: `Observed` rows over an array, with gaps, noise or labels; or complete rows (n, d).

    Returns:
      A `Posterior`: for each row the responsibilities, and means and covariances of the complete
      row for each component. The covariances are computed when they are asked for.

    Raises:
      ValueError: if x or the mixture is not valid, as in `log_prob`.

    >>> m = jaxgmm.Mixture.from_parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
    >>> found = jaxgmm.posterior(m, jaxgmm.Observed([[2.0, np.nan]]))
    >>> np.asarray(found.mean).round(2), np.asarray(found.covariance).round(2)
    (array([[2., 1.]], dtype=float32), array([[[0.  , 0.  ],
            [0.  , 0.75]]], dtype=float32))
    """
    observed = x if isinstance(x, Observed) else Observed(x)
    mixture, rows, columns = check_mixture_and_observed(mixture, observed)
    shares, means = _means(mixture, rows, columns)
    return Posterior(mixture, rows, shares, means, columns)


def impute(
    mixture: Mixture, x: Any, *, key: jax.Array | None = None, draws: int | None = None
) -> jax.Array:
    """Return rows whose missing values are replaced by their means, or by random draws.

    Values with noise are replaced as well. Exact values come back as they are, bit for bit.

    Args:
      mixture: the mixture.
      x: `Observed` rows over an array.
      key: a JAX random key, for draws from the posterior of each row (multiple imputation).
      draws: the number of draws; 1 by default.

    Returns:
      (n, d) conditional means, or (draws, n, d) random draws if there is a key.

    Raises:
      ValueError: if x or the mixture is not valid, or if there are draws without a key.

    Reference: Rubin 1987, Multiple Imputation for Nonresponse in Surveys, on the use of draws.

    >>> m = jaxgmm.Mixture.from_parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
    >>> np.asarray(jaxgmm.impute(m, jaxgmm.Observed([[2.0, np.nan]])))
    array([[2., 1.]], dtype=float32)
    >>> jaxgmm.impute(m, jaxgmm.Observed([[2.0, np.nan]]), key=jax.random.key(0), draws=5).shape
    (5, 1, 2)
    """
    if key is None and draws is not None:
        raise ValueError("draws need a random key: pass e.g. key=jax.random.key(0).")
    count = 1 if draws is None else checks.whole(draws, "draws", 1)
    found = posterior(mixture, x)
    if key is None:
        return _keep_exact(found, found.mean)
    checks.random_key(key)
    return _draw(key, found, count)


def _keep_exact(found: Posterior, values: jax.Array) -> jax.Array:
    """Return rows (n, d) with the values that are known exactly as they are in the data."""
    block = found.columns.of_each_row.split(found.x.T)
    exact, d = ~jnp.isnan(block.x), found.columns.features
    if block.noise is not None:
        place = [i if len(block.noise) == d else i * (i + 1) // 2 + i for i in range(d)]
        exact = exact & (block.noise[jnp.asarray(place)] == 0)
    return jnp.where(exact.T, block.x.T, values)


@functools.partial(jax.jit, static_argnums=2)
def _draw(key: jax.Array, found: Posterior, count: int) -> jax.Array:
    covariances = found.covariances
    scale = jnp.sqrt(jnp.diagonal(covariances, axis1=-2, axis2=-1))
    safe = jnp.where(scale > 0, scale, 1)
    d = scale.shape[-1]
    unit = jnp.eye(d, dtype=scale.dtype)[None, None]
    correlation = covariances / (safe[..., :, None] * safe[..., None, :])
    # Exact values, and directions without variance, need a diagonal.
    bare = (scale == 0).astype(scale.dtype)[..., None] * unit
    correlation = correlation + bare + 8 * d * jnp.finfo(scale.dtype).eps * unit
    root = lapack.cholesky(correlation.reshape(-1, d, d)).reshape(correlation.shape)
    root = root * scale[..., :, None]

    def one(key: jax.Array) -> jax.Array:
        component_key, noise_key = jax.random.split(key)
        component = jax.random.categorical(component_key, jnp.log(found.responsibilities), axis=1)
        choose = lambda array: array[jnp.arange(len(component)), component]
        noise = jax.random.normal(noise_key, (len(component), d), scale.dtype)
        drawn = choose(found.means) + jnp.sum(choose(root) * noise[:, None, :], axis=-1)
        return _keep_exact(found, drawn)

    return jax.vmap(one)(jax.random.split(key, count))
