"""Densities and responsibilities of rows, which need not be fully observed."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Columns
from ..data.observed import Observed, pack
from ..data.row_checks import same_features
from ..internal import checks
from ..kernels.row_values import log_joint_of_rows, log_prob_of_rows
from ..mixture import complete_rows
from ..mixture.mixture import Mixture


def check_mixture_and_observed(mixture: Mixture, x: Observed) -> tuple[Mixture, jax.Array, Columns]:
    """Return a mixture, packed rows in the order given, and what their columns hold."""
    checks.one_mixture(mixture)
    packed = pack(x, mixture.dtype, whole=False)
    same_features(mixture.n_features, packed.columns.features)
    packed.columns.check_components(mixture.n_components)
    dtype = jnp.promote_types(packed.dtype, mixture.dtype)
    rows = jnp.asarray(packed.x).astype(dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture), rows, packed.columns


@functools.partial(jax.jit, static_argnums=2)
def _log_joint(mixture: Mixture, x: jax.Array, columns: Columns) -> jax.Array:
    return log_joint_of_rows(mixture, x, columns)


@functools.partial(jax.jit, static_argnums=2)
def _log_prob(mixture: Mixture, x: jax.Array, columns: Columns) -> jax.Array:
    return log_prob_of_rows(mixture, x, columns)


@functools.partial(jax.jit, static_argnums=2)
def _responsibilities(mixture: Mixture, x: jax.Array, columns: Columns) -> jax.Array:
    return jax.nn.softmax(log_joint_of_rows(mixture, x, columns), axis=1)


def log_joint(mixture: Mixture, x: Any) -> jax.Array:
    """Return log π_k + log N(x_n; μ_k, Σ_k) for each row and component.

    See Bishop (2006), Pattern Recognition and Machine Learning, eq. 9.7.

    Args:
      mixture: the mixture.
      x: (n, d) finite rows, in the units of the mixture's means, or `Observed` rows, of which the
        density is that of what was seen, and labels and log-odds are added.

    Returns:
      The log-joint (n, k) in nats, in the wider dtype of mixture and x. It is −inf for absent
      components.

    Raises:
      ValueError: if x is not (n, d) finite rows with the mixture's features, or a parameter of the
        mixture is not finite. Under jit and vmap values are not checked.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.log_joint(m, [[0.0], [2.0]])).round(2)
    array([[-1.61, -9.61],
           [-3.61, -3.61]], dtype=float32)
    """
    if isinstance(x, Observed):
        return _log_joint(*check_mixture_and_observed(mixture, x))
    return complete_rows.log_joint(mixture, x)


def log_prob(mixture: Mixture, x: Any) -> jax.Array:
    """Return log p(x_n) = log Σ_k π_k N(x_n; μ_k, Σ_k) for each row.

    See Bishop (2006), Pattern Recognition and Machine Learning, eq. 9.7.

    Args:
      mixture: the mixture.
      x: (n, d) finite rows, in the units of the mixture's means, or `Observed` rows, whose density
        is that of what was seen. Densities of rows with different gaps cannot be compared, because
        they have different units.

    Returns:
      The log-densities (n,) in nats, in the wider dtype of mixture and x.

    Raises:
      ValueError: under the conditions of `log_joint`.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.log_prob(m, [[0.0], [2.0]])).round(2)
    array([-1.61, -2.92], dtype=float32)
    """
    if isinstance(x, Observed):
        return _log_prob(*check_mixture_and_observed(mixture, x))
    return complete_rows.log_prob(mixture, x)


def responsibilities(mixture: Mixture, x: Any) -> jax.Array:
    """Return the responsibilities r_nk = p(component k | x_n).

    See Bishop (2006), Pattern Recognition and Machine Learning, eq. 9.23.

    Args:
      mixture: the mixture.
      x: (n, d) finite rows, in the units of the mixture's means, or `Observed` rows.

    Returns:
      The responsibilities (n, k), in the wider dtype of mixture and x. They sum to 1 for each row,
      even for a row far from every component.

    Raises:
      ValueError: under the conditions of `log_joint`.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.responsibilities(m, [[0.0], [2.0]])).round(3)
    array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """
    if isinstance(x, Observed):
        return _responsibilities(*check_mixture_and_observed(mixture, x))
    return complete_rows.responsibilities(mixture, x)
