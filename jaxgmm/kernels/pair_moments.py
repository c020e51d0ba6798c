"""The products of the statistics of single rows, from fourth moments of the rows.

The statistics h of a row that belongs to component k are polynomials of degree 2 in the row. With
the responsibilities r, the part of the information that is missing is a sum over pairs,

    Σ_k r_k h_k h_kᵀ − t tᵀ = Σ_{k<l} r_k r_l (h_k − h_l) (h_k − h_l)ᵀ    where t = Σ_k r_k h_k

so it is linear in the moments Σ_n w r_k r_l φ(x_n) of the monomials φ up to degree 4, which all
pairs share. For k components and d features, they are k²/2 · d⁴/24 numbers for a row, while the
products of all statistics are (k d²/2)² numbers. The sums over a block are computed in float64,
moved to the components' own units, and rounded after that. For float32 rows near the mixture's
mean, the sums over a few hundred rows are computed in float32, and added in float64: rounding
errors have random signs, so most of them cancel.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.rows import Rows
from ..mixture.mixture import Mixture
from ..numerics.float64 import float64_is_fast, in_float64
from ..numerics.products import matmul
from .block_size import block_rows
from .natural_low_rank import natural_kernel
from .protocol import Kernel
from .responsibilities import weighted_responsibilities
from .row_statistics import Products, RowStatistics, keeps_matrices
from .whitened import Whitened

# The rows whose moments are moved to the components' units at a time, which takes about as long as
# the moments of a thousand rows, and of how many moments are summed at a time, at least.
ROWS_PER_MOVE, LEAST_ROWS = 1 << 15, 512
# Pairs are padded to a multiple of this. On a CPU, products with 28 columns take 1.6 times as long
# as products with 32.
TILE = 8
# The error of moments in each dtype for a growth of 1, see `_growth`. The one of float32 is the
# largest that was measured for at least 5000 rows.
ERROR = {"float32": 3e-8, "float64": 2 * float(np.finfo(np.float64).eps)}
# By the dtype of the rows, the dtypes of products from the fastest one to the most accurate one,
# and the largest error with which each is used.
SAFE_ERRORS = {
    "float32": {"float32": 1.5e-5, "float64": 1e-6},
    "float64": {"float64": 1e-10},
}
# Pairs and monomials take memory for each row. There are at most so many of them for a statistic.
MOST_PER_STATISTIC = 32


class PairMoments(RowStatistics):
    """The whitened kernel, with products of the statistics of rows by fourth moments.

    `dtype` is that of the products that are summed, see `dtype_of_products`.
    """

    def __init__(self, mixture: Mixture, dtype: str = "float64"):
        super().__init__(mixture, 1)
        self.dtype = dtype

    @property
    def block_rows(self) -> int:
        """The number of rows in a block, which is divided into smaller ones."""
        return ROWS_PER_MOVE

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that are stored for each row of a smaller block."""
        k, d = self.mixture.means.shape
        return n_pairs(k) + n_monomials(d) + super().numbers_per_row

    @property
    def numbers_in_sums(self) -> int:
        """The count of numbers in the moments."""
        k, d = self.mixture.means.shape
        return n_pairs(k) * n_monomials(d)

    def sums_of_products(self, x: jax.Array, weight: jax.Array, outer: bool) -> Products:
        """Return the products of a block."""
        exact = functools.partial(_by_moments, outer=outer, dtype=self.dtype)
        if x.dtype == jnp.float64:
            return exact(self.mixture, x, weight)
        rounded = functools.partial(_by_statistics, outer=outer)
        return in_float64(exact, rounded, self.mixture, x, weight)

    def products(self, sums: Any) -> Products:
        """Return the sums, which are the products."""
        return sums


def n_pairs(k: int) -> int:
    """Return the number of pairs of k components."""
    return math.comb(k, 2)


def n_monomials(d: int) -> int:
    """Return the number of monomials of d features up to degree 4."""
    return math.comb(d + 4, 4)


def dtype_of_products(mixture: Mixture) -> str | None:
    """Return the dtype in which products suit a mixture that is not traced, and are accurate.

    It is the fastest such dtype, or None if there is none.
    """
    growth = float(_growth(mixture))
    for dtype, safe in SAFE_ERRORS[str(mixture.dtype)].items():
        if ERROR[dtype] * growth <= safe:
            return dtype
    return None


