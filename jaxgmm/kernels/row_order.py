"""The order of the rows in which components can be left out of blocks, and whether it may pay."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.ordering import Ordering
from ..data.rows import Rows
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.products import matmul
from .natural import natural_is_safe
from .whitened import Whitened

FEWEST_COMPONENTS = 16
FEWEST_ROWS = 64  # for each component
# n k d, below which a pass takes less time than compilation; and k d, below which it takes less
# than looking for components to leave out.
LEAST_RESIDUALS, LEAST_IN_ROW = 1 << 24, 1 << 12
# Projections on more axes tell more components apart, and cost their number squared.
AXES_PER_BIT, MOST_FEATURES = 2, 32
BLOCK_ROWS = 256


def may_leave_out(mixture: Mixture, n: int) -> bool:
    """Return whether leaving components out of blocks of n complete rows may pay."""
    k, d = mixture.means.shape
    own = not mixture.frame.shared and not mixture.covariance.shares_leaves(k)
    many = k >= FEWEST_COMPONENTS and n >= FEWEST_ROWS * k
    large = many and n * k * d >= LEAST_RESIDUALS and k * d >= LEAST_IN_ROW
    # Where the natural kernel is accurate at the start, it usually remains so, and the program of a
    # pass that leaves components out would be compiled for nothing.
    return own and large and jax.default_backend() == "cpu" and not bool(_is_wide(mixture))


@jax.jit
def _is_wide(mixture: Mixture) -> jax.Array:
    """Return whether the natural kernel is accurate, with the origin at the mixture's mean."""
    weights = jnp.where(mixture.present, mixture.weights, 0)
    return natural_is_safe(mixture.translate(-matmul(weights[None], mixture.means)[0]))


def in_order_of(rows: Rows, mixture: Mixture) -> Rows:
    """Return the rows with an order: those of one likeliest component are next to one another.

    Components are in the order of their means on the axis along which rows vary the most.
    """
    axes = _axes(rows, mixture)
    along = matmul(mixture.means, axes[:1].T)[:, 0]
    rank = jnp.argsort(jnp.argsort(along)).astype(jnp.int32)
    positions = jnp.argsort(rank[_likeliest(rows, mixture)]).astype(jnp.int32)
    return dataclasses.replace(rows, ordering=Ordering(positions, axes))


def _axes(rows: Rows, mixture: Mixture) -> jax.Array:
    """Return axes (m, d) along which the components lie apart.

    These are the principal axes of the standardized rows; or, where features are uncorrelated, the
    features in which the means vary the most in units of the components' widths.
    """
    d = mixture.n_features
    if mixture.frame.uncorrelated:
        scales = mixture.frame.log_scales
        assert scales is not None
        apart = jnp.mean(mixture.means**2 * jnp.exp(-2 * scales), axis=0)
        return jnp.eye(d, dtype=apart.dtype)[jax.lax.top_k(apart, min(d, MOST_FEATURES))[1]]
    second, mass = rows.total(lambda x, w: (matmul(w[None] * x, x.T), jnp.sum(w)), 1 << 10)
    scale = jnp.sqrt(jnp.diagonal(second) / mass)
    scale = jnp.where(scale > 0, scale, 1)
    correlation = second / mass / scale[:, None] / scale[None]
    vectors = lapack.eigh(correlation[None])[1][0]
    count = AXES_PER_BIT * (mixture.n_components.bit_length() + 1)
    return vectors.T[::-1][:count] / scale[None]


def _likeliest(rows: Rows, mixture: Mixture) -> jax.Array:
    """Return the component (n,) of each row that has the largest log-joint."""
    kernel, n = Whitened(mixture), len(rows.x)
    size = min(BLOCK_ROWS, n)

    def step(found: jax.Array, i: jax.Array) -> tuple[jax.Array, Any]:
        start = jnp.minimum(i * size, n - size)
        x = jax.lax.dynamic_slice_in_dim(rows.x, start, size) - rows.center[None]
        component = jnp.argmax(kernel.log_joint(x.T)[0], axis=0).astype(jnp.int32)
        return jax.lax.dynamic_update_slice_in_dim(found, component, start, 0), None

    none = jnp.zeros(n, np.int32)
    return jax.lax.scan(step, none, jnp.arange(-(-n // size)))[0]
