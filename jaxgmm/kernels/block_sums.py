"""The sums of one block of rows by any kernel, with what is known of the rows' components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax

from ..data.columns import Block
from ..numerics.products import matmul
from .conditional import Conditional
from .double import Double
from .protocol import Kernel
from .responsibilities import Rule, of_lane, weighted_responsibilities

Result = TypeVar("Result")


def sums_of_block(kernel: Kernel, block: Block, weight: jax.Array) -> Any:
    """Return a block's sums for `kernel.statistics`, and its log-likelihood Σ w log p."""
    return sums_by_rules(kernel, block, weight, (weighted_responsibilities,))[0]


def sums_by_rules(
    kernel: Kernel, block: Block, weight: jax.Array, rules: Sequence[Rule]
) -> tuple[Any, ...]:
    """Return a block's sums for `kernel.statistics`, and the sum of its rows' values, by each rule.

    The log-joint is computed once.
    """

    def of_branch(branch: Any, block: Block, weight: jax.Array) -> tuple[Any, ...]:
        # Between the double kernel's products, a batch's responsibilities need no conversions.
        if isinstance(branch, Double) and tuple(rules) == (of_lane,) and not block.odds:
            return (branch.sums_of_lane(block.x, weight),)
        joint, intermediate = _log_joint(branch, block)
        x = block.x if branch is kernel else block

        def sums(rule: Rule) -> Any:
            weighted, value = rule(joint, weight)
            return branch.sums(x, intermediate, weighted), matmul(weight, value)

        return tuple(map(sums, rules))

    return _by_branch(kernel, of_branch, block, weight)


def log_joint_of_block(kernel: Kernel, block: Block) -> jax.Array:
    """Return the log-joint (k, b) of a block, with labels and log-odds."""
    return _by_branch(kernel, lambda branch, block: _log_joint(branch, block)[0], block)


def _by_branch(kernel: Kernel, function: Callable[..., Result], block: Block, *rest: Any) -> Result:
    """Return function(branch, block, *rest) for the branch of the kernel that suits the block."""
    if isinstance(kernel, Conditional):
        return kernel.switch(function, block, *rest)
    return function(kernel, block, *rest)


def _log_joint(branch: Any, block: Block) -> tuple[jax.Array, Any]:
    of_rows = getattr(branch, "log_joint_of", None)  # a branch of the conditional kernel
    joint, intermediate = branch.log_joint(block.x) if of_rows is None else of_rows(block)
    return block.add_odds(joint), intermediate
