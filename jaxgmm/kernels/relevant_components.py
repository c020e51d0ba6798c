"""A pass that leaves out of each cell the components that cannot matter there.

With many components, most of them have no row near a cell of rows that are near one another. An
upper bound of the log-joint (see `upper_bounds.py`) says so without evaluating them. What is left
out of a row's density is less than a rounding error of it, so that the sums are those of a dense
pass.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..data.columns import Block
from ..data.rows import Rows
from ..internal.trees import take, zeros_of
from ..mixture.mixture import Mixture
from ..numerics.compensated import add_compensated
from .block_sums import sums_of_block
from .protocol import Kernel, KernelClass, Moments
from .upper_bounds import Screen

# A component is left out of a cell where its responsibilities are below eps / NEGLIGIBLE / k.
NEGLIGIBLE = 100
# So many components are evaluated in every cell that is looked at.
FEWEST = 8
# Where a cell needs all components, so many after it are not looked at, but evaluated densely.
DENSE_CELLS = 7

# The sums of a kernel with the log-likelihood, and the rounding errors of both.
Totals = tuple[tuple[Any, jax.Array], tuple[Any, jax.Array]]
# The position in `sizes` of how many components a cell needs, and the scores (k,) of all.
Needs = tuple[jax.Array, jax.Array]


class Relevant:
    """The pass over rows in cells, by a kernel that evaluates all components by themselves.

    Attributes:
      sizes: the numbers of components of which one is evaluated in a cell: few, their geometric
        mean with all, and all. Each is a loop of its own to compile.
    """

    def __init__(self, kind: KernelClass, mixture: Mixture, rows: Rows) -> None:
        assert rows.cells is not None
        k = mixture.n_components
        self.kind, self.mixture, self.rows, self.cells = kind, mixture, rows, rows.cells
        self.screen = Screen(mixture, self.cells.axes)
        few = min(FEWEST, k // 4)
        self.sizes = few, 1 << ((few * k).bit_length() - 1) // 2, k
        self.margin = math.log(NEGLIGIBLE * k) - math.log(jnp.finfo(mixture.dtype).eps)

    def statistics(self) -> tuple[Moments, jax.Array]:
        """Return mass, shift and spread, and the log-likelihood."""
        whole = self.kind(self.mixture, 1)
        zero = zeros_of(lambda: self._sums(whole, jnp.int32(0)))
        totals, (levels, scores) = self._look((zero, zero))
        by_level = jnp.argsort(levels)
        few, some, _ = jnp.searchsorted(levels[by_level], jnp.arange(3), side="right")

        def add_some(i: jax.Array, totals: Totals) -> Totals:
            cell = by_level[i]
            chosen = jax.lax.top_k(scores[cell], self.sizes[1])[1]
            x, weight = self.cells.cell(cell)
            return _add(totals, chosen, *self._part_sums(chosen, x, weight))

        def add_all(i: jax.Array, totals: Totals) -> Totals:
            return _add(totals, None, *self._sums(whole, by_level[i]))

        # One loop for each size, because branches inside of a loop would copy the totals.
        totals = jax.lax.fori_loop(few, some, add_some, totals)
        totals = jax.lax.fori_loop(some, len(levels), add_all, totals)
        moments, log_likelihood = self.rows.sum_parts(totals[0])
        return whole.statistics(moments), log_likelihood

    def _look(self, totals: Totals) -> tuple[Totals, Needs]:
        """Return totals with the sums of the cells that need few components, and all cells' needs.

        The needs are arrays (c,) and (c, k).
        """
        k, count = self.mixture.n_components, len(self.cells.counts)

        def look(state: tuple[jax.Array, Totals, Needs]) -> tuple[jax.Array, Totals, Needs]:
            i, totals, needs = state
            x, weight = self.cells.cell(i)
            found, first = self.needs(x)
            # Where the cell needs more, these are evaluated again with the others.
            sums = self._part_sums(first, x, weight)
            sums = jax.tree.map(lambda leaf: jnp.where(found[0] == 0, leaf, 0), sums)
            totals = _add(totals, first, *sums)
            needs = jax.tree.map(lambda all_of, one: all_of.at[i].set(one), needs, found)
            skips = (i % (1 + DENSE_CELLS) == 0) & (found[0] == 2)
            return i + jnp.where(skips, 1 + DENSE_CELLS, 1), totals, needs

        needs = jnp.full(count, 2, jnp.int32), jnp.zeros((count, k), self.mixture.dtype)
        start = jnp.int32(0), totals, needs
        return jax.lax.while_loop(lambda state: state[0] < count, look, start)[1:]

    def needs(self, x: jax.Array) -> tuple[Needs, jax.Array]:
        """Return what a cell x (d, b) needs, and the few components (m,) that may matter most.

        Components whose score is 0 or more may matter.
        """
        bounds, errors = self.screen.bounds(x)
        largest = jnp.max(bounds, axis=0)
        first = jax.lax.top_k(_row_max(bounds - largest[None]), self.sizes[0])[1]
        lower = jnp.max(self._part(first).log_joint(x)[0], axis=0) + self._log_share(first)
        scores = _row_max(bounds - lower[None]) + errors + self.margin
        count = jnp.sum(scores >= 0, dtype=jnp.int32)
        more = (count > jnp.sum(scores[first] >= 0)).astype(jnp.int32)
        return (more + (count > self.sizes[1]), scores), first

    def _part_sums(
        self, chosen: jax.Array, x: jax.Array, weight: jax.Array
    ) -> tuple[Any, jax.Array]:
        """Return the sums of a cell x (d, b) over these components, and its log-likelihood."""
        moments, value = sums_of_block(self._part(chosen), Block(x), weight)
        return moments, value + jnp.sum(weight) * self._log_share(chosen)

    def _sums(self, kernel: Kernel, i: jax.Array) -> tuple[Any, jax.Array]:
        """Return the sums of cell i, and its log-likelihood."""
        x, weight = self.cells.cell(i)
        return sums_of_block(kernel, Block(x), weight)

    def _part(self, chosen: jax.Array) -> Kernel:
        """Return the kernel of the mixture of these components alone."""
        return self.kind(take(self.mixture, chosen), 1)

    def _log_share(self, chosen: jax.Array) -> jax.Array:
        """Return the logarithm () of these components' weight."""
        return jax.nn.logsumexp(self.mixture.log_weights[chosen])


def _add(totals: Totals, chosen: jax.Array | None, moments: Any, value: jax.Array) -> Totals:
    """Return the totals and their rounding errors, with the sums of some components added.

    These are the chosen ones, or all if `chosen` is None.
    """

    def add(total: jax.Array, lost: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array]:
        if chosen is None:
            return add_compensated(total, lost, new)
        own_total, own_lost = add_compensated(total[chosen], lost[chosen], new)
        return total.at[chosen].set(own_total), lost.at[chosen].set(own_lost)

    (total, log_likelihood), (lost, lost_likelihood) = totals
    pairs = jax.tree.map(add, total, lost, moments)
    total, lost = jax.tree.transpose(jax.tree.structure(moments), None, pairs)
    value, lost_value = add_compensated(log_likelihood, lost_likelihood, value)
    return (total, value), (lost, lost_value)


def _row_max(values: jax.Array) -> jax.Array:
    """Return the maximum (k,) of each row of (k, b); XLA vectorizes over the last axis only."""
    k, b = values.shape
    return jnp.max(jnp.max(values.reshape(k, 8, b // 8), axis=1), axis=1)
