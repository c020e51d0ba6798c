"""A pass that leaves out of each cell the components that cannot matter there.

With many components, most of them have no row near a cell of rows that are near one another. An
upper bound of the log-joint (see `upper_bounds.py`) says so without evaluating them. What is left
out of a row's density is less than a rounding error of it, so that the sums are those of a dense
pass.
"""

from __future__ import annotations

import functools
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
# As many components are evaluated in a cell as matter there, rounded up to FEWEST · GROWTH^i.
FEWEST, GROWTH = 8, 4
# Where a cell needs all components, so many after it are not looked at, but evaluated densely.
DENSE_CELLS = 7

# The sums of a kernel with the log-likelihood, and the rounding errors of both.
Totals = tuple[tuple[Any, jax.Array], tuple[Any, jax.Array]]


class Relevant:
    """The pass over rows in cells, by a kernel that evaluates all components by themselves."""

    def __init__(self, kind: KernelClass, mixture: Mixture, rows: Rows) -> None:
        assert rows.cells is not None
        k = mixture.n_components
        self.kind, self.mixture, self.rows, self.cells = kind, mixture, rows, rows.cells
        self.screen = Screen(mixture, self.cells.axes)
        smaller = (min(FEWEST, k // 4) * GROWTH**i for i in range(k.bit_length()))
        self.sizes = (*(size for size in smaller if 2 * size <= k), k)
        self.margin = math.log(NEGLIGIBLE * k) - math.log(jnp.finfo(mixture.dtype).eps)

    def statistics(self) -> tuple[Moments, jax.Array]:
        """Return mass, shift and spread, and the log-likelihood.

        The cells that need the same number of components are added in one loop. Branches inside of
        a loop over all cells would copy the totals.
        """
        whole = self.kind(self.mixture, 1)
        zero = zeros_of(lambda: self._sums(whole, jnp.int32(0)))
        levels, ranked = self._look()
        by_level = jnp.argsort(levels)
        ends = jnp.searchsorted(levels[by_level], jnp.arange(len(self.sizes)), side="right")

        def add_cell(size: int, i: jax.Array, totals: Totals) -> Totals:
            cell = by_level[i]
            if size == self.mixture.n_components:
                return _add(totals, None, *self._sums(whole, cell))
            chosen = ranked[cell, :size]
            moments, value = self._sums(self._part(chosen), cell)
            share = jnp.sum(self.cells.weight[cell]) * self._log_share(chosen)
            return _add(totals, chosen, moments, value + share)

        totals, begin = (zero, zero), jnp.zeros_like(ends[0])
        for size, end in zip(self.sizes, ends, strict=True):
            totals = jax.lax.fori_loop(begin, end, functools.partial(add_cell, size), totals)
            begin = end
        moments, log_likelihood = self.rows.sum_parts(totals[0])
        return whole.statistics(moments), log_likelihood

    def _look(self) -> tuple[jax.Array, jax.Array]:
        """Return `rank` of all cells, as arrays (c,) and (c, m)."""
        dense, count = len(self.sizes) - 1, len(self.cells.counts)

        def look(state: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
            i, found = state
            ranked = self.rank(self.cells.cell(i)[0])
            found = jax.tree.map(lambda all_of, one: all_of.at[i].set(one), found, ranked)
            skips = (i % (1 + DENSE_CELLS) == 0) & (ranked[0] == dense)
            return i + jnp.where(skips, 1 + DENSE_CELLS, 1), found

        start = jnp.full(count, dense, jnp.int32), jnp.zeros((count, self.sizes[-2]), jnp.int32)
        return jax.lax.while_loop(lambda state: state[0] < count, look, (jnp.int32(0), start))[1]

    def rank(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return which components matter in a cell x (d, b).

        The result is the position () in `sizes` of how many to evaluate, and components (m,) from
        the one that matters most, where m is the largest size below k.
        """
        bounds, errors = self.screen.bounds(x)
        largest = jnp.max(bounds, axis=0)
        first = jax.lax.top_k(_row_max(bounds - largest[None]), self.sizes[0])[1]
        lower = jnp.max(self._part(first).log_joint(x)[0], axis=0) + self._log_share(first)
        scores = _row_max(bounds - lower[None]) + errors + self.margin
        count = jnp.sum(scores >= 0)
        level = jnp.sum(count > jnp.asarray(self.sizes[:-1]), dtype=jnp.int32)
        return level, jax.lax.top_k(scores, self.sizes[-2])[1]

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
