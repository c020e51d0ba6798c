"""The kinds of rows that a function takes, and what each of them provides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np


class Source:
    """Rows that are given otherwise than as an array: see `data.py`."""


class Held:
    """Rows that are held as arrays: a dataclass with x (n, d) and weight (n,) or None."""

    @property
    def n_features(self) -> int:
        """d."""
        return self.x.shape[1]

    @property
    def dtype(self):
        """The dtype that is computed in."""
        return self.x.dtype

    def astype(self, dtype):
        """The same rows in another dtype."""
        if dtype == self.dtype:
            return self
        weight = None if self.weight is None else self.weight.astype(dtype)
        return dataclasses.replace(self, x=self.x.astype(dtype), weight=weight)

    def compute_once(self, function):
        """function(rows), as any other program."""
        return self.compute(function)


class Data(Protocol):
    """Checked rows with their weights: n rows of n_features, computed in dtype."""

    n: int
    n_features: int
    dtype: Any

    def astype(self, dtype) -> Data:
        """The same rows, computed in another dtype."""

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value (d,) of each feature."""

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """(x, weight) as NumPy arrays, a part of the rows at a time."""

    def rows_at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(x, weight) of the rows at these places, in rising order."""

    def compute(self, function: Callable[..., Any], *operands: Any, **static: Any) -> Any:
        """function(rows, *operands, **static) as a program; static arguments are hashable."""

    def compute_once(self, function: Callable[..., Any]) -> Any:
        """function(rows) as a program that is worth little of the compiler's time."""


@dataclasses.dataclass(frozen=True)
class Blocks(Source):
    """An array (n, d) whose sums are made in blocks of so many rows, instead of the number that
    fits a core's cache (or fills a GPU). What takes it raises ValueError for block_rows that is not
    a whole number, 1 or more.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> blocks = jaxgmm.Blocks(x, 64)
    >>> bool(jnp.allclose(jaxgmm.log_likelihood(start, blocks), jaxgmm.log_likelihood(start, x)))
    True
    """

    array: Any
    block_rows: int
