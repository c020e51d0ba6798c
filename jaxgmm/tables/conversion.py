"""Columns to numbers: what a column must hold, and which columns look like something else."""

from __future__ import annotations

import numpy as np

from .cells import days as days_of
from .column_choice import columns_option, find_index, selectors
from .columns import RawTable
from .options import ReadOptions

# Numbers that stand for a missing value in many data sets.
SENTINELS = (-9.0, -99.0, -999.0, -9999.0, -99999.0, -999.9, -99.9)


def convert_column(table: RawTable, i: int, options: ReadOptions, shown: str) -> np.ndarray:
    """Return column i as numbers (n,), with NaN for each missing cell.

    A column of dates is converted to days since 1970-01-01 if the user chose the columns.

    Raises ValueError for a column that does not hold numbers, with what to do.
    """
    column, name = table.columns[i], table.names[i]
    head = f"{shown}: column {name!r}"
    chosen = options.columns is not None or options.weight is not None
    if column.kind == "numbers" or (column.kind == "dates" and chosen):
        try:
            values = column.numbers()
        except ValueError as error:
            raise ValueError(f"{head} {error}") from None
        if column.kind == "dates":
            table.notes.append(f"column {name!r} is read as days since 1970-01-01.")
        if not np.isnan(values).all():
            return values
    index = find_index(table)
    others = selectors(
        table,
        (
            j
            for j, other in enumerate(table.columns)
            if other.kind == "numbers" and j != i and j not in index
        ),
    )
    if column.kind in ("empty", "numbers"):
        remedy = f"leave it out, e.g. {columns_option(others)}" if others else "pass another file"
        raise ValueError(f"{head} is empty in every row: {remedy}.")
    row, cell = column.example()
    place = table.locate(row)
    example = f"{cell[:40]!r} in {place}"
    if column.kind == "thousands":
        raise ValueError(
            f"{head} has separators of thousands ({example}): write the numbers without them, e.g. "
            "1234.5."
        )
    if column.is_mostly_numbers():
        raise ValueError(
            f"{head} contains text ({example}) among numbers: correct or delete that line, or, if "
            f"the text marks a missing value, pass --missing {cell[:40]!r}."
        )
    kind = {"dates": "holds dates", "nested": "holds lists or structures"}.get(
        column.kind, "contains text"
    )
    if not others:
        raise ValueError(
            f"{head} {kind} ({example}), and no other column contains only numbers: separate the "
            "columns by commas, semicolons, tabs or blanks, or pass --separator and --decimal."
        )
    days = ""
    if column.kind == "dates" and days_of(cell) is not None:
        days = f"; with {columns_option(selectors(table, [i]))} dates count as days"
    few = f"choose numeric columns, e.g. {columns_option(others)}, or " if len(others) < 9 else ""
    raise ValueError(
        f"{head} {kind} ({example}): {few}take only the columns of numbers with --numeric{days}."
    )


def note_suspicious_columns(x: np.ndarray, names: list[str], columns: list[str]) -> list[str]:
    """Return remarks on columns that count the rows or mark missing values by a number.

    Args:
      x: the rows (n, d), with or without a column of weights after the features.
      names: the names of the features.
      columns: what selects each feature in the file, see `selectors`.
    """
    notes = []
    for i, name in enumerate(names):
        values = x[:, i]
        others = [*columns[:i], *columns[i + 1 :]]
        if len(values) > 2 and others and (np.diff(values) == 1).all():
            notes.append(
                f"warning: column {name!r} only counts the rows ({values[0]:g}, {values[1]:g}, …) "
                f"and is kept as a feature: leave it out with {columns_option(others)}."
            )
        least = values.min()
        rest = values[values > least]
        if least in SENTINELS and len(rest) and rest.min() >= 0:
            notes.append(
                f"warning: {least:g} is the only negative number in column {name!r}: if it marks "
                f"missing values, pass --missing={least:g}."
            )
    return notes


def refuse_constant_columns(
    x: np.ndarray, names: list[str], columns: list[str], shown: str
) -> None:
    """Raise ValueError if a column of x (n, d) is constant and so has no variance.

    Args:
      x: the rows (n, d).
      names: the names of the features.
      columns: what selects each feature in the file, see `selectors`.
      shown: the name of the file in messages.
    """
    constant = np.ptp(x, axis=0) == 0
    if constant.any():
        others = [column for column, same in zip(columns, constant, strict=True) if not same]
        remedy = (
            f"leave it out, e.g. {columns_option(others)}" if others else "there is nothing to fit"
        )
        raise ValueError(
            f"{shown}: column {names[int(np.argmax(constant))]!r} has the same value in every row: "
            f"{remedy}."
        )
