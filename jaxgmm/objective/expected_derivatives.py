"""Derivatives of Q + log prior with respect to the relative coordinates of a mixture.

Without constraints, Q is a sum of a function of the weights and of one function of each component's
mean and covariance. Its derivatives along the same parameter of every component then have no
entries in common, and one derivative along all of these parameters at once contains them all.

Source: Curtis, Powell & Reid 1974, J. Inst. Maths Applics 13.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..families.full import Full
from ..families.has_whitening_factor import HasWhiteningFactor
from ..kernels.row_statistics import coefficients
from ..mixture.mixture import Mixture
from ..mixture.relative_coordinates import Relative
from ..numerics.eigenvalues import columns_of
from ..numerics.products import matmul
from .log_likelihood import expected
from .prior import Prior, log_prior
from .statistics import Statistics

RELATIVE = Relative()
COLUMNS = 64  # without rows, derivatives along so many directions at a time take little memory
WEIGHTS = -1  # the owner of logits, on each of which all weights depend


def offsets_of(mixture: Mixture) -> tuple[jax.Array, Callable[[jax.Array], Mixture]]:
    """Return the zero offsets (p,), and the map from offsets to mixtures."""
    zero, unravel = ravel_pytree(RELATIVE.zero(mixture))

    def mixture_at(offsets: jax.Array) -> Mixture:
        return RELATIVE.place(mixture, RELATIVE.local(mixture, unravel(offsets)))

    return zero, mixture_at


def with_all_moments(mixture: Mixture) -> Mixture:
    """Return the mixture with a layout that keeps all second moments of the residuals.

    That of a low-rank family does not keep those that EM does not need. The result then has full
    covariances; otherwise it is the mixture itself.
    """
    if mixture.frame.keeps_all_moments:
        return mixture
    return dataclasses.replace(mixture, covariance=Full.from_own(mixture.frame.dense, jnp))


def derivatives_of_expected(
    mixture: Mixture, explicit: Mixture, sums: Statistics, prior: Prior | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return derivatives of Q + log prior by offsets, with fixed statistics.

    They are the gradient (p,), the matrix G (p, s) of derivatives of Q's coefficients of the
    statistics, and the second derivatives (p, p). The statistics are those of `explicit`, which is
    the mixture or the result of `with_all_moments`.
    """
    zero, mixture_at = offsets_of(mixture)
    convert = (lambda moved: moved) if explicit is mixture else with_all_moments

    def q(offsets: jax.Array, sums: Statistics) -> jax.Array:
        return expected(convert(mixture_at(offsets)), explicit, sums)

    def objective(offsets: jax.Array) -> jax.Array:
        return q(offsets, sums) + log_prior(mixture_at(offsets), prior)

    def slopes_at(offsets: jax.Array) -> tuple[jax.Array, jax.Array]:
        by_sums = jax.grad(q, argnums=1)(offsets, sums)
        parts = by_sums.mass, by_sums.shift, coefficients(by_sums.spread)
        return ravel_pytree(parts)[0], jax.grad(objective)(offsets)

    along = lambda direction: jax.jvp(slopes_at, (zero,), (direction,))[1]
    gradient = jax.grad(objective)(zero)
    if not _separate(mixture, explicit):
        slopes, curvature = columns_of(along, jnp.eye(len(zero), dtype=zero.dtype), COLUMNS)
        return gradient, slopes, curvature
    owners, of_sums = _owners(RELATIVE.zero(mixture)), _owners_of_sums(mixture)
    owners[: mixture.n_components] = WEIGHTS
    group, members = _groups(owners)
    slopes, curvature = columns_of(along, jnp.asarray(members, zero.dtype), COLUMNS)
    pick = lambda found, others: jnp.where(_meet(owners, others), found[group], 0)
    return gradient, pick(slopes, of_sums), pick(curvature, owners)


def products_of_scores(
    mixture: Mixture, explicit: Mixture, slopes: jax.Array, products: jax.Array
) -> jax.Array:
    """Return G A Gᵀ (p, p) for the matrix G of `derivatives_of_expected`, and a symmetric A (s, s).

    Where Q is a sum over components, most of G is 0, and products with the rest take a quarter of
    the time.
    """
    k = mixture.n_components
    if not _separate(mixture, explicit):
        return matmul(matmul(slopes, products), slopes.T)
    by_component = lambda owners: np.argsort(owners, kind="stable").reshape(k, -1)
    own = by_component(_owners(RELATIVE.zero(mixture)))
    of_sums = by_component(_owners_of_sums(mixture))
    blocks = slopes[own[:, :, None], of_sums[:, None]]
    without_weights = np.argsort(own, axis=None)[k:]

    def times(matrix: jax.Array) -> jax.Array:
        """Return G A for A (s, c)."""
        inside = matmul(blocks, matrix[of_sums]).reshape(-1, matrix.shape[1])
        return jnp.concatenate([matmul(slopes[:k], matrix), inside[without_weights]])

    return times(times(products).T)


def _separate(mixture: Mixture, explicit: Mixture) -> bool:
    """Return whether every component has parameters of its own, except for the weights."""
    free = isinstance(mixture.covariance, HasWhiteningFactor) and not mixture.frame.shared
    return free and explicit is mixture


def _owners_of_sums(mixture: Mixture) -> np.ndarray:
    """Return the component of each statistic of a row."""
    zero = jax.eval_shape(Statistics.zero, mixture)
    return _owners((zero.mass, zero.shift, jax.eval_shape(coefficients, zero.spread)))


def _owners(tree: Any) -> np.ndarray:
    """Return the component of each number in a pytree whose leaves have an axis of components."""
    of_leaf = lambda leaf: np.repeat(np.arange(len(leaf)), leaf.size // len(leaf))
    return np.concatenate([of_leaf(leaf) for leaf in jax.tree.leaves(tree)])


def _groups(owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the group (p,) of each parameter, and the members (groups, p) of each as 0 and 1.

    A group contains one parameter of each component, or a single logit.
    """
    group = np.zeros(len(owners), np.int32)
    for owner in np.unique(owners):
        own = owners == owner
        group[own] = np.arange(own.sum()) + (owner != WEIGHTS) * (owners == WEIGHTS).sum()
    return group, group[None] == np.arange(group.max() + 1)[:, None]


def _meet(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return whether numbers of these owners may depend on each other, as (p, s)."""
    return (first[:, None] == WEIGHTS) | (first[:, None] == second[None])
