"""Rows that are held in one array."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ..internal import checks
from ..internal.compiling import LITTLE_TO_RUN_ONCE, jit_with_options
from .rows import Rows
from .sources import Held


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ArrayData(Held):
    """An array, possibly traced, whose last rows may be padding."""

    x: jax.Array
    weight: jax.Array | None
    rows_per_block: int | None = dataclasses.field(default=None, metadata={"static": True})
    padding: int = dataclasses.field(default=0, metadata={"static": True})

    @property
    def n(self) -> int:
        """How many rows there are."""
        return len(self.x) - self.padding

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of each feature."""
        values = np.asarray(self.x)
        return values.min(axis=0), values.max(axis=0)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """All at once."""
        yield self.x, self.weight

    def rows_at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """These rows."""
        return self.x[index], None if self.weight is None else self.weight[index]

    def compute(self, function: Callable[..., Any], *operands: Any, **static: Any) -> Any:
        """function(rows, *operands, **static), compiled."""
        names = tuple(sorted(static.items()))
        return _compiled(self.x, self.weight, operands, function, names, self.rows_per_block)

    def compute_once(self, function: Callable[..., Any]) -> Any:
        """function(rows), compiled quickly: for a program that runs once or a few times."""
        if checks.traced(self) or jax.default_backend() != "cpu":
            return self.compute(function)
        static = (function, self.rows_per_block)
        little = self.x.size * self.n_features < LITTLE_TO_RUN_ONCE
        compiled = jit_with_options(_of_rows, quickly=True, runs_once=little)
        # Compiler options are for programs that are no part of another one.
        with jax.ensure_compile_time_eval():
            return compiled(static, self.x, self.weight)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _compiled(x, weight, operands, function, static, rows_per_block):
    return function(Rows.of(x, weight, rows_per_block), *operands, **dict(static))


def _of_rows(static: tuple[Callable[..., Any], int | None], x, weight):
    function, rows_per_block = static
    return function(Rows.of(x, weight, rows_per_block))
