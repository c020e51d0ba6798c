"""The entropy −Σ w r log r of the responsibilities r: how doubtful the rows' components are."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..data.columns import Block
from ..data.rows import Rows
from ..kernels.block_size import block_rows
from ..kernels.block_sums import log_joint_of_block
from ..kernels.choice import with_kernel
from ..kernels.protocol import Kernel
from ..kernels.shared_noise import measured
from ..mixture.mixture import Mixture
from .statistics import Statistics


def responsibility_entropy(mixture: Mixture, rows: Rows, sums: Statistics) -> jax.Array:
    """Return −Σ w r log r, from the statistics at `mixture` if the rows are fully observed.

    The mixture is in the rows' coordinates.
    """
    return _of_statistics(mixture, sums) if rows.columns is None else _of_rows(mixture, rows)


def _of_statistics(mixture: Mixture, sums: Statistics) -> jax.Array:
    # ℓ − Q(θ | θ); Q is simple here, since residuals are whitened by the mixture itself.
    square = mixture.frame.sum_covariances(mixture.frame.trace(sums.spread))
    constants = jnp.where(mixture.present, mixture.log_constants, 0)
    return jnp.maximum(sums.log_likelihood - jnp.sum(sums.mass * constants) + square / 2, 0)


def _of_rows(mixture: Mixture, rows: Rows) -> jax.Array:
    """Return the entropy from a pass over rows of any kind."""

    def run(kernel: Kernel) -> jax.Array:
        def sum_block(block: Block, weight: jax.Array) -> jax.Array:
            log_shares = jax.nn.log_softmax(log_joint_of_block(kernel, block), axis=0)
            terms = jnp.where(log_shares > -jnp.inf, jnp.exp(log_shares) * log_shares, 0)
            return -jnp.sum(weight * jnp.sum(terms, axis=0))

        return rows.total_blocks(sum_block, block_rows(kernel))

    near = measured(mixture, rows.columns, rows.shared_noise)
    return with_kernel("whitened", near, rows.n, run, rows.columns)
