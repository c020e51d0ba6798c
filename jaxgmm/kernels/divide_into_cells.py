"""How rows are divided among cells of near ones, and whether that may pay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.rows import Rows
from ..internal.compiling import jit_once
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.counting_sort import positions_by_group
from ..numerics.products import matmul
from ..numerics.short_axis_sums import fold, reduce_by_library
from .block_size import block_rows
from .natural_low_rank import natural_kernel
from .protocol import Kernel
from .rounding_bounds import natural_is_safe, rounding_of_each, safe_rounding
from .whitened import Whitened

# n k d, below which local centers, or leaving components out, save less time than their compilation
# takes. Where the double kernel can take the place of the natural one, they save less.
LEAST_RESIDUALS, LEAST_IF_MANY, TIMES_IF_DOUBLE_PAYS = 1 << 24, 1 << 23, 4
# Local centers need so many rows for each component. With more features, residuals that are matrix
# products take no more time than the products of features.
LOCAL_ROWS, LOCAL_FEATURES = 2048, 32
# Leaving components out needs so many components, rows for each, and k d, below which a pass takes
# less time than looking for components to leave out. TIMES_IF_DOUBLE_PAYS holds for k d too.
FEWEST_COMPONENTS, FEWEST_ROWS, LEAST_IN_ROW = 16, 64, 1 << 10
# The fewest and most rows in a cell. Where components are left out, it has about as many rows as a
# component; with local centers, a component has at least four cells where it has many rows.
CELL, LOCAL_CELL = (128, 1024), (1024, 4096)
# Projections on more axes tell more components apart, and cost their number squared.
AXES_PER_BIT, MOST_FEATURES = 2, 32
# The rows of a component are divided by the sides of its mean on which they lie, along this many
# axes. Where it covers several clusters, most of these are on different sides.
SIDES = 3
# From this number of components on, XLA's own search for the likeliest one takes two to four times
# as long as one by `fold`, and for fewer half as long.
FOLDED = 32


def leaves_out(mixture: Mixture) -> bool:
    """Return whether a pass over cells leaves out components, and not takes local centers."""
    (k, d), frame = mixture.means.shape, mixture.frame
    own = not frame.shared and not mixture.covariance.shares_leaves(k)
    least = LEAST_IN_ROW * (TIMES_IF_DOUBLE_PAYS if frame.double_pays else 1)
    return own and k >= FEWEST_COMPONENTS and k * d >= least


def may_divide(mixture: Mixture, n: int, together: int) -> bool:
    """Return whether passes over n complete rows in cells may pay, from this start.

    `together` is the number of rows that are divided together, of a chunk if not all.
    """
    (k, d), many, frame = mixture.means.shape, leaves_out(mixture), mixture.frame
    enough = together >= k * (FEWEST_ROWS if many else LOCAL_ROWS)
    least = LEAST_IF_MANY if many else LEAST_RESIDUALS
    least *= TIMES_IF_DOUBLE_PAYS if frame.double_pays else 1
    slow = frame.whitens_by_products and d > LOCAL_FEATURES and not many
    if not enough or slow or n * k * d < least or jax.default_backend() != "cpu":
        return False
    of_start = jit_once(_accurate, mixture.means.size * d)(None, mixture)
    at_mean, share = (float(value) for value in of_start)
    # Where the natural kernel is accurate at the start, it usually remains so, and the program of a
    # pass over cells would be compiled for nothing.
    return not at_mean and (many or share > 1 / 2)


def _accurate(_: None, mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return whether the natural kernel is accurate about the mixture's mean.

    The second result is the weight of the components for which it is so about their own mean. For
    nearly dependent features it never is.
    """
    weights = jnp.where(mixture.present, mixture.weights, 0)
    about_mean = mixture.translate(-matmul(weights[None], mixture.means)[0])
    about_own = dataclasses.replace(mixture, means=jnp.zeros_like(mixture.means))
    accurate = rounding_of_each(about_own) <= safe_rounding(mixture)
    return natural_is_safe(about_mean), jnp.sum(jnp.where(accurate, weights, 0))


