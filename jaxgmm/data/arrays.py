"""`ArrayData`: rows in one array."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ..internal.compiling import (
    LITTLE_TO_RUN_ONCE,
    call_with_options,
    is_outermost,
    jit_once,
    jit_with_options,
)
from ..internal.pytrees import pytree
from . import row_checks
from .columns import Columns
from .rows import Rows
from .sources import InMemory, RowsAndWeights

# A function of rows, its static arguments by name, and the static fields of `Rows`.
Static = tuple[Callable[..., Any], tuple[tuple[str, Any], ...], tuple[int | None, Columns | None]]


@pytree
@dataclasses.dataclass(frozen=True)
class ArrayData(InMemory):
    """An array, possibly traced, whose last rows may be padding.

    Attributes:
      x: rows (n + padding, d).
      weight: row weights (n + padding,), or None if every row counts once.
      rows_per_block: the number of rows in a block, or None to let each sum choose.
      padding: the number of padding rows, which have weight 0.
      order: the positions (n,) of these rows in the array that was passed, or None if they are in
        its order.
    """

    rows_per_block: int | None = dataclasses.field(default=None, metadata={"static": True})
    padding: int = dataclasses.field(default=0, metadata={"static": True})
    order: np.ndarray | None = None

    @property
    def n(self) -> int:
        """The number of rows, without padding."""
        return len(self.x) - self.padding

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value (d,) of each feature."""
        return row_checks.ends(np.asarray(self.features))

    def pieces(self) -> Iterator[RowsAndWeights]:
        """Yield all rows as a single piece."""
        yield self.features, self.weight

    def rows_at(self, index: np.ndarray) -> RowsAndWeights:
        """Return the rows at these positions with their weights."""
        return self.x[index], None if self.weight is None else self.weight[index]

    def compute(
        self, function: Callable[..., Any], *operands: Any, quickly: bool = False, **static: Any
    ) -> Any:
        """Return function(rows, *operands, **static), compiled."""
        arguments = self._static(function, static), self.x, self.weight, operands
        if quickly and jax.default_backend() == "cpu" and is_outermost(self, operands):
            quick = jit_with_options(_call_function, quickly=True, one_fit=True)
            return call_with_options(quick, _call, *arguments)
        return _call(*arguments)

    def compute_once(
        self,
        function: Callable[..., Any],
        *operands: Any,
        numbers: float | None = None,
        **static: Any,
    ) -> Any:
        """Return the result of `compute`, compiled quickly if the program computes few numbers.

        If no count of numbers is passed, the program makes a few passes for d² numbers of each row,
        and is compiled quickly for any number of rows.
        """
        if jax.default_backend() != "cpu" or not is_outermost(self, operands):
            return self.compute(function, *operands, **static)
        if numbers is None:
            little = self.x.size * self.n_features < LITTLE_TO_RUN_ONCE
            program = jit_with_options(_call_function, quickly=True, runs_once=little)
        else:
            program = jit_once(_call_function, numbers)
        return program(self._static(function, static), self.x, self.weight, operands)

    def _static(self, function: Callable[..., Any], static: dict[str, Any]) -> Static:
        """Return what a program of this function is compiled for."""
        return function, tuple(sorted(static.items())), (self.rows_per_block, self.columns)


def _call_function(
    static: Static, x: jax.Array, weight: jax.Array | None, operands: tuple[Any, ...]
) -> Any:
    function, names, layout = static
    return function(Rows.of(x, weight, *layout), *operands, **dict(names))


_call = jax.jit(_call_function, static_argnums=0)
