"""A pass that leaves out of each block the components that cannot matter there.

With many components, most of them have no row near a block of rows that are near one another. An
upper bound of the log-joint (see `screen.py`) says so without evaluating them. What is left out of
a row's density is less than a rounding error of it, so that the sums are those of a dense pass.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..data.rows import Rows, add_compensated
from ..internal.trees import take
from ..mixture.mixture import Mixture
from .protocol import Kernel, Moments
from .responsibilities import weighted_responsibilities
from .screen import Screen

# A component is left out of a block where its responsibilities are below eps / NEGLIGIBLE / k.
NEGLIGIBLE = 100
# FIRST components are evaluated in each block, and if these are not enough, FIRST · GROWTH^i.
FIRST, GROWTH = 8, 4
LEAST_ROWS, MOST_ROWS = 128, 1024
# After a block in which all components are evaluated, so many are not looked at but evaluated too.
DENSE_BLOCKS = 7

# The sums of a kernel with the log-likelihood, and the rounding errors of both.
Totals = tuple[tuple[Any, jax.Array], tuple[Any, jax.Array]]
KernelClass = Callable[[Mixture, int], Kernel]


class Ranked(NamedTuple):
    """The components of a block.

    Attributes:
      first: the components whose upper bounds are the largest for some row.
      joint, intermediate: their log-joint, and what their kernel's `sums` needs.
      ranked: the components from the one that matters most.
      branch: () 0 if no others than the first ones matter; else the position in `sizes` of how many
        components to evaluate.
    """

    first: jax.Array
    joint: jax.Array
    intermediate: Any
    ranked: jax.Array
    branch: jax.Array


class Relevant:
    """The pass over ordered rows, by a kernel that evaluates all components by themselves."""

    def __init__(
        self, kind: Callable[[Mixture, int], Kernel], mixture: Mixture, rows: Rows
    ) -> None:
        assert rows.ordering is not None
        k, n = mixture.n_components, len(rows.x)
        self.kind, self.mixture, self.rows = kind, mixture, rows
        self.whole = kind(mixture, 1)
        self.screen = Screen(mixture, rows.ordering.axes)
        self.block_rows = min(max(1 << (n // k).bit_length(), LEAST_ROWS), MOST_ROWS)
        few = min(FIRST, k // 4)
        smaller = (few * GROWTH**i for i in range(k.bit_length()))
        self.sizes = (*(size for size in smaller if 2 * size <= k), k)
        self.margin = math.log(NEGLIGIBLE * k) - math.log(jnp.finfo(mixture.dtype).eps)

    def statistics(self) -> tuple[Moments, jax.Array]:
        """Return mass, shift and spread, and the log-likelihood."""
        block = self.rows.ordered_block(jnp.int32(0), self.block_rows)
        shapes = jax.eval_shape(lambda: _sums(self.whole, *block, *self.whole.log_joint(block[0])))
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        start = (zero, zero), jnp.int32(0)
        (totals, _), _ = self.rows.accumulate(self._add_block, start, self.block_rows)
        moments, log_likelihood = self.rows.sum_parts(totals)
        return self.whole.statistics(moments), log_likelihood

    def _add_block(
        self, carry: tuple[Totals, jax.Array], x: jax.Array, weight: jax.Array
    ) -> tuple[Totals, jax.Array]:
        """Add a block to the totals; the carry is these, and how many blocks not to look at."""
        totals, skipped = carry
        nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(self.rank, x))
        all_of_them = nothing._replace(branch=jnp.int32(len(self.sizes) - 1))
        of_block = jax.lax.cond(skipped > 0, lambda: all_of_them, lambda: self.rank(x))

        def add(part: Kernel, chosen: jax.Array | None, joint: jax.Array, rest: Any) -> Totals:
            moments, value = _sums(part, x, weight, joint, rest)
            if chosen is not None:
                value = value + jnp.sum(weight) * self._log_share(chosen)
            return _add(totals, chosen, moments, value)

        def evaluate(size: int) -> Totals:
            chosen = of_block.ranked[:size] if size < self.mixture.n_components else None
            part = self.whole if chosen is None else self._part(chosen)
            return add(part, chosen, *part.log_joint(x))

        first = of_block.first
        few = lambda: add(self._part(first), first, of_block.joint, of_block.intermediate)
        more = [functools.partial(evaluate, size) for size in self.sizes[1:]]
        totals = jax.lax.switch(of_block.branch, [few, *more])
        dense = of_block.branch == len(self.sizes) - 1
        left = jnp.where(skipped > 0, skipped - 1, DENSE_BLOCKS)
        return totals, jnp.where(dense, left, 0)

    def rank(self, x: jax.Array) -> Ranked:
        """Return which components matter in a block, from the bounds and some log-joints."""
        bounds, errors = self.screen.bounds(x)
        largest = jnp.max(bounds, axis=0)
        first = jax.lax.top_k(_row_max(bounds - largest[None]), self.sizes[0])[1]
        joint, intermediate = self._part(first).log_joint(x)
        lower = jnp.max(joint, axis=0) + self._log_share(first)
        scores = _row_max(bounds - lower[None]) + errors + self.margin
        needed = scores >= 0
        count = jnp.sum(needed, dtype=jnp.int32)
        enough = jnp.sum(jnp.asarray(self.sizes[1:-1]) < count, dtype=jnp.int32) + 1
        branch = jnp.where(jnp.sum(needed[first]) == count, 0, enough)
        ranked = jax.lax.top_k(scores, self.sizes[-2])[1]
        return Ranked(first, joint, intermediate, ranked, branch)

    def _part(self, chosen: jax.Array) -> Kernel:
        """Return the kernel of the mixture of these components alone."""
        return self.kind(take(self.mixture, chosen), 1)

    def _log_share(self, chosen: jax.Array) -> jax.Array:
        """Return the logarithm () of these components' weight."""
        return jax.nn.logsumexp(self.mixture.log_weights[chosen])


def _sums(
    kernel: Kernel, x: jax.Array, weight: jax.Array, joint: jax.Array, intermediate: Any
) -> tuple[Any, jax.Array]:
    """Return a block's sums, and its log-likelihood."""
    weighted, log_prob = weighted_responsibilities(joint, weight)
    return kernel.sums(x, intermediate, weighted), jnp.sum(weight * log_prob)


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
