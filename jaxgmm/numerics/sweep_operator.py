"""The sweep operator: solutions, inverses and determinants of many small matrices at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def sweep(matrix: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Sweep the first `count` pivots of symmetric matrices, each by one rank-one update.

    With R the leading block of A = [R r; rᵀ c], this is [2 I − R⁻¹, R⁻¹ r; rᵀR⁻¹, c − rᵀR⁻¹r].
    A pivot p = A_jj moves A by −v vᵀ, where v = (A e_j − e_j) / √p. Apart from the 2 on the
    diagonal, which spares the update all exceptions, this is Gauss–Jordan elimination. Few digits
    are lost to that 2 if the diagonal of R is 1, because pivots are at most 1 then.

    Args:
      matrix: A as (k, m, m, b): one matrix for each place of the first axis and of the last one, so
        that every operation runs along the last axis. R is positive definite.
      count: the number of pivots, at least 1.

    Returns:
      The swept matrices (k, m, m, b), and log |R| as (k, b).

    Source: Goodnight 1979, Amer. Statist. 33, "A tutorial on the SWEEP operator".
    """
    units = jnp.eye(count, matrix.shape[1], dtype=matrix.dtype)

    def pivot(matrix: jax.Array, j: jax.Array | int) -> tuple[jax.Array, jax.Array]:
        take = lambda array, axis: jax.lax.dynamic_index_in_dim(array, j, axis, keepdims=False)
        row = take(matrix, 1)
        value = take(row, 1)
        return (row - take(units, 0)[None, :, None]) * jax.lax.rsqrt(value)[:, None], value

    def update(matrix: jax.Array, vector: jax.Array) -> jax.Array:
        return matrix - vector[:, :, None] * vector[:, None]

    # The vector is carried to the next step: XLA would otherwise compute it again for each entry.
    def step(j: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        matrix, vector, logarithm = carry
        matrix = update(matrix, vector)
        vector, value = pivot(matrix, j)
        return matrix, vector, logarithm + jnp.log(value)

    vector, value = pivot(matrix, 0)
    carry = matrix, vector, jnp.log(value)
    matrix, vector, logarithm = jax.lax.fori_loop(1, count, step, carry)
    return update(matrix, vector), logarithm
