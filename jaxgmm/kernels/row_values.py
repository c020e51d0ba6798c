"""Values for each row, by the kernels: log-joints, and what rows say of complete rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Block, Columns
from ..mixture.inputs import over_rows, row_log_joint, row_log_prob
from ..mixture.mixture import Mixture
from .block_sums import log_joint_of_block
from .choice import with_kernel
from .protocol import Kernel
from .shared_noise import measured

ROWS_PER_STEP = 256


def over_blocks(
    function: Callable[[Kernel, Block], Any], mixture: Mixture, x: jax.Array, columns: Columns
) -> Any:
    """Return function(kernel, block) for all rows of a packed array.

    The function returns arrays whose last axis is that of a block's rows, and so does this one. The
    kernel's mixture and the block are in coordinates with their origin at the mixture's mean.
    """
    weights = jnp.where(mixture.present, mixture.weights, 0)[:, None]
    center = jax.lax.stop_gradient(jnp.sum(weights * mixture.means, axis=0))
    origin = jnp.pad(center, (0, columns.width - columns.features))
    n = len(x)
    size = min(ROWS_PER_STEP, n)
    blocks = jnp.concatenate([x, x[: -n % size]]) - origin[None]

    def run(kernel: Kernel) -> Any:
        of_block = lambda rows: function(kernel, columns.split(rows.T))
        results = jax.lax.map(of_block, blocks.reshape(-1, size, columns.width))
        join = lambda leaf: jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], -1)[..., :n]
        return jax.tree.map(join, results)

    near = measured(mixture.translate(-center), columns, columns.shared_noise(x))
    return with_kernel("whitened", near, n, run, columns)


def log_joint_of_rows(mixture: Mixture, x: jax.Array, columns: Columns | None) -> jax.Array:
    """Return the log-joint (n, k) of rows that may be packed."""
    if columns is None:
        return over_rows(row_log_joint, mixture, x)
    return over_blocks(log_joint_of_block, mixture, x, columns).T


def log_prob_of_rows(mixture: Mixture, x: jax.Array, columns: Columns | None) -> jax.Array:
    """Return log p of what was seen of each row (n,)."""
    if columns is None:
        return over_rows(row_log_prob, mixture, x)
    return jax.nn.logsumexp(log_joint_of_rows(mixture, x, columns), axis=1)
