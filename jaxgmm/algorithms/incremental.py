"""Incremental EM: an M-step after each block of rows."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate as evaluate_rows
from ..objective.log_likelihood import restate
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import em_step
from .protocol import Pass, StoppingValues


class _IncrementalState(NamedTuple):
    """The statistics of each block, in the residual units of the current mixture.

    Attributes:
      blocks: the statistics, with a leading axis of blocks.
      known: () whether they have been computed.
      exact: () whether all are those at the current mixture.
      following: () the block that is visited next.
      roots: (blocks,) square roots of the gains of the last M-steps, or infinity.
    """

    blocks: Statistics
    known: jax.Array
    exact: jax.Array
    following: jax.Array
    roots: jax.Array


@dataclasses.dataclass(frozen=True)
class Incremental:
    """Incremental EM: each move visits one block of rows.

    The rows are divided into blocks, whose statistics are stored. A move makes an M-step from the
    sum of all stored statistics. Then it computes the statistics of one block anew, at the mixture
    that the M-step reached. A move costs 1/`blocks` of a pass.

    The first move visits all blocks, and is EM's step. Later, the history holds the objective's
    lower bound that incremental EM maximizes (the negative free energy + log prior of Neal and
    Hinton), which never falls, and which equals the objective at a fixed point. The fixed points
    are those of EM. When the last M-steps together have gained less than the tolerance, one move
    visits all blocks, so that a fit that converges ends with its own objective and EM's gain, by
    which the stopping rule decides. A fit that ends at max_steps may report the lower bound as its
    objective and log-likelihood.

    Block i contains the rows i, i + `blocks`, …; for `Shards`, those of each device. Under vmap
    every lane pays for the longest move, which visits all blocks.

    Args:
      blocks: the number of blocks.

    Raises:
      ValueError: if `blocks` is not a whole number, 2 or more; in `fit`, for a `Stream`, and for
        families with few factors.

    Source: Neal & Hinton 1998, in Learning in Graphical Models (ed. Jordan), sec. 4.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.Incremental(blocks=4))
    >>> bool(found.converged), bool(found.passes < found.steps)
    (True, True)
    """

    blocks: int = 16
    name: ClassVar[str] = "incremental em"

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", checks.whole(self.blocks, "blocks", 2))

    def init(self, mixture: Mixture, statistics: Statistics) -> _IncrementalState:
        """Return a state whose blocks are not known yet."""
        empty = lambda leaf: jnp.zeros((self.blocks, *leaf.shape), leaf.dtype)
        return _IncrementalState(
            blocks=jax.tree.map(empty, statistics),
            known=jnp.array(False),
            exact=jnp.array(True),
            following=jnp.int32(0),
            roots=jnp.full(self.blocks, jnp.inf, mixture.dtype),
        )

    def stopping_values(self, state: _IncrementalState, values: StoppingValues) -> StoppingValues:
        """Return values that meet no stopping rule where not all statistics are exact."""
        return values.unless(~state.exact)

    def move(
        self,
        mixture: Mixture,
        state: _IncrementalState,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, _IncrementalState, Statistics, jax.Array]:
        """Make an M-step, then visit one block, or all of them."""
        rows = evaluate.rows
        if not isinstance(rows, Rows):
            raise ValueError(
                "Incremental() visits one block of rows at a time, and a Stream can only be read "
                "as a whole: use EM(), or Stochastic(StepwiseEM())."
            )
        step = em_step(mixture, statistics, evaluate, prior)
        moved = step.after
        roots = state.roots.at[state.following].set(jnp.sqrt(jnp.maximum(step.em_gain, 0)))
        # Each M-step after a block is about the part of EM's step that is due to this block. The
        # parts add up as vectors, whose squared lengths are gains.
        tolerance = 0 if evaluate.tolerance is None else evaluate.tolerance
        whole = ~state.known | (jnp.sum(roots) ** 2 < tolerance)
        blocks = jax.vmap(lambda sums: restate(sums, mixture, moved))(state.blocks)

        def visit(i: jax.Array, blocks: Statistics) -> Statistics:
            number = (state.following + i) % self.blocks
            sums = evaluate_rows(moved, _stripe(rows, number, self.blocks), evaluate.kernel)
            return jax.tree.map(lambda all_, own: all_.at[number].set(own), blocks, sums)

        visited = jnp.where(whole, self.blocks, 1)
        blocks = jax.lax.fori_loop(0, visited, visit, blocks)
        n = len(rows.x)
        own = (n - state.following + self.blocks - 1) // self.blocks  # rows of one block
        passes = jnp.where(whole, 1, own.astype(jnp.float32) / n)
        after = _IncrementalState(
            blocks=blocks,
            known=jnp.array(True),
            exact=whole,
            following=(state.following + visited) % self.blocks,
            roots=jnp.where(whole, jnp.inf, roots),
        )
        return moved, after, jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), blocks), passes


def _stripe(rows: Rows, first: jax.Array, of: int) -> Rows:
    """Return every `of`-th row of each part, from row `first` < `of` on.

    Stripes have equal lengths; a row of weight 0 fills those that would be shorter.
    """
    n = len(rows.x)
    index = first + of * jnp.arange(-(-n // of))
    taken = rows.take(jnp.minimum(index, n - 1))
    weight = jnp.ones(len(index), rows.x.dtype) if taken.weight is None else taken.weight
    return dataclasses.replace(taken, weight=jnp.where(index < n, weight, 0))
