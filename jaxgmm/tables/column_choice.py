"""Which columns of a file are features, and which are left out."""

from __future__ import annotations

import collections
import csv
import io
import itertools
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .options import ReadOptions
from .raw_table import RawTable, plain_name

# As pandas and R name the index of a table in the first columns of a text file.
LEADING_INDEX = re.compile(r"|Unnamed: \d+(\.\d+)?(_level_\d+)?")
# As pandas names it in the last columns of a Parquet file.
ARROW_INDEX = re.compile(r"__index_level_\d+__")


def find_index(table: RawTable) -> list[int]:
    """Return the columns that are an index of the rows, as pandas and R write it."""
    if not table.named:
        return []
    leading = len(list(itertools.takewhile(LEADING_INDEX.fullmatch, table.names)))
    marked = lambda name: name in table.index or ARROW_INDEX.fullmatch(name)
    found = [i for i, name in enumerate(table.names) if i < leading or marked(name)]
    return found if len(found) < len(table.names) else []


class ColumnChoice(NamedTuple):
    """The columns that are read."""

    features: list[int]  # the indices of the feature columns
    weight: int | None  # the index of the weight column
    label: int | None  # the index of the column of labels
    left_out: list[tuple[int, str]]  # the indices of columns that are left out, and the reason
    named: bool  # whether the user or the model names the features


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
    if not table.names:
        raise ValueError(f"{shown} has no columns: pass a file with columns of numbers.")
    weight = None if options.weight is None else _index_of(options.weight, table, shown)
    label = None if options.labels is None else _index_of(options.labels, table, shown)
    left_out: list[tuple[int, str]] = []
    by_name = features is not None and table.named
    if options.columns is not None:
        chosen = [_index_of(column, table, shown) for column in options.columns]
        if by_name:
            _check_order([table.names[i] for i in chosen], features or [])
    elif by_name:
        chosen = [_index_of_feature(feature, table, shown) for feature in features or []]
    else:
        left_out = _leave_out(table, options.numeric)
        left_out = [(i, reason) for i, reason in left_out if i not in (weight, label)]
        others = {i for i, _ in left_out} | {weight, label}
        chosen = [i for i in range(len(table.names)) if i not in others]
        _check_names(table, chosen, shown)
        if options.numeric and not chosen:
            raise ValueError(
                f"{shown} has no column of numbers ({describe_columns(table)}): pass another file."
            )
    _check_choice(chosen, weight, table, shown)
    if label is not None and label in [*chosen, weight]:
        raise ValueError(
            f"column {table.names[label]!r} is chosen as labels and also as a feature or weight: "
            "choose each column once."
        )
    return ColumnChoice(chosen, weight, label, left_out, options.columns is not None or by_name)


def _leave_out(table: RawTable, numeric: bool) -> list[tuple[int, str]]:
    """Return the columns that are left out though the user names none, each with the reason."""
    names, columns, last = table.names, table.columns, len(table.names)
    left_out: list[tuple[int, str]] = []
    while last > 1 and columns[last - 1].kind == "empty":
        if table.named and not LEADING_INDEX.fullmatch(names[last - 1]):
            break
        last -= 1
        left_out.append((last, "empty"))
    index = find_index(table)
    left_out += [(i, "an index") for i in index if i < last]
    if numeric:
        for i in sorted({*range(last)} - {*index}):
            # Text among numbers may be a mistake, and then an error names it.
            text = columns[i].kind == "text" and not columns[i].majority
            if text or columns[i].kind in ("dates", "nested", "empty"):
                left_out.append((i, columns[i].kind))
    return left_out


def _check_names(table: RawTable, chosen: list[int], shown: str) -> None:
    """Raise ValueError if a column that is not chosen by the user has no name of its own."""
    if not table.named:
        return
    counts = collections.Counter(table.names)
    for i in chosen:
        if not table.names[i]:
            named = [j for j, name in enumerate(table.names) if name]
            raise ValueError(
                f"{shown}: column {i + 1} has no name: name it, or choose the columns, e.g. "
                f"{columns_option(selectors(table, named))}."
            )
        if counts[table.names[i]] > 1:
            raise ValueError(
                f"{shown} has two columns called {table.names[i]!r}: rename one of them, or choose "
                f"the columns by number, e.g. --columns {i + 1}. If the names take two lines, "
                "write them in one."
            )


def _check_choice(chosen: list[int], weight: int | None, table: RawTable, shown: str) -> None:
    names = table.names
    repeated = [i for i, count in collections.Counter(chosen).items() if count > 1]
    if repeated:
        name = names[repeated[0]]
        raise ValueError(f"column {name!r} is chosen twice: choose each column once.")
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
    """Return the index of the column with this name or number from 1."""
    name = plain_name(column)
    if table.names.count(name) == 1:
        return table.names.index(name)
    if column.isascii() and column.isdecimal() and 1 <= int(column) <= len(table.names):
        return int(column) - 1
    if name in table.names:
        numbers = [str(i + 1) for i, other in enumerate(table.names) if other == name]
        raise ValueError(
            f"{shown} has {len(numbers)} columns called {name!r}: choose one by its number, "
            f"{' or '.join(numbers)}."
        )
    raise ValueError(
        f"{shown} has no column {column!r}: {_known(table)}. Name a column as it is written there, "
        "or by its number from 1."
    )


def _index_of_feature(feature: str, table: RawTable, shown: str) -> int:
    if plain_name(feature) in table.names:
        return _index_of(feature, table, shown)
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
                f"column {column!r} is chosen where the model has the feature {feature!r}: "
                "omit --columns to match the columns by name."
            )


def selectors(table: RawTable, columns: Iterable[int]) -> list[str]:
    """Return what selects these columns: names that the file gives once, or numbers from 1."""
    counts = collections.Counter(table.names if table.named else [])
    single = lambda name: bool(name) and counts[name] == 1
    return [table.names[i] if single(table.names[i]) else str(i + 1) for i in columns]


def columns_option(names: Sequence[str]) -> str:
    """Return the option --columns with these selectors."""
    return option("--columns", names)


def option(name: str, values: Sequence[str]) -> str:
    """Return an option with a list of values, quoted for a shell."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    separator = "=" if line.getvalue().startswith("-") else " "
    return f"{name}{separator}{shlex.quote(line.getvalue())}"


def describe_columns(table: RawTable) -> str:
    """Return what the columns hold, e.g. "a (text), b (dates)"."""
    held = [
        f"{name} ({column.kind})" for name, column in zip(table.names, table.columns, strict=True)
    ]
    return ", ".join(held[:12]) + (", …" if len(held) > 12 else "")
