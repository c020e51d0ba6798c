"""Conversion of columns to numbers, with notes on columns that look like something else."""

from __future__ import annotations

import numpy as np

from .cell_kinds import days, is_number, looks_numeric
from .column_choice import ColumnChoice, columns_option, find_index, option, selectors
from .options import ReadOptions
from .raw_table import RawTable

# Numbers that stand for a missing value in many data sets.
SENTINELS = (-9.0, -99.0, -999.0, -9999.0, -99999.0, -999.9, -99.9)


def convert_column(
    table: RawTable, i: int, choice: ColumnChoice, options: ReadOptions, shown: str
) -> np.ndarray:
    """Return column i as numbers (n,), with NaN for each missing cell.

    A column of dates that the user or a model names is converted to days since 1970-01-01.

    Raises ValueError for a column that does not hold numbers, with what to do.
    """
    column, name = table.columns[i], table.names[i]
    if column.kind == "numbers" or (column.kind == "dates" and choice.named and i != choice.weight):
        try:
            values = column.numbers()
        except ValueError as error:
            raise ValueError(f"{shown}: column {name!r} {error}") from None
        if column.kind == "dates":
            table.notes.append(f"column {name!r} is read as days since 1970-01-01.")
        codes = [float(code) for code in options.missing if is_number(code)]
        if codes:
            values = np.where(np.isin(values, codes), np.nan, values)
        if i == choice.weight:
            _check_weights(values, f"{shown}: column {name!r} of weights", table)
        if not np.isnan(values).all():
            return values
    raise ValueError(f"{shown}: column {name!r} {_what_is_wrong(table, i, choice, options)}")


def _check_weights(values: np.ndarray, column: str, table: RawTable) -> None:
    """Raise ValueError for negative weights, or if no row has a positive weight."""
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise ValueError(
            f"{column} has {values[row]:.10g} in {table.locate(row)}: weights must not be negative."
        )
    if (values == 0).any() and not (values > 0).any():
        raise ValueError(f"{column} is zero in every row: choose another column by --weight.")


def _what_is_wrong(table: RawTable, i: int, choice: ColumnChoice, options: ReadOptions) -> str:
    """Return what a column holds that are not numbers, and what to do about it."""
    column = table.columns[i]
    index = {*find_index(table), i, choice.weight}
    numeric = [
        j for j, other in enumerate(table.columns) if other.kind == "numbers" and j not in index
    ]
    others = columns_option(selectors(table, numeric)) if 0 < len(numeric) < 9 else ""
    if column.kind in ("empty", "numbers"):
        remedy = f"leave it out, e.g. {others}" if others else "leave it out by --numeric"
        return f"is empty in every row: {remedy}."
    row, cell = column.example()
    example = f"{cell[:40]!r} in {table.locate(row)}"
    if column.kind == "thousands":
        return f"has thousands separators ({example}): write numbers without them, as 1234.5."
    if column.kind == "disguised":
        return f"has numbers in an unknown form ({example}): write them as 1234.5 or -0.12."
    if row == 0 and options.header is False:
        return f"contains text ({example}): leave out --no-header if that line names the columns."
    if column.kind == "text" and column.majority:
        return (
            f"contains text ({example}) among {column.majority}: correct or delete that line, or, "
            f"if the text marks a missing value, pass {option('--missing', [cell[:40]])}."
        )
    kinds = {"dates": "holds dates", "nested": "holds lists or structures"}
    what = f"{kinds.get(column.kind, 'contains text')} ({example})"
    if i == choice.weight:
        return f"{what}: choose another column by --weight."
    if looks_numeric(cell):
        what = f"holds numbers that are stored as text ({example})"
    if not numeric:
        return (
            f"{what}, and no other column contains only numbers: separate the columns by commas, "
            "semicolons, tabs or blanks, or pass --separator and --decimal."
        )
    dates = ""
    if column.kind == "dates" and days(cell) is not None and not choice.named:
        chosen = columns_option(selectors(table, sorted([*numeric, i])))
        dates = f"; with {chosen if len(numeric) < 9 else '--columns'} dates count as days"
    few = f"choose numeric columns, e.g. {others}, or " if others else ""
    return f"{what}: {few}take only the columns of numbers with --numeric{dates}."


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
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        if len(values) > 2 and len(names) > 1 and (np.diff(values) == 1).all():
            others = columns_option([*columns[:i], *columns[i + 1 :]])
            notes.append(
                f"warning: column {name!r} only counts the rows ({values[0]:.10g}, "
                f"{values[1]:.10g}, …) and is kept as a feature: leave it out with {others}."
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
    constant = np.fmax.reduce(x, axis=0) == np.fmin.reduce(x, axis=0)
    if constant.any():
        others = [column for column, same in zip(columns, constant, strict=True) if not same]
        remedy = (
            f"leave it out, e.g. {columns_option(others)}" if others else "there is nothing to fit"
        )
        raise ValueError(
            f"{shown}: column {names[int(np.argmax(constant))]!r} has the same value in every row: "
            f"{remedy}."
        )
