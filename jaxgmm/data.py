"""What may be given as x, and how a program runs on it.

Whatever needs data says `data.compute(function, *operands, **static)`: function gets the rows (see
`rows.py`) and runs as one program, wherever the rows are. To add a kind of data, add a class with
this contract and a line in `opened`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from . import checks, row_checks, source_checks
from .mixture import Mixture
from .rows import Held, Rows, Source
from .shards import Shards, sharded, spread_over
from .stream import Stream, StreamData

# Rows that stand for all of them where a start is made from a sample.
SAMPLE_ROWS = 1 << 16


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ArrayData(Held):
    """An array, possibly traced."""

    x: jax.Array
    weight: jax.Array | None
    rows_per_block: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def n(self) -> int:
        """How many rows there are."""
        return len(self.x)

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


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _compiled(x, weight, operands, function, static, rows_per_block):
    return function(Rows.of(x, weight, rows_per_block), *operands, **dict(static))


def opened(
    x, weight=None, *, like=None, devices: Sequence | None = None, beside: Any = None
) -> Data:
    """Whatever may be given as x, checked. An array of many rows is spread over `devices`, all
    local ones by default, unless it was put on a device already, or it or what will be computed
    `beside` it is traced.

    Whole numbers take the dtype `like`, or JAX's default. Raises ValueError for what are not finite
    rows with weights."""
    source_checks.devices(devices)
    if isinstance(x, Stream):
        survey = x.survey
        dtype = checks.float_dtype(survey.dtype, like)
        weight = row_checks.weights_of_rows(weight, survey.n, dtype)
        weight = None if weight is None else np.asarray(weight)
        return StreamData(x, weight, dtype, spread_over(devices, survey.n))
    if isinstance(x, Shards):
        return sharded(x, weight, like)
    rows_per_block, mesh = None, None
    if isinstance(x, Blocks):
        x, rows_per_block = x.array, checks.whole(x.block_rows, "block_rows", 1)
    elif _may_spread(x, weight, beside):
        mesh = spread_over(devices, len(x))
    if mesh is not None:
        return sharded(Shards(x, mesh), weight, like)
    x = row_checks.data(x, like=like)
    return ArrayData(x, row_checks.weights_of_rows(weight, len(x), x.dtype), rows_per_block)


def _may_spread(x, weight, beside) -> bool:
    """Whether x is an array that is not traced, and that nobody put on a device."""
    if checks.traced(x, weight, beside) or len(getattr(x, "shape", ())) != 2:
        return False
    return not any(isinstance(array, jax.Array) and array.committed for array in (x, weight))


def sampled(key: jax.Array, x, weight):
    """An array to make a start from, and its weights: of a stream or shards, SAMPLE_ROWS rows drawn
    without replacement (all, if there are no more), each with its weight; an array as it is."""
    if isinstance(x, Blocks):
        return x.array, weight
    if not isinstance(x, Source):
        return x, weight
    source_checks.on_host(key)
    data = opened(x, weight)
    if data.n <= SAMPLE_ROWS:
        index = np.arange(data.n)
    else:
        draw = np.random.default_rng(np.asarray(jax.random.key_data(key))).choice
        index = np.sort(draw(data.n, SAMPLE_ROWS, replace=False, shuffle=False))
    return data.rows_at(index)


def admitted(mixture: Mixture, x, weight=None, devices=None) -> tuple[Mixture, Data]:
    """A checked mixture and checked rows in one dtype, the wider of the two."""
    checks.one_mixture(mixture)
    data = opened(x, weight, like=mixture.dtype, devices=devices, beside=mixture)
    row_checks.same_features(mixture.n_features, data.n_features)
    dtype = jnp.promote_types(data.dtype, mixture.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture), data.astype(dtype)
