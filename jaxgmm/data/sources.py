"""The kinds of data that functions accept as x, and the contract that checked data fulfill."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import numpy as np
from jax.typing import DTypeLike

from .columns import Columns, features_of, rescale_rows

# x (m, d) and row weights (m,), or None if every row counts once.
RowsAndWeights = tuple[np.ndarray | jax.Array, np.ndarray | jax.Array | None]


class Source:
    """Base class of what can be passed as x besides an array: `Blocks`, `Shards` and `Stream`."""


class Data(Protocol):
    """Checked rows with their weights, on which programs run; `open_data` makes them."""

    @property
    def n(self) -> int:
        """The number of rows, without padding."""

    @property
    def n_features(self) -> int:
        """The number d of features."""

    @property
    def columns(self) -> Columns | None:
        """What the columns hold if the rows are not fully observed, or None."""

    @property
    def dtype(self) -> np.dtype:
        """The dtype in which programs compute."""

    def astype(self, dtype: DTypeLike) -> Data:
        """Return the same rows with another dtype."""

    def rescale(self, exponent: int) -> Data:
        """Return the rows times 2 to the power `exponent`, with what is known beside them."""

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value (d,) of each feature."""

    def pieces(self) -> Iterator[RowsAndWeights]:
        """Yield the features with the row weights, a piece at a time."""

    def rows_at(self, index: np.ndarray) -> RowsAndWeights:
        """Return the rows at these positions, which are in ascending order, with their weights."""

    def compute(
        self, function: Callable[..., Any], *operands: Any, quickly: bool = False, **static: Any
    ) -> Any:
        """Return function(rows, *operands, **static), compiled.

        Static arguments are hashable. With `quickly`, a program for rows in one array on a CPU
        takes half the time to compile, and up to half as long again to run.
        """

    def compute_once(
        self,
        function: Callable[..., Any],
        *operands: Any,
        numbers: float | None = None,
        **static: Any,
    ) -> Any:
        """Return the same by a program that runs once, and computes about as many numbers."""


class RunsPrograms:
    """Base class of data that run all programs in the same way."""

    def compute(
        self, function: Callable[..., Any], *operands: Any, quickly: bool = False, **static: Any
    ) -> Any:
        """Return function(rows, *operands, **static), compiled."""
        raise NotImplementedError

    def compute_once(
        self,
        function: Callable[..., Any],
        *operands: Any,
        numbers: float | None = None,
        **static: Any,
    ) -> Any:
        """Return the result of `compute`, compiled as any other program."""
        return self.compute(function, *operands, **static)


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory(RunsPrograms):
    """Base class of data that are arrays: x (n, d) and row weights (n,) or None.

    If the rows are not fully observed, x is packed, and `columns` says what its columns hold.
    """

    x: jax.Array
    weight: jax.Array | None
    columns: Columns | None = dataclasses.field(
        default=None, kw_only=True, metadata={"static": True}
    )

    @property
    def n_features(self) -> int:
        """The number d of features."""
        return self.x.shape[1] if self.columns is None else self.columns.features

    @property
    def features(self) -> jax.Array:
        """The features (n, d) with padding rows, and NaN for missing values."""
        return features_of(self.x, self.columns)

    @property
    def dtype(self) -> np.dtype:
        """The dtype in which programs compute."""
        return self.x.dtype

    def astype(self, dtype: DTypeLike) -> Any:
        """Return the same rows with another dtype."""
        if dtype == self.dtype:
            return self
        weight = None if self.weight is None else self.weight.astype(dtype)
        return dataclasses.replace(self, x=self.x.astype(dtype), weight=weight)

    def rescale(self, exponent: int) -> Any:
        """Return a copy of the rows times 2 to the power `exponent`."""
        return dataclasses.replace(self, x=rescale_rows(self.x, self.columns, exponent))


@dataclasses.dataclass(frozen=True)
class Blocks(Source):
    """An array whose sums are computed in blocks of a chosen number of rows.

    By default a block fits the cache of a core (or fills a GPU). Functions that accept `Blocks`
    raise ValueError if `block_rows` is not a whole number of at least 1.

    Args:
      array: rows (n, d).
      block_rows: the number of rows in a block.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> blocks = jaxgmm.Blocks(x, 64)
    >>> bool(jnp.allclose(jaxgmm.log_likelihood(start, blocks), jaxgmm.log_likelihood(start, x)))
    True
    """

    array: Any
    block_rows: int
