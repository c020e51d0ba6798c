"""Rows out of files, for the command line: CSV, NPY, Parquet. Bad files raise ValueError, in one
sentence that says where and what to do."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shlex
import sys
from typing import NamedTuple

import numpy as np

from ..internal.feature_names import default_feature_names

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Records(NamedTuple):
    """Numbers (n, d) in float64, the names of their columns, whether the file gave the names, the
    row weights (n,) or None, and how many incomplete rows were left out."""

    x: np.ndarray
    names: list[str]
    named: bool
    weight: np.ndarray | None
    dropped: int


def read_table(
    path: str, columns: list[str] | None = None, weight: str | None = None, drop: bool = False,
    features: list[str] | None = None,
) -> Records:  # fmt: skip
    """The rows of a file, "-" being CSV on stdin.

    Args:
      path: ends in .npy (two axes) or .parquet; anything else is CSV, by commas, tabs or
        semicolons. If no cell of the first line is a number it names the columns.
      columns: which to take, by name or by number from 1; None takes all.
      weight: the column with row weights, which is not one of the features.
      drop: leaves out rows with a missing cell, which else raise.
      features: the names of a model's features. Where the file names its columns and none are
        chosen, they are taken by these names, wherever they stand.

    Raises:
      ValueError: for a file that is empty, ragged, not numbers, or lacks a column.
      OSError: where it cannot be read. ImportError: Parquet without pyarrow.
    """
    kind = os.path.splitext(path)[1].lower()
    readers = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
    names, named, table, where = readers.get(kind, _csv)(path)
    shown = "stdin" if path == "-" else path
    if not len(table):
        raise ValueError(f"{shown} has no rows.")
    if named:
        _distinct(names, shown)
    by_weight = None if weight is None else _place(weight, names, shown)
    if columns is None and features is not None and named:
        places = [_place_of_feature(feature, names, shown) for feature in features]
    elif columns is None:
        places = [i for i in range(len(names)) if i != by_weight]
        _no_index(names, shown)
    else:
        places = [_place(column, names, shown) for column in columns]
        repeated = [names[i] for i in places if places.count(i) > 1]
        if repeated:
            raise ValueError(f"column {repeated[0]!r} is chosen twice.")
        if features is not None and named:
            _same_places([names[i] for i in places], features)
    if not names:
        raise ValueError(f"{shown} has no columns.")
    if not places:
        raise ValueError(f"{shown} has no column but that of the weights.")
    if by_weight in places:
        raise ValueError(f"column {names[by_weight]!r} is chosen both as weight and as feature.")
    taken = places if by_weight is None else [*places, by_weight]
    x = np.stack([_numbers(table, i, names, shown, where) for i in taken], axis=1)
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
    values = x if by_weight is None else x[:, :-1]
    weights = None if by_weight is None else x[:, -1]
    return Records(values, [names[i] for i in places], named, weights, int(np.sum(~good)))


def refuse_constant_columns(rows: Records, path: str) -> Records:
    """The rows, unless a column holds one number alone, to which no covariance can be fitted: that
    raises ValueError."""
    same = np.ptp(rows.x, axis=0) == 0
    if same.any():
        others = [name for name, is_same in zip(rows.names, same, strict=True) if not is_same]
        advice = f"leave it out, as {_option(others)}" if others else "there is nothing to fit"
        shown, name = "stdin" if path == "-" else path, rows.names[int(np.argmax(same))]
        raise ValueError(f"{shown}: column {name!r} is the same in every row: {advice}.")
    return rows


def _distinct(names: list[str], shown: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{shown} has two columns called {name!r}: rename one of them.")


def _no_index(names: list[str], shown: str) -> None:
    """Refuses to take a column without a name for a feature: as a rule it is an index."""
    if "" in names:
        rest = _option([name for name in names if name])
        raise ValueError(
            f"{shown}: column {names.index('') + 1} has no name, as an index has none: choose "
            f"columns, as {rest}."
        )


def _place(column: str, names: list[str], shown: str) -> int:
    if column in names:
        return names.index(column)
    if column.isdigit() and 1 <= int(column) <= len(names):
        return int(column) - 1
    raise ValueError(f"{shown} has no column {column!r}: it has {_some(names)}.")


def _place_of_feature(feature: str, names: list[str], shown: str) -> int:
    if feature in names:
        return names.index(feature)
    raise ValueError(
        f"{shown} has no column {feature!r}, which the model was fitted to: it has {_some(names)}. "
        "Say with --columns which of them stand for the model's features."
    )


def _same_places(chosen: list[str], features: list[str]) -> None:
    """Refuses the model's own features in another order: a mixture of another table."""
    for column, feature in zip(chosen, features, strict=False):
        if column != feature and column in features:
            raise ValueError(
                f"column {column!r} is chosen in the place of the model's feature {feature!r}: "
                "leave --columns out, and the columns are found by their names."
            )


def parse_columns(text: str) -> list[str]:
    """The columns of --columns: by commas, and quoted where a name holds one."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def _option(names: list[str]) -> str:
    """--columns with these names, as a shell takes it."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return f"--columns {shlex.quote(line.getvalue())}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _numbers(table, i: int, names: list[str], shown: str, where) -> np.ndarray:
    """One column as float64, NaN where a cell is missing."""
    if isinstance(table, np.ndarray):
        return table[:, i]
    values = np.empty(len(table))
    for row, cells in enumerate(table):
        cell = cells[i].strip()
        try:
            values[row] = np.nan if cell.lower() in MISSING else float(cell)
        except ValueError:
            numeric = [names[j] for j in range(len(names)) if _is_numeric(table, j)]
            advice = f"choose columns of numbers, as {_option(numeric)}."
            if where(row) == "line 1":
                advice = "if that line names the columns, none of the names may be a number."
            elif not numeric:
                advice = (
                    "no column holds numbers alone. Commas, tabs or semicolons go between columns, "
                    "and a point before decimals."
                )
            raise ValueError(
                f"{shown}: column {names[i]!r} holds text ({cell!r} in {where(row)}): {advice}"
            ) from None
    return values


def _is_numeric(table, i: int) -> bool:
    cells = {line[i].strip() for line in table}
    return any(map(_is_number, cells)) and all(
        _is_number(cell) or cell.lower() in MISSING for cell in cells
    )


def _csv(path: str):
    shown = "stdin" if path == "-" else path
    if path == "-" and sys.stdin is None:
        raise ValueError("stdin is closed: name a file.")
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
            raise ValueError(
                f"{shown}: line {number} has {_fields(len(line))}, and the first line {len(first)}."
            )
    named = not any(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if named else default_feature_names(len(first))
    numbers, cells = zip(*lines, strict=True)
    return names, named, cells[named:], lambda row: f"line {numbers[row + named]}"


def _fields(count: int) -> str:
    return f"{count} field" + "s" * (count != 1)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(row: int) -> str:
    return f"row {row + 1}"


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
    table = table.reshape(len(table), *table.shape[1:] or (1,)).astype(np.float64)
    return default_feature_names(table.shape[1]), False, table, _row


def _npz(path: str):
    raise ValueError(f"{path} is a .npz, as models are kept: rows come as CSV, .npy or .parquet.")


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
    return list(found.column_names), True, list(zip(*cells, strict=True)), _row