def divide(rows: Rows, mixture: Mixture) -> Rows:
    """Return the rows in cells, of which each chunk of a stream has its own."""
    axes = _axes(rows, mixture)
    return rows.in_cells(lambda chunk: _positions(chunk, mixture, axes[:SIDES]), axes)


def _positions(rows: Rows, mixture: Mixture, sides: jax.Array) -> jax.Array:
    """Return the positions (c, r) of the rows in each cell, which are n for padding.

    Rows of one likeliest component are next to one another. Components are in the order of their
    means on the axis along which rows vary the most.
    """
    n, k = len(rows.x), mixture.n_components
    groups, parts = _groups(rows, mixture, sides), 1 << len(sides)
    counts = jnp.zeros(k * parts, jnp.int32).at[groups].add(1)
    if leaves_out(mixture):
        size = min(max(1 << (n // k).bit_length(), CELL[0]), CELL[1])
        count, starts = -(-n // size), jnp.cumsum(counts) - counts
    else:  # each component begins with a cell of its own
        size = min(max(1 << (n // (4 * k)).bit_length() - 1, LOCAL_CELL[0]), LOCAL_CELL[1])
        count, by_component = -(-n // size) + k, counts.reshape(k, parts)
        of_each = -(-jnp.sum(by_component, axis=1) // size)
        first = size * (jnp.cumsum(of_each) - of_each)
        starts = (first[:, None] + jnp.cumsum(by_component, axis=1) - by_component).ravel()
    return positions_by_group(groups, starts, count * size).reshape(count, size)


def _axes(rows: Rows, mixture: Mixture) -> jax.Array:
    """Return axes (m, d) along which the components lie apart.

    These are the principal axes of the standardized rows; or, where features are uncorrelated, the
    features in which the means vary the most in units of the components' widths. Local centers need
    few axes, and along random ones clusters are apart too.
    """
    d = mixture.n_features
    if not leaves_out(mixture):
        scale = jnp.sqrt(jnp.mean(mixture.means**2, axis=0))
        drawn = np.random.default_rng(0).normal(size=(SIDES, d)).astype(scale.dtype)
        return jnp.asarray(drawn) / jnp.where(scale > 0, scale, 1)[None]
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


def _groups(rows: Rows, mixture: Mixture, axes: jax.Array) -> jax.Array:
    """Return the group (n,) of each row: its likeliest component, and its side along axes (m, d).

    The natural kernel is accurate enough for an order. With many features, residuals that are
    matrix products are less work than the products of features.
    """
    n, m = len(rows.x), len(axes)
    by_products = mixture.frame.whitens_by_products and mixture.n_features > LOCAL_FEATURES
    kernel: Kernel = (Whitened if by_products else natural_kernel)(mixture)
    size = min(block_rows(kernel), n)
    along = matmul(axes, mixture.means.T)
    ranks = jnp.sum(along[0][:, None] > along[0][None], axis=1, dtype=jnp.int32)[:, None]
    powers = np.int32(1) << np.arange(m, dtype=np.int32)[:, None]
    reduce: Callable[..., jax.Array] = reduce_by_library
    if mixture.n_components >= FOLDED:
        reduce = fold

    def step(found: jax.Array, i: jax.Array) -> tuple[jax.Array, Any]:
        start = jnp.minimum(i * size, n - size)
        x = (jax.lax.dynamic_slice_in_dim(rows.x, start, size) - rows.center[None]).T
        joint = kernel.log_joint(x)[0]
        # XLA vectorizes a maximum, a minimum and a product, but neither argmax nor a gather.
        likeliest = joint >= reduce(jnp.maximum, joint, axis=0)
        rank = reduce(jnp.minimum, jnp.where(likeliest, ranks, len(joint) - 1), axis=0)
        own_mean = matmul(along, (ranks == rank).astype(x.dtype))
        side = jnp.sum(jnp.where(matmul(axes, x) > own_mean, powers, 0), axis=0)
        return jax.lax.dynamic_update_slice_in_dim(found, (rank[0] << m) + side, start, 0), None

    none = jnp.zeros(n, jnp.int32)
    return jax.lax.scan(step, none, jnp.arange(-(-n // size)))[0]
