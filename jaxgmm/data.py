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

from . import checks, forks, row_checks, source_checks
from .compiling import LITTLE_TO_RUN_ONCE, jitted
from .mixture import Mixture
from .reading import StreamData
from .resolution import rounded_columns
from .rows import BUCKETED_ROWS, Held, Rows, Source, bucket
from .shards import Shards, sharded, spread_over
from .stream import Stream

# A larger NumPy array is read where it is, as a stream of itself, where JAX's copy of it would take
# the same memory again.
COPIED_BYTES = 1 << 26


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
        return jitted(_of_rows, quickly=True, runs_once=little)(static, self.x, self.weight)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _compiled(x, weight, operands, function, static, rows_per_block):
    return function(Rows.of(x, weight, rows_per_block), *operands, **dict(static))


def _of_rows(static: tuple[Callable[..., Any], int | None], x, weight):
    function, rows_per_block = static
    return function(Rows.of(x, weight, rows_per_block))


def opened(
    x, weight=None, *, like=None, devices: Sequence | None = None, beside: Any = None,
    judge=rounded_columns,
) -> Data:  # fmt: skip
    """Whatever may be given as x, checked. An array of many rows is spread over `devices`, all
    local ones by default, unless it was put on a device already, or it or what will be computed
    `beside` it is traced.

    Whole numbers take the dtype `like`, or JAX's default. `judge` is as for `row_checks.checked`.
    Raises ValueError for what are not finite rows with weights."""
    forks.refuse()
    source_checks.devices(devices)
    if isinstance(x, Stream | Shards):
        source_checks.untraced_rows(weight, "weight")
    if isinstance(x, Stream):
        return _streamed(x, weight, devices, checks.float_dtype(x.survey.dtype, like))
    if isinstance(x, Shards):
        return sharded(x, weight, like, judge)
    rows_per_block = None
    if isinstance(x, Blocks):
        x, rows_per_block = x.array, checks.whole(x.block_rows, "block_rows", 1)
    found, dtype = row_checks.checked(x, like=like, judge=judge)
    if not checks.traced(found, weight, beside):
        if rows_per_block is None and _stays_on_host(found, dtype):
            return _streamed(Stream(found), weight, devices, dtype)
        mesh = None if _placed(found, weight) else spread_over(devices, len(found))
        if rows_per_block is None and mesh is not None:
            return sharded(Shards(found, mesh), weight, like, None)
        return held(found, weight, dtype, rows_per_block)
    x = checks.cast(found, "x", dtype)
    return ArrayData(x, row_checks.weights_of_rows(weight, len(x), dtype), rows_per_block)


def _streamed(stream: Stream, weight, devices, dtype) -> StreamData:
    n = stream.survey.n
    weight = row_checks.weights_of_rows(weight, n, dtype)
    weight = None if weight is None else np.asarray(weight)
    return StreamData(stream, weight, dtype, spread_over(devices, n))


def _stays_on_host(x, dtype) -> bool:
    large = x.size * np.dtype(dtype).itemsize > COPIED_BYTES
    return large and isinstance(x, np.ndarray) and jax.default_backend() == "cpu"


def _placed(*arrays) -> bool:
    """Whether somebody put one of them on a device."""
    return any(isinstance(array, jax.Array) and array.committed for array in arrays)


def held(x, weight, dtype, rows_per_block=None) -> ArrayData:
    """An array with rows of weight 0 at its end, so that nearby n share a program (see `bucket`).
    One on several devices stays as it is."""
    n, d = x.shape
    weight = row_checks.weights_of_rows(weight, n, dtype)
    if n > BUCKETED_ROWS or (isinstance(x, jax.Array) and len(x.devices()) > 1):
        return ArrayData(checks.cast(x, "x", dtype), weight, rows_per_block)
    size = bucket(n)
    rows, counts = np.empty((size, d), dtype), np.zeros(size, dtype)
    rows[:n] = checks.narrowed(np.asarray(x), "x", dtype)
    rows[n:] = rows[0]
    counts[:n] = 1 if weight is None else weight
    device = next(iter(x.devices())) if _placed(x) else None
    return ArrayData(*jax.device_put((rows, counts), device), rows_per_block, size - n)


def admitted(
    mixture: Mixture, x, weight=None, devices=None, judge=rounded_columns
) -> tuple[Mixture, Data]:
    """A checked mixture and checked rows in one dtype, the wider of the two."""
    checks.one_mixture(mixture)
    data = opened(x, weight, like=mixture.dtype, devices=devices, beside=mixture, judge=judge)
    row_checks.same_features(mixture.n_features, data.n_features)
    dtype = jnp.promote_types(data.dtype, mixture.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture), data.astype(dtype)
