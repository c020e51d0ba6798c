"""Noise: the conditional kernel by factorizing the covariance of what was seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.columns import Block
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from .protocol import Moments

# Up to this many features, the factorization of all rows at once is written out. XLA takes a few
# seconds to compile it for this many, and LAPACK several times as long to compute it.
# Where nothing but gaps is known, few blocks need it, and less compilation is worth it.
UNROLLED, UNROLLED_FOR_GAPS = 10, 6


class Intermediate(NamedTuple):
    """T⁻¹ (x − μ) as (k, d, b), and rows of B with T⁻¹ = BᵀB: (k, d, d b), for each column."""

    solved: jax.Array
    inverse_root: jax.Array


class Factored:
    """Covariances T = Σ + S of what was seen, with the noise S, are factorized for each row.

    With u = T⁻¹ (x − μ), m = Lᵀu and C = I − LᵀT⁻¹L, where Σ = L Lᵀ. Hence

        Σ w r m = Lᵀ Σ w r u,    Σ w r (m mᵀ + C) = I Σ w r + Lᵀ [Σ w r (u uᵀ − T⁻¹)] L,

    so that only T is factorized for each row and component, and the rest is done once for all rows.
    Rows and columns of T that belong to missing values are those of the identity.
    """

    def __init__(self, mixture: Mixture, gaps: bool, covariances: bool) -> None:
        self.mixture, self.gaps, self.covariances = mixture, gaps, covariances
        k, d = mixture.means.shape
        self.numbers_per_row = k * d * (2 * d + 2)

    def log_joint_of(self, block: Block) -> tuple[jax.Array, Intermediate]:
        """Return the log-joint (k, b), and what `sums` needs."""
        mixture, d = self.mixture, self.mixture.n_features
        seen = ~jnp.isnan(block.x)
        known = seen.astype(block.x.dtype)
        filled = jnp.where(seen, block.x, 0)
        residual = jnp.where(seen[None], filled[None] - mixture.means[..., None], 0)
        most = UNROLLED_FOR_GAPS if block.noise is None else UNROLLED
        factor = _factor_entries if d <= most else _factor_matrices
        solved, root, half_log_determinant, square = factor(self._matrix(block, known), residual)
        if self.gaps:  # the identity in the place of what is missing
            root = root * jnp.tile(known[:, None], (1, d, 1)).reshape(1, d, -1)
        count = jnp.sum(known, axis=0)[None] * (math.log(2 * math.pi) / 2)
        joint = mixture.log_weights[:, None] - count - half_log_determinant - square / 2
        return joint, Intermediate(solved, root)

    def _matrix(self, block: Block, known: jax.Array) -> dict[tuple[int, int], jax.Array]:
        """Return the entries (k, b) of T on and below the diagonal."""
        k, d = self.mixture.means.shape
        b, covariance = known.shape[1], self.mixture.frame.dense
        entries = {}
        for i, j in zip(*np.tril_indices(d), strict=True):
            value = jnp.broadcast_to(covariance[:, i, j][:, None], (k, b))
            if block.noise is not None and self.covariances:
                value = value + block.noise[i * (i + 1) // 2 + j][None]
            elif block.noise is not None and i == j:
                value = value + block.noise[i][None]
            if self.gaps and i == j:
                value = jnp.where(known[i][None] > 0, value, 1)
            elif self.gaps:
                value = value * (known[i] * known[j])[None]
            entries[int(i), int(j)] = value
        return entries

    def sums(
        self, block: Block, intermediate: Intermediate, weighted_responsibilities: jax.Array
    ) -> Moments:
        """Return a block's mass, shift and spread, for weighted responsibilities w r (k, b)."""
        frame, d = self.mixture.frame, self.mixture.n_features
        solved, root = intermediate
        mass = jnp.sum(weighted_responsibilities, axis=-1)
        weighted = weighted_responsibilities[:, None]
        contract = (((2,), (2,)), ((0,), (0,)))
        product = lambda a, b: jax.lax.dot_general(a, b, contract, precision="highest")
        precision = product(jnp.tile(weighted, (1, 1, d)) * root, root)
        middle = product(weighted * solved, solved) - precision
        shift = frame.unwhiten_transposed(jnp.sum(weighted * solved, axis=-1))
        return mass, shift, frame.pull(mass, middle)


def _factor_entries(
    matrix: dict[tuple[int, int], jax.Array], residual: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Factorize T = C Cᵀ by entries, for all rows and components at once.

    Returns T⁻¹ r (k, d, b); B = C⁻¹ as (k, d, d b), a line of d blocks for each column of B; half
    the log-determinant of T; and rᵀT⁻¹r; the latter two are (k, b).
    """
    d = residual.shape[1]
    below, inverse = dict(matrix), {}
    for j in range(d):
        inverse[j] = jax.lax.rsqrt(below[j, j])
        for i in range(j + 1, d):
            below[i, j] = below[i, j] * inverse[j]
        for i in range(j + 1, d):
            for m in range(j + 1, i + 1):
                below[i, m] = below[i, m] - below[i, j] * below[m, j]
    forward: list[jax.Array] = []
    for i in range(d):
        value = residual[:, i]
        for j in range(i):
            value = value - below[i, j] * forward[j]
        forward.append(value * inverse[i])
    solved: dict[int, jax.Array] = {}
    for i in reversed(range(d)):
        value = forward[i]
        for j in range(i + 1, d):
            value = value - below[j, i] * solved[j]
        solved[i] = value * inverse[i]
    root = {}
    for i in range(d):
        root[i, i] = inverse[i]
        for j in range(i):
            value = below[i, j] * root[j, j]
            for m in range(j + 1, i):
                value = value + below[i, m] * root[m, j]
            root[i, j] = -value * inverse[i]
    zero, (k, _, b) = jnp.zeros_like(inverse[0]), residual.shape
    lines = [root.get((i, j), zero) for j in range(d) for i in range(d)]
    half_log_determinant = -sum(map(jnp.log, inverse.values()))
    square = sum(value**2 for value in forward)
    return (
        jnp.stack([solved[i] for i in range(d)], axis=1),
        jnp.stack(lines, axis=1).reshape(k, d, d * b),
        half_log_determinant,
        square,
    )  # type: ignore[return-value]


def _factor_matrices(
    matrix: dict[tuple[int, int], jax.Array], residual: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return what `_factor_entries` does, by LAPACK."""
    k, d, b = residual.shape
    entries = [matrix[max(i, j), min(i, j)] for i in range(d) for j in range(d)]
    stack = jnp.stack(entries, axis=-1).reshape(k * b, d, d)
    factor = lapack.cholesky(stack)
    root = lapack.inverse(factor)
    vectors = jnp.moveaxis(residual, 1, 2).reshape(k * b, d, 1)
    forward = matmul(root, vectors)
    solved = jnp.moveaxis(matmul(transpose(root), forward).reshape(k, b, d), 1, 2)
    lines = jnp.transpose(root.reshape(k, b, d, d), (0, 3, 2, 1)).reshape(k, d, d * b)
    logarithms = jnp.log(jnp.diagonal(factor, axis1=1, axis2=2))
    square = jnp.sum(forward[..., 0] ** 2, axis=1).reshape(k, b)
    return solved, lines, jnp.sum(logarithms, axis=1).reshape(k, b), square
