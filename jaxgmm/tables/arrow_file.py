"""Parquet and Arrow (Feather) files, read by pyarrow one column at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .raw_table import Kind, Majority, RawTable, plain_name

PARQUET, ARROW = b"PAR1", b"ARROW1"
SUFFIXES = (".parquet", ".pq", ".feather", ".arrow")


def read_arrow(path: str, shown: str) -> RawTable:
    """Return the table of a Parquet or Arrow file, whose columns are read when they are converted.

    Raises:
      ImportError: if pyarrow is not installed.
      ValueError: for a damaged file.
    """
    try:
        import pyarrow
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            f"{shown} needs pyarrow: install it (python -m pip install pyarrow), or pass CSV or "
            ".npy."
        ) from None
    read: Callable[[str], Iterable[Any]]
    try:
        with open(path, "rb") as file:
            is_parquet = file.read(len(ARROW)) != ARROW
        if is_parquet:
            # Without these options, a whole row group is held in memory beside its numbers.
            source = pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
            schema, n = source.schema_arrow, source.metadata.num_rows
            read = functools.partial(_read_parquet_column, source)
        else:
            table = pyarrow.feather.read_table(path, memory_map=True)
            schema, n = table.schema, table.num_rows
            read = lambda name: table.column(schema.names.index(name)).chunks
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{shown} is not a Parquet or Arrow file, or it is damaged: write it again."
        ) from None
    columns = [
        ArrowColumn(functools.partial(read, field.name), _kind(field.type), n, shown)
        for field in schema
    ]
    return RawTable(
        names=[plain_name(name) for name in schema.names],
        named=True,
        columns=columns,
        n=n,
        locate=lambda row: f"row {row + 1}",
        index=[plain_name(name) for name in _index_columns(schema.metadata or {})],
    )


def _read_parquet_column(source: Any, name: str) -> Iterator[Any]:
    """Yield the pieces of a column of a Parquet file as Arrow arrays."""
    for batch in source.iter_batches(columns=[name], use_threads=False):
        yield batch.column(batch.schema.names.index(name))


@dataclasses.dataclass
class ArrowColumn:
    """A column of a Parquet or Arrow file.

    Attributes:
      read: a function that returns the pieces of the column as Arrow arrays.
      kind: what the column holds.
      n: the number of rows.
      shown: the name of the file in messages.
    """

    read: Callable[[], Iterable[Any]]
    kind: Kind
    n: int
    shown: str

    def numbers(self) -> np.ndarray:
        values, start = np.empty(self.n), 0
        for piece in self._pieces():
            values[start : start + len(piece)] = _as_float(piece)
            start += len(piece)
        return values

    def texts(self) -> list[str]:
        values = [value for piece in self._pieces() for value in piece.to_pylist()]
        return ["" if value is None else str(value) for value in values]

    def example(self) -> tuple[int, str]:
        start = 0
        for piece in self._pieces():
            for row in range(len(piece)):
                if piece[row].is_valid:
                    return start + row, str(piece[row].as_py())
            start += len(piece)
        return 0, ""

    @property
    def majority(self) -> Majority:
        return ""

    def _pieces(self) -> Iterator[Any]:
        import pyarrow

        try:
            yield from self.read()
        except (pyarrow.ArrowException, OSError):
            raise ValueError(f"{self.shown} is damaged: write it again.") from None


def _as_float(piece: Any) -> np.ndarray:
    """Return an Arrow array in float64, with NaN for nulls. Dates and durations are in days."""
    import pyarrow
    from pyarrow import types

    scale = 1.0
    if types.is_dictionary(piece.type):
        piece = piece.cast(piece.type.value_type)
    if types.is_boolean(piece.type):
        piece = piece.cast(pyarrow.int8())
    elif types.is_temporal(piece.type):
        unit = pyarrow.duration if types.is_duration(piece.type) else pyarrow.timestamp
        piece, scale = piece.cast(unit("us"), safe=False).cast(pyarrow.int64()), 86_400e6
    return piece.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False) / scale


def _kind(dtype: Any) -> Kind:
    """Return what a column of an Arrow type holds."""
    from pyarrow import types

    if types.is_dictionary(dtype):
        dtype = dtype.value_type
    if any(
        test(dtype)
        for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    ):
        return "numbers"
    if types.is_null(dtype):
        return "empty"
    if types.is_temporal(dtype) and not types.is_time(dtype):
        return "dates"
    return "nested" if types.is_nested(dtype) else "text"


def _index_columns(metadata: dict[bytes, bytes]) -> list[str]:
    """Return the columns that pandas wrote as the index of a data frame."""
    with contextlib.suppress(KeyError, ValueError, TypeError):
        index = json.loads(metadata[b"pandas"])["index_columns"]
        return [name for name in index if isinstance(name, str)]  # a range is not a column
    return []
