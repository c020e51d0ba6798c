"""Densities and responsibilities of rows that are fully observed."""

from __future__ import annotations

import jax
import numpy.typing as npt

from .inputs import check_mixture_and_array, over_rows, row_log_joint, row_log_prob
from .mixture import Mixture


@jax.jit
def _log_joint(mixture: Mixture, x: jax.Array) -> jax.Array:
    return over_rows(row_log_joint, mixture, x)


@jax.jit
def _log_prob(mixture: Mixture, x: jax.Array) -> jax.Array:
    return over_rows(row_log_prob, mixture, x)


@jax.jit
def _responsibilities(mixture: Mixture, x: jax.Array) -> jax.Array:
    return jax.nn.softmax(_log_joint(mixture, x), axis=1)


def log_joint(mixture: Mixture, x: npt.ArrayLike) -> jax.Array:
    """Return log π_k + log N(x_n; μ_k, Σ_k) (n, k) for fully observed rows x (n, d).

    `jaxgmm.log_joint` accepts other rows as well, see `objective/densities.py`.
    """
    return _log_joint(*check_mixture_and_array(mixture, x)[:2])


def log_prob(mixture: Mixture, x: npt.ArrayLike) -> jax.Array:
    """Return log p(x_n) (n,) for fully observed rows x (n, d).

    `jaxgmm.log_prob` accepts other rows as well, see `objective/densities.py`.
    """
    return _log_prob(*check_mixture_and_array(mixture, x)[:2])


def responsibilities(mixture: Mixture, x: npt.ArrayLike) -> jax.Array:
    """Return r_nk = p(component k | x_n) (n, k) for fully observed rows x (n, d).

    `jaxgmm.responsibilities` accepts other rows as well, see `objective/densities.py`.
    """
    return _responsibilities(*check_mixture_and_array(mixture, x)[:2])
