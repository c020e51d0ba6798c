"""A pass by the natural kernel about local centers, as accurate as a slower kernel.

The natural kernel loses digits where components are narrow for their distance from the center. Rows
that are near one another, in a cell, can have a center of their own. The components to which they
belong are near it, and those far from it have no part in them. The sums of a cell are moved to the
means of the components before they are added, so that no large numbers are added up. Cells in which
this is not accurate are evaluated by another kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Block
from ..data.rows import Rows
from ..internal.trees import take, where_each, zeros_of
from ..mixture.mixture import Mixture
from ..numerics.compensated import add_trees_compensated
from .block_size import block_rows
from .block_sums import sums_of_block
from .natural import Natural
from .natural_low_rank import natural_kernel
from .protocol import Kernel, KernelClass, Moments
from .rounding_bounds import rounding_of_each, safe_rounding

# A component has no part in a cell where its mean responsibility is below this, e^-30.
NEGLIGIBLE = 1e-13
# Cells are evaluated in groups, whose sums are about so many numbers.
NUMBERS_IN_GROUP = 1 << 20

Sums = tuple[Any, jax.Array]  # a kernel's sums or the moments, and the log-likelihood


class Local:
    """The pass over rows in cells; `accurate` is the kernel of cells that the natural one fails."""

    def __init__(self, accurate: KernelClass, mixture: Mixture, rows: Rows) -> None:
        assert rows.cells is not None
        self.mixture, self.rows, self.cells = mixture, rows, rows.cells
        self.natural, self.accurate = natural_kernel(mixture), accurate(mixture, 1)
        count = len(self.cells.counts)
        self.group = min(max(NUMBERS_IN_GROUP // self.natural.numbers_in_sums, 1), count)

    def statistics(self) -> tuple[Moments, jax.Array]:
        """Return mass, shift and spread, and the log-likelihood."""
        count = len(self.cells.counts)

        def add(i: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            (total, lost), done = state
            start = jnp.minimum(i * self.group, count - self.group)
            part = jax.lax.dynamic_slice_in_dim(done, start, self.group)
            sums, accurate = self._natural_sums(start, ~part)
            done = jax.lax.dynamic_update_slice_in_dim(done, part | accurate, start, 0)
            return add_trees_compensated(total, lost, sums), done

        empty = self.cells.counts == 0
        zeros = zeros_of(lambda: self._natural_sums(jnp.int32(0), empty[: self.group])[0])
        groups = -(-count // self.group)
        totals, done = jax.lax.fori_loop(0, groups, add, ((zeros, zeros), empty))
        sums = jax.tree.map(jnp.add, totals[0], self._accurate_sums(~done))
        return self.rows.sum_parts(sums)

    def _natural_sums(self, start: jax.Array, wanted: jax.Array) -> tuple[Sums, jax.Array]:
        """Return the sums over those cells of a group (g,) in which the natural kernel is accurate.

        The second result says which of the `wanted` cells these are, as (g,).
        """
        cells, mixture = self.cells, self.mixture
        centers = jax.lax.dynamic_slice_in_dim(cells.centers, start, self.group)
        bounds = jax.vmap(lambda center: rounding_of_each(mixture.translate(-center)))(centers)
        coarse = bounds > safe_rounding(mixture)
        # Coarse components have an upper bound in place of their log-joint. If they have no part in
        # a cell even so, their rounding errors have none.
        above = jnp.where(coarse, mixture.n_features * bounds, 0)
        parameters = Natural.about(mixture, centers, above)
        kernel_of = lambda parameters: natural_kernel(mixture, 1, parameters)
        origin = jnp.zeros((mixture.n_features, 1), mixture.dtype)
        joint = jax.vmap(lambda own: kernel_of(own).log_joint(origin)[0][:, 0])(parameters)
        largest = lambda chosen: jnp.max(jnp.where(chosen, joint, -jnp.inf), axis=1)
        # Where a coarse component is the likeliest at the center, it is so for some rows too.
        tried = wanted & (largest(~coarse) > largest(coarse))

        def sums_of(i: jax.Array) -> Sums:
            sums, value = self._total(kernel_of(take(parameters, i)), start + i)
            return self.natural.by_component(sums), value

        def put(i: jax.Array, all_sums: Any) -> Any:
            return jax.tree.map(lambda all_of, one: all_of.at[i].set(one), all_sums, sums_of(i))

        zeros = zeros_of(lambda: jax.vmap(sums_of)(jnp.arange(self.group)))
        sums, values = _for_each(tried, put, zeros)
        mass = self.natural.mass(sums)
        # Not a number is not below the limit, so that it has a part.
        negligible = mass <= NEGLIGIBLE * jnp.sum(mass, axis=1, keepdims=True)
        accurate = tried & jnp.all(~coarse | negligible, axis=1)
        sums, values = where_each(accurate, (sums, values), zeros_of(lambda: (sums, values)))
        return (self.natural.statistics_about(sums, centers), jnp.sum(values)), accurate

    def _accurate_sums(self, wanted: jax.Array) -> Sums:
        """Return the sums over these cells (c,) by the accurate kernel."""
        cells, kernel = self.cells, self.accurate
        sums_of = lambda i: self._total(kernel, i, cells.centers[i])
        add = lambda i, state: add_trees_compensated(state[0], state[1], sums_of(i))
        zeros = zeros_of(sums_of, jnp.int32(0))
        (sums, value), _ = _for_each(wanted, add, (zeros, zeros))
        return kernel.statistics(sums), value

    def _total(self, kernel: Kernel, i: jax.Array, center: jax.Array | None = None) -> Sums:
        """Return the sums over cell i, whose rows are moved by `center` for the kernel."""

        def of_block(x: jax.Array, weight: jax.Array) -> Sums:
            x = x if center is None else x + center[:, None]
            return sums_of_block(kernel, Block(x), weight)

        return self.cells.total(of_block, i, min(block_rows(kernel), self.cells.size // 4))


def _for_each(wanted: jax.Array, function: Callable[[jax.Array, Any], Any], state: Any) -> Any:
    """Return the state after state = function(i, state) for each i where `wanted` (c,) is true."""
    count = len(wanted)
    positions = jnp.arange(count)
    next_from = lambda i: jnp.min(jnp.where(wanted & (positions >= i), positions, count))
    step = lambda carry: (next_from(carry[0] + 1), function(*carry))
    first = next_from(jnp.zeros_like(positions[0]))
    return jax.lax.while_loop(lambda carry: carry[0] < count, step, (first, state))[1]