def error_of_products(mixture: Mixture, dtype: str) -> jax.Array:
    """Return the error () of products in a dtype, per unit of weight."""
    return ERROR[dtype] * _growth(mixture)


@jax.jit  # once for each kind of mixture, also for what shapes alone tell
def _growth(mixture: Mixture) -> jax.Array:
    """Return how much moments grow by being about the mixture's mean, or ∞ where they do not suit.

    Their errors are those of the moments about the mixture's mean, relative to the moments about
    the mean of each component, in its own units. The growth () of fourth moments is the square of
    that of second moments, of which `natural.rounding` is made.
    """
    if not _suit(mixture):
        return jnp.array(jnp.inf)
    weights = jnp.where(mixture.present, mixture.weights, 0)[:, None]
    center = jnp.sum(weights * mixture.means, axis=0)
    growth = mixture.frame.amplification(mixture.means - center[None])
    return jnp.max(jnp.where(mixture.present, growth, 0)) ** 2


def _suit(mixture: Mixture) -> bool:
    """Return whether fourth moments are fewer than products of statistics, and in float64."""
    k, d = mixture.means.shape
    if k == 1 or not keeps_matrices(mixture.frame, mixture.means):
        return False
    if n_pairs(k) + n_monomials(d) > MOST_PER_STATISTIC * RowStatistics(mixture, 1).size:
        return False
    return mixture.dtype == jnp.float64 or float64_is_fast()


def _by_statistics(mixture: Mixture, x: jax.Array, weight: jax.Array, outer: bool) -> Products:
    kernel = RowStatistics(mixture, 1)
    found = kernel.products(kernel.sums_of_products(x, weight, outer))
    return found if outer else found._replace(outer=None)


