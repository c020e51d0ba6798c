"""Which columns of a file are features, and which are left out."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .columns import RawTable
from .options import ReadOptions

# As pandas and R name the index of a table in the first columns of a text file.
LEADING_INDEX = re.compile(r"|Unnamed: \d+(\.\d+)?(_level_\d+)?")
# As pandas names it in the last columns of a Parquet file.
ARROW_INDEX = re.compile(r"__index_level_\d+__")


def find_index(table: RawTable) -> list[int]:
    """Return the columns that are an index of the rows, as pandas and R write it."""
    marked = lambda name: name in table.index or ARROW_INDEX.fullmatch(name)
    found = [i for i, name in enumerate(table.names) if table.named and marked(name)]
    leading = itertools.takewhile(LEADING_INDEX.fullmatch, table.names)
    found += [i for i, _ in enumerate(leading) if table.named]
    return found if len(found) < len(table.names) else []


class ColumnChoice(NamedTuple):
    """The columns that are read."""

    features: list[int]  # the indices of the feature columns
    weight: int | None  # the index of the weight column
    left_out: list[tuple[int, str]]  # the indices of columns that are left out, and the reason


def choose_columns(
    table: RawTable, options: ReadOptions, features: list[str] | None, shown: str
) -> ColumnChoice:
    """Choose the columns that are features.

    Args:
      table: the content of the file.
      options: which columns the user names.
      features: the names of a model's features, or None. If the file names its columns and the user
        does not, the columns with these names are read, in this order.
      shown: the name of the file in messages.

    Raises:
      ValueError: for a column that does not exist or is chosen twice, and if there is none.
    """
    names = table.names
    if not names:
        raise ValueError(f"{shown} has no columns: pass a file with columns of numbers.")
    repeated = [name for name in names if table.named and name and names.count(name) > 1]
    if repeated:
        raise ValueError(f"{shown} has two columns called {repeated[0]!r}: rename one of them.")
    weight = None if options.weight is None else _index_of(options.weight, table, shown)
    left_out: list[tuple[int, str]] = []
    if options.columns is not None:
        chosen = [_index_of(column, table, shown) for column in options.columns]
        if features is not None and table.named:
            _check_order([names[i] for i in chosen], features)
    elif features is not None and table.named:
        chosen = [_index_of_feature(feature, table, shown) for feature in features]
    else:
        chosen, left_out = _choose_from_all(table, weight, options.numeric, shown)
    _check_choice(chosen, weight, table, shown)
    return ColumnChoice(chosen, weight, left_out)


def _choose_from_all(
    table: RawTable, weight: int | None, numeric: bool, shown: str
) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the indices of all columns that may be features, and what is left out."""
    names, columns = table.names, table.columns
    chosen = list(range(len(names)))
    left_out: list[tuple[int, str]] = []

    def leave_out(i: int, reason: str) -> None:
        chosen.remove(i)
        left_out.append((i, reason))

    while (
        len(chosen) > 1
        and columns[chosen[-1]].kind == "empty"
        and (not table.named or LEADING_INDEX.fullmatch(names[chosen[-1]]))
    ):
        leave_out(chosen[-1], "empty")
    for i in find_index(table):
        leave_out(i, "an index")
    if weight in chosen:
        chosen.remove(weight)
    for i in list(chosen):
        if table.named and not names[i]:
            raise ValueError(
                f"{shown}: column {i + 1} has no name: name it, or choose the columns, e.g. "
                f"{columns_option([name for name in names if name])}."
            )
        if numeric and columns[i].kind in ("text", "dates", "nested"):
            if not columns[i].is_mostly_numbers():
                leave_out(i, columns[i].kind)
        elif numeric and columns[i].kind == "empty":
            leave_out(i, "empty")
    if numeric and not chosen:
        raise ValueError(f"{shown} has no column of numbers: {describe_columns(table)}.")
    return chosen, left_out


def _check_choice(chosen: list[int], weight: int | None, table: RawTable, shown: str) -> None:
    names = table.names
    repeated = [names[i] for i in chosen if chosen.count(i) > 1]
    if repeated:
        raise ValueError(f"column {repeated[0]!r} is chosen twice: choose each column once.")
    if not chosen:
        raise ValueError(
            f"{shown} has no column besides the weight column: choose the features by --columns."
        )
    if weight in chosen:
        raise ValueError(
            f"column {names[weight]!r} is chosen both as weight and as feature: leave it out "
            "of --columns."
        )


def _index_of(column: str, table: RawTable, shown: str) -> int:
    if column in table.names:
        return table.names.index(column)
    if column.isascii() and column.isdecimal() and 1 <= int(column) <= len(table.names):
        return int(column) - 1
    raise ValueError(
        f"{shown} has no column {column!r}: {_known(table)}. Name a column as it is written there, "
        "or by its number from 1."
    )


def _index_of_feature(feature: str, table: RawTable, shown: str) -> int:
    if feature in table.names:
        return table.names.index(feature)
    raise ValueError(
        f"{shown} has no column {feature!r}, which the model was fitted to: {_known(table)}. "
        "Choose the columns of the model's features with --columns."
    )


def _known(table: RawTable) -> str:
    names = [name or "(no name)" for name in table.names]
    return "its columns are " + ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _check_order(chosen: list[str], features: list[str]) -> None:
    """Raise ValueError if the chosen columns are the model's features in another order."""
    for column, feature in zip(chosen, features, strict=False):
        if column != feature and column in features:
            raise ValueError(
                f"column {column!r} is chosen in the place of the model's feature {feature!r}: "
                "omit --columns to match the columns by name."
            )


def selectors(table: RawTable, columns: Iterable[int]) -> list[str]:
    """Return what selects these columns: the names that the file gives, or numbers from 1."""
    return [table.names[i] if table.named and table.names[i] else str(i + 1) for i in columns]


def columns_option(names: Sequence[str]) -> str:
    """Return the option --columns with these selectors, quoted for a shell."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return f"--columns {shlex.quote(line.getvalue())}"


def describe_columns(table: RawTable) -> str:
    """Return what the columns hold, e.g. "a (text), b (dates)"."""
    held = [
        f"{name} ({column.kind})" for name, column in zip(table.names, table.columns, strict=True)
    ]
    return ", ".join(held[:12]) + (", …" if len(held) > 12 else "")
