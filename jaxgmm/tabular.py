"""Rows out of files, for the command line: CSV, NPY, Parquet. Bad files raise ValueError, in one
sentence that says where and what to do."""

from __future__ import annotations

import csv
import io
import os
import sys
from typing import NamedTuple

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Records(NamedTuple):
    """Numbers (n, d) in float64, the names of their columns, the row weights (n,) or None, and how
    many incomplete rows were left out."""

    x: np.ndarray
    names: list[str]
    weight: np.ndarray | None
    dropped: int


def read(
    path: str, columns: list[str] | None = None, weight: str | None = None, drop: bool = False
) -> Records:
    """The rows of a file, "-" being CSV on stdin.

    Args:
      path: ends in .npy (two axes) or .parquet; anything else is CSV, by commas, tabs or
        semicolons. If no cell of the first line is a number it names the columns.
      columns: which to take, by name or by number from 1; None takes all.
      weight: the column with row weights, which is not one of the features.
      drop: leaves out rows with a missing cell, which else raise.

    Raises:
      ValueError: for a file that is empty, ragged, not numbers, or lacks a column.
      OSError: where it cannot be read. ImportError: Parquet without pyarrow.
    """
    kind = os.path.splitext(path)[1].lower()
    names, table, where = {".npy": _npy, ".parquet": _parquet}.get(kind, _csv)(path)
    shown = "stdin" if path == "-" else path
    if not len(table):
        raise ValueError(f"{shown} has no rows.")
    by_weight = None if weight is None else _place(weight, names, shown)
    if columns is None:
        places = [i for i in range(len(names)) if i != by_weight]
    else:
        places = [_place(column, names, shown) for column in columns]
        repeated = [names[i] for i in places if places.count(i) > 1]
        if repeated:
            raise ValueError(f"column {repeated[0]!r} is chosen twice.")
    if not places:
        raise ValueError(f"{shown} has no column but that of the weights.")
    taken = places if by_weight is None else [*places, by_weight]
    x = np.stack([_numbers(table, i, names[i], shown, where) for i in taken], axis=1)
    good = np.isfinite(x).all(axis=1)
    if not good.all() and not drop:
        row = int(np.argmin(good))
        column = names[taken[int(np.argmin(np.isfinite(x[row])))]]
        raise ValueError(
            f"{shown}: column {column!r} has no finite number in {where(row)} (incomplete rows: "
            f"{int(np.sum(~good))}): leave such rows out with --drop-missing."
        )
    x = x[good]
    if not len(x):
        raise ValueError(f"{shown} has no complete rows.")
    features = x if by_weight is None else x[:, :-1]
    weights = None if by_weight is None else x[:, -1]
    return Records(features, [names[i] for i in places], weights, int(np.sum(~good)))


def _place(column: str, names: list[str], shown: str) -> int:
    if column in names:
        return names.index(column)
    if column.isdigit() and 1 <= int(column) <= len(names):
        return int(column) - 1
    known = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    raise ValueError(f"{shown} has no column {column!r}: it has {known}.")


def _numbers(table, i: int, name: str, shown: str, where) -> np.ndarray:
    """One column as float64, NaN where a cell is missing."""
    if isinstance(table, np.ndarray):
        return table[:, i]
    values = np.empty(len(table))
    for row, cells in enumerate(table):
        cell = cells[i].strip()
        try:
            values[row] = np.nan if cell.lower() in MISSING else float(cell)
        except ValueError:
            raise ValueError(
                f"{shown}: column {name!r} holds text ({cell!r} in {where(row)}): "
                "choose columns of numbers with --columns."
            ) from None
    return values


def _csv(path: str):
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8-sig", newline="") as file:
                text = file.read()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8.") from None
    shown = "stdin" if path == "-" else path
    head = text.lstrip().split("\n", 1)[0]
    if not head:
        raise ValueError(f"{shown} is empty.")
    delimiter = max(",\t;", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise ValueError(f"{shown} is not a CSV file: {error}.") from None
    first = lines[0][1]
    for number, line in lines:
        if len(line) != len(first):
            raise ValueError(
                f"{shown}: line {number} has {len(line)} fields, and the first line {len(first)}."
            )
    named = not any(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if named else _numbered(len(first))
    numbers, cells = zip(*lines, strict=True)
    return names, cells[named:], lambda row: f"line {numbers[row + named]}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(row: int) -> str:
    return f"row {row + 1}"


def _numbered(d: int) -> list[str]:
    return [f"feature {i + 1}" for i in range(d)]


def _npy(path: str):
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path} is not a NumPy file of numbers, or it is damaged.") from None
    if (
        not isinstance(table, np.ndarray)
        or table.ndim not in (1, 2)
        or table.dtype.kind not in "fiub"
    ):
        raise ValueError(f"{path} does not hold a table of numbers with rows and columns.")
    table = table.reshape(len(table), -1).astype(np.float64)
    return _numbered(table.shape[1]), table, _row


def _parquet(path: str):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(f"{path} needs pyarrow: install it, or pass CSV or NPY.") from None
    try:
        found = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid:
        raise ValueError(f"{path} is not a Parquet file, or it is damaged.") from None
    columns = [found.column(name).to_pylist() for name in found.column_names]
    cells = [["" if value is None else str(value) for value in column] for column in columns]
    return list(found.column_names), list(zip(*cells, strict=True)), _row
