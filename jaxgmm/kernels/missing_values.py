"""Missing values: the conditional kernel by projection, for rows that are otherwise exact."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..data.columns import Block
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .protocol import Moments

# Up to this many features, a sum over features is written out, which XLA's CPU code computes for
# several rows at once.
UNROLLED = 16


class Intermediate(NamedTuple):
    """The means m (k, d, b) of y, and an orthogonal basis of the free directions.

    Each of its vectors v (c, d, b) comes with |v|² (c, b).
    """

    mean: jax.Array
    basis: list[tuple[jax.Array, jax.Array]]


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return Σ_i a_i b_i over the second axis of (k, d, b), as (k, b)."""
    d = a.shape[1]
    if d > UNROLLED:
        return jnp.sum(a * b, axis=1)
    total = a[:, 0] * b[:, 0]
    for i in range(1, d):
        total = total + a[:, i] * b[:, i]
    return total


class Projected:
    """Dense covariances, and blocks with at most `bound` missing values in a row.

    Exact values leave y free along the columns of W that belong to missing features M. With an
    orthogonal basis v_1, v_2, … of these and the projection P = Σ v vᵀ/|v|², m = (I − P) W (x − μ),
    whatever x is at M, and C = P. The basis is made by the modified Gram–Schmidt process. It begins
    with the last feature: W is lower triangular in most families, and then no pivot is lost to
    cancellation. Where W is not, the process is repeated, because the first one leaves errors of
    the size of the condition number (Giraud, Langou & Rozložník 2005, Numer. Math. 101).

    The vectors keep their lengths, because XLA stores the result of a division by |v|², and would
    compute a plain v·x again for each of the entries that it multiplies.
    """

    def __init__(self, mixture: Mixture, bound: int) -> None:
        self.mixture, self.bound = mixture, bound
        self.times = 1 if mixture.frame.log_scales is not None else 2
        self.numbers_per_row = (3 + bound) * mixture.means.size

    def log_joint_of(self, block: Block) -> tuple[jax.Array, Intermediate]:
        """Return the log-joint (k, b), and what `sums` needs."""
        mixture, factor = self.mixture, self.mixture.frame.factor  # type: ignore[attr-defined]
        c, d, _ = factor.shape
        missing = jnp.isnan(block.x)
        # Number the missing features of each row, from the last one: a product, since XLA's
        # cumulative sums are slow.
        later = jnp.triu(jnp.ones((d, d), block.x.dtype))
        number = matmul(later, missing.astype(block.x.dtype))
        filled = jnp.where(missing, 0, block.x)
        residual = jnp.where(missing[None], 0, filled[None] - mixture.means[..., None])
        mean = matmul(factor, residual)
        joint = mixture.log_constants[:, None] + number[:1] * (math.log(2 * math.pi) / 2)
        basis: list[tuple[jax.Array, jax.Array]] = []
        for i in range(1, self.bound + 1):
            chosen = (missing & (number == i)).astype(block.x.dtype)
            column = matmul(factor.reshape(c * d, d), chosen).reshape(c, d, -1)
            for vector, square in basis * self.times:
                column = column - (dot(vector, column) / square)[:, None] * vector
            used = number[:1] >= i
            own = jnp.where(used, dot(column, column), 1)
            joint = joint - jnp.log(own) / 2
            mean = mean - (dot(*jnp.broadcast_arrays(column, mean)) / own)[:, None] * column
            basis.append((column, own))
        for vector, square in basis * (self.times - 1):
            mean = mean - (dot(*jnp.broadcast_arrays(vector, mean)) / square)[:, None] * vector
        return joint - dot(mean, mean) / 2, Intermediate(mean, basis)

    def sums(
        self, block: Block, intermediate: Intermediate, weighted_responsibilities: jax.Array
    ) -> Moments:
        """Return a block's mass, shift and spread, for weighted responsibilities w r (k, b)."""
        frame, weighted = self.mixture.frame, weighted_responsibilities
        mean, basis = intermediate
        spread = frame.pool(_outer_products(weighted, mean))
        for vector, square in basis:
            spread = spread + _outer_products(frame.pool(weighted) / square, vector)
        shift = jnp.sum(weighted[:, None] * mean, axis=-1)
        return jnp.sum(weighted, axis=-1), shift, spread


def _outer_products(weighted: jax.Array, v: jax.Array) -> jax.Array:
    """Return Σ w v vᵀ (k, d, d) over the rows of vectors (k, d, b) with weights (k, b)."""
    contract = (((2,), (2,)), ((0,), (0,)))
    return jax.lax.dot_general(weighted[:, None] * v, v, contract, precision="highest")
