"""Rows from CSV, NPY and Parquet files, for the command line.

A file that cannot be used raises ValueError with a message of one line.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..internal.feature_names import default_feature_names

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Records(NamedTuple):
    """The rows of a file in float64, and a description of their columns."""

    x: np.ndarray  # (n, d)
    names: list[str]
    named: bool  # whether the names come from the file
    weight: np.ndarray | None  # (n,)
    dropped: int  # the number of incomplete rows that were left out


class RawTable(NamedTuple):
    """The content of a file before its columns are chosen."""

    names: list[str]
    named: bool
    cells: np.ndarray | Sequence[Sequence[str]]  # numbers (n, d), or rows of text
    locate: Callable[[int], str]  # from the index of a row to its place, e.g. "line 3"


def read_table(
    path: str, columns: list[str] | None = None, weight: str | None = None, drop: bool = False,
    features: list[str] | None = None,
) -> Records:  # fmt: skip
    """Return the rows of a file.

    Args:
      path: the file, or "-" for CSV on stdin. A file that ends in .npy (two axes) or .parquet is
        read as such; anything else is CSV, separated by commas, tabs or semicolons. If no cell of
        the first line of a CSV file is a number, that line names the columns.
      columns: the columns to read, by name or by number from 1, or None for all.
      weight: the column with row weights, which is not one of the features, or None.
      drop: whether to leave out rows with a missing cell. Otherwise they raise an error.
      features: the names of a model's features, or None. If the file names its columns and
        `columns` is None, the columns with these names are read, in this order.

    Raises:
      ValueError: for a file that is empty, ragged or not numeric, or that lacks a column.
      OSError: if the file cannot be read.
      ImportError: for Parquet if pyarrow is not installed.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind == ".npz":
        raise ValueError(
            f"{path} is a .npz file, the format of models: pass rows as CSV, .npy or .parquet."
        )
    readers = {".npy": _read_npy, ".parquet": _read_parquet}
    table = readers.get(kind, _read_csv)(path)
    names, shown = table.names, _shown(path)
    if not len(table.cells):
        raise ValueError(f"{shown} has no rows.")
    repeated = [name for name in names if table.named and names.count(name) > 1]
    if repeated:
        raise ValueError(f"{shown} has two columns called {repeated[0]!r}: rename one of them.")
    weight_index = None if weight is None else _index_of(weight, names, shown)
    chosen = _choose_columns(table, columns, features, weight_index, shown)
    read = chosen if weight_index is None else [*chosen, weight_index]
    x = np.stack([_numbers(table, i, shown) for i in read], axis=1)
    complete = np.isfinite(x).all(axis=1)
    dropped = int(np.sum(~complete))
    if dropped and not drop:
        row = int(np.argmin(complete))
        column = names[read[int(np.argmin(np.isfinite(x[row])))]]
        raise ValueError(
            f"{shown}: column {column!r} has no finite number in {table.locate(row)} (incomplete "
            f"rows: {dropped}): leave such rows out with --drop-missing."
        )
    x = x[complete]
    if not len(x):
        raise ValueError(f"{shown} has no complete rows.")
    return Records(
        x=x if weight_index is None else x[:, :-1],
        names=[names[i] for i in chosen],
        named=table.named,
        weight=None if weight_index is None else x[:, -1],
        dropped=dropped,
    )


def refuse_constant_columns(rows: Records, path: str) -> Records:
    """Return the rows, or raise ValueError if a column is constant and so has no variance."""
    constant = np.ptp(rows.x, axis=0) == 0
    if constant.any():
        others = [name for name, same in zip(rows.names, constant, strict=True) if not same]
        advice = f"leave it out, e.g. {_option(others)}" if others else "there is nothing to fit"
        column = f"{_shown(path)}: column {rows.names[int(np.argmax(constant))]!r}"
        raise ValueError(f"{column} has the same value in every row: {advice}.")
    return rows