def _by_moments(
    mixture: Mixture, x: jax.Array, weight: jax.Array, outer: bool, dtype: str
) -> Products:
    k = mixture.n_components
    first, second = np.triu_indices(k, 1)
    cast = lambda tree, dtype: jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
    narrow = cast(mixture, dtype)
    # The natural kernel in float64 is accurate where moments in float64 are.
    kernel: Kernel = natural_kernel(narrow) if dtype == "float64" else Whitened(narrow)
    size = max(block_rows(PairMoments(narrow, dtype)), LEAST_ROWS)

    def of_block(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        x, weight = cast((x, weight), dtype)
        ones = jnp.ones_like(x[:1])
        responsibilities, log_prob = weighted_responsibilities(kernel.log_joint(x)[0], ones[0])
        weighted = weight[None] * responsibilities
        augmented = jnp.concatenate([x, ones])
        pairs = weighted[first] * responsibilities[second]
        counts = jnp.concatenate([pairs, weighted]) if outer else pairs
        counts = jnp.pad(counts, ((0, -len(counts) % TILE), (0, 0)))
        fourth = matmul(_values(augmented, 4), counts.T)
        squares = matmul(_values(augmented, 2), weighted.T)
        return cast((fourth, squares, matmul(weight, log_prob)), mixture.dtype)

    rows = Rows.of(x.T, weight)
    fourth, squares, log_likelihood = rows.total(of_block, size)
    moves = _moves(mixture)
    parts = matmul(moves, squares.T[..., None])[..., 0]
    pairs, own = fourth.T[: len(first)], fourth.T[len(first) : len(first) + k]
    missing = _of_pairs(mixture, moves, pairs)
    if not outer:
        return Products(parts, missing, None, log_likelihood)
    alone = _moved(moves, own, moves)
    whole = _join(mixture, jnp.where(np.eye(k, dtype=bool)[..., None, None], alone[None], 0))
    return Products(parts, missing, whole - missing, log_likelihood)


def _of_pairs(mixture: Mixture, moves: jax.Array, moments: jax.Array) -> jax.Array:
    """Return the missing products (s, s) from the moments (pairs, f) of all pairs."""
    k = len(moves)
    first, second = np.triu_indices(k, 1)
    members = np.zeros((k, len(first)), moments.dtype)
    members[first, np.arange(len(first))] = members[second, np.arange(len(first))] = 1
    alone = _moved(moves, matmul(jnp.asarray(members), moments), moves)
    between = -_moved(moves[first], moments, moves[second])
    blocks = jnp.concatenate([alone, between, jnp.swapaxes(between, 1, 2)])
    place = np.zeros((k, k), np.int32)
    place[np.arange(k), np.arange(k)] = np.arange(k)
    place[first, second] = k + np.arange(len(first))
    place[second, first] = k + len(first) + np.arange(len(first))
    return _join(mixture, blocks[place])


def _moved(first: jax.Array, moments: jax.Array, second: jax.Array) -> jax.Array:
    """Return products (c, q, q) of statistics from moments (c, f) and two stacks of `_moves`."""
    d = _features_of(first.shape[-1])
    return matmul(matmul(first, moments[:, _fourth(d)]), jnp.swapaxes(second, 1, 2))


def _join(mixture: Mixture, blocks: jax.Array) -> jax.Array:
    """Return products (s, s) of statistics in the order of a row, from those (k, k, q, q) of pairs.

    Entries of covariances that components share are added.
    """
    k, d = mixture.means.shape

    def join(values: jax.Array) -> jax.Array:
        """Return (s, …) from (k, q, …)."""
        rest = values.shape[2:]
        pooled = mixture.frame.pool(values[:, 1 + d :])
        means = values[:, 1 : 1 + d].reshape(k * d, *rest)
        return jnp.concatenate([values[:, 0], means, pooled.reshape(-1, *rest)])

    rows = join(jnp.moveaxis(blocks, 2, 1))  # (s, k, q)
    return join(jnp.moveaxis(rows, 0, 2)).T


def _moves(mixture: Mixture) -> jax.Array:
    """Return the linear maps (k, q, f) from monomials up to degree 2 to each part's statistics."""
    k, d = mixture.means.shape
    frame, unit = mixture.frame, jnp.eye(d, dtype=mixture.dtype)
    columns = jax.vmap(lambda axis: frame.whiten(jnp.broadcast_to(axis, (k, d))))(unit)
    factors, origins = jnp.moveaxis(columns, 0, 2), -frame.whiten(mixture.means)
    # From a row and a 1 to its residual and a 1.
    augmented = jnp.pad(jnp.concatenate([factors, origins[..., None]], 2), ((0, 0), (0, 1), (0, 0)))
    augmented = augmented.at[:, d, d].set(1)
    i, j = np.tril_indices(d)
    one = np.full(1, d)
    i, j = np.concatenate([one, np.arange(d), i]), np.concatenate([one, np.full(d, d), j])
    a, b = np.array(_monomials(d, 2)).T
    straight = augmented[:, i[:, None], a[None]] * augmented[:, j[:, None], b[None]]
    crossed = augmented[:, i[:, None], b[None]] * augmented[:, j[:, None], a[None]]
    return straight + jnp.where((a == b)[None, None], 0, crossed)


def _values(augmented: jax.Array, degree: int) -> jax.Array:
    """Return the values (f, b) of all monomials of a degree, for features and a 1 (d + 1, b).

    No part of a product is shared with another one: to read it again would take longer.
    """
    factors = np.array(_monomials(len(augmented) - 1, degree), np.int32).T
    return functools.reduce(jnp.multiply, [augmented[factor] for factor in factors])


@functools.cache
def _monomials(d: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """Return all monomials of a degree in d features and a 1, as ascending positions."""
    return tuple(itertools.combinations_with_replacement(range(d + 1), degree))


@functools.cache
def _fourth(d: int) -> np.ndarray:
    """Return (f, f) the monomial of degree 4 that is the product of each two of degree 2."""
    place = {monomial: i for i, monomial in enumerate(_monomials(d, 4))}
    squares = _monomials(d, 2)
    return np.array([[place[tuple(sorted(a + b))] for b in squares] for a in squares], np.int32)


def _features_of(n_squares: int) -> int:
    """Return d for which there are so many monomials of degree 2."""
    return round((8 * n_squares + 1) ** 0.5 - 3) // 2