def parse_columns(text: str) -> list[str]:
    """Return the columns that --columns lists, where quotes enclose a name with a comma."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def _choose_columns(
    table: RawTable, columns: list[str] | None, features: list[str] | None,
    weight_index: int | None, shown: str,
) -> list[int]:  # fmt: skip
    """Return the indices of the feature columns. See `read_table` for the arguments."""
    names = table.names
    if columns is None and features is not None and table.named:
        chosen = [_index_of_feature(feature, names, shown) for feature in features]
    elif columns is None:
        chosen = [i for i in range(len(names)) if i != weight_index]
        if "" in names:  # usually the index of a data frame
            named = _option([name for name in names if name])
            raise ValueError(
                f"{shown}: column {names.index('') + 1} has no name and may be an index: choose "
                f"the columns, e.g. {named}."
            )
    else:
        chosen = [_index_of(column, names, shown) for column in columns]
        repeated = [names[i] for i in chosen if chosen.count(i) > 1]
        if repeated:
            raise ValueError(f"column {repeated[0]!r} is chosen twice: choose each column once.")
        if features is not None and table.named:
            _check_order([names[i] for i in chosen], features)
    if not names:
        raise ValueError(f"{shown} has no columns.")
    if not chosen:
        raise ValueError(f"{shown} has no column besides the weight column.")
    if weight_index in chosen:
        raise ValueError(
            f"column {names[weight_index]!r} is chosen both as weight and as feature: leave it out "
            "of --columns."
        )
    return chosen


def _index_of(column: str, names: list[str], shown: str) -> int:
    if column in names:
        return names.index(column)
    if column.isdigit() and 1 <= int(column) <= len(names):
        return int(column) - 1
    raise ValueError(f"{shown} has no column {column!r}: its columns are {_abridged(names)}.")


def _index_of_feature(feature: str, names: list[str], shown: str) -> int:
    if feature in names:
        return names.index(feature)
    raise ValueError(
        f"{shown} has no column {feature!r}, which the model was fitted to: its columns are "
        f"{_abridged(names)}. Choose the columns of the model's features with --columns."
    )


def _check_order(chosen: list[str], features: list[str]) -> None:
    """Raise ValueError if the chosen columns are the model's features in another order."""
    for column, feature in zip(chosen, features, strict=False):
        if column != feature and column in features:
            raise ValueError(
                f"column {column!r} is chosen in the place of the model's feature {feature!r}: "
                "omit --columns to match the columns by name."
            )


def _numbers(table: RawTable, i: int, shown: str) -> np.ndarray:
    """Return column i in float64, with NaN for each missing cell."""
    if isinstance(table.cells, np.ndarray):
        return table.cells[:, i]
    values = np.empty(len(table.cells))
    for row, cells in enumerate(table.cells):
        cell = cells[i].strip()
        try:
            values[row] = np.nan if cell.lower() in MISSING else float(cell)
        except ValueError:
            place = table.locate(row)
            raise ValueError(
                f"{shown}: column {table.names[i]!r} contains text ({cell!r} in {place}): "
                f"{_advice_on_text(table, place)}"
            ) from None
    return values


def _advice_on_text(table: RawTable, place: str) -> str:
    """Return what to do about a cell of text at this place."""
    if place == "line 1":
        return "if that line is the header, none of the column names may be a number."
    numeric = [name for j, name in enumerate(table.names) if _is_numeric(table, j)]
    if not numeric:
        return (
            "no column contains only numbers. Separate the columns by commas, tabs or semicolons, "
            "and write decimals with a point."
        )
    return f"choose numeric columns, e.g. {_option(numeric)}."


def _is_numeric(table: RawTable, i: int) -> bool:
    """Return whether column i contains numbers and nothing but numbers and missing cells."""
    cells = {line[i].strip() for line in table.cells}
    return any(map(_is_number, cells)) and all(
        _is_number(cell) or cell.lower() in MISSING for cell in cells
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _shown(path: str) -> str:
    return "stdin" if path == "-" else path


def _option(names: list[str]) -> str:
    """Return --columns with these names, quoted for a shell."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return f"--columns {shlex.quote(line.getvalue())}"


def _abridged(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _read_csv(path: str) -> RawTable:
    shown = _shown(path)
    if path == "-" and sys.stdin is None:
        raise ValueError("stdin is closed: pass the name of a file.")
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{shown} is not a text file in UTF-8.") from None
    head = "".join(text.lstrip().splitlines()[:1])
    if not head:
        raise ValueError(f"{shown} is empty.")
    delimiter = max(",\t;", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
    try:
        lines = [(reader.line_num, line) for line in reader if "".join(line).strip() or line[1:]]
    except csv.Error as error:
        raise ValueError(f"{shown} is not a CSV file: {error}.") from None
    first = lines[0][1]
    for number, line in lines:
        if len(line) != len(first):
            counts = f"{len(line)} instead of {len(first)}"
            raise ValueError(f"{shown}: line {number} has the wrong number of fields: {counts}.")
    named = not any(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if named else default_feature_names(len(first))
    numbers, cells = zip(*lines, strict=True)
    return RawTable(names, named, cells[named:], lambda row: f"line {numbers[row + named]}")


def _read_npy(path: str) -> RawTable:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path} is not a NumPy file of numbers, or it is damaged.") from None
    is_table = isinstance(array, np.ndarray) and array.ndim in (1, 2)
    if not is_table or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{path} does not contain a table of numbers: save an array with rows and columns."
        )
    array = array.reshape(len(array), *array.shape[1:] or (1,)).astype(np.float64)
    return RawTable(
        default_feature_names(array.shape[1]), False, array, lambda row: f"row {row + 1}"
    )


def _read_parquet(path: str) -> RawTable:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(f"{path} needs pyarrow: install it, or pass CSV or NPY.") from None
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid:
        raise ValueError(f"{path} is not a Parquet file, or it is damaged.") from None
    columns = [table.column(name).to_pylist() for name in table.column_names]
    cells = [["" if value is None else str(value) for value in column] for column in columns]
    rows = list(zip(*cells, strict=True))
    return RawTable(list(table.column_names), True, rows, lambda row: f"row {row + 1}")
