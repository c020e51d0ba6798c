"""`read_table`: the rows of a file as numbers, with notes about how it was read."""

from __future__ import annotations

import collections
import os
from typing import NamedTuple

import numpy as np

from .arrow_file import ARROW, PARQUET, SUFFIXES, read_arrow
from .column_choice import ColumnChoice, choose_columns, selectors
from .conversion import convert_column, note_suspicious_columns
from .csv_file import read_text
from .decoding import decompress, read_bytes
from .labels import read_labels
from .numpy_file import NPY, read_npy, read_npz
from .options import ReadOptions
from .raw_table import RawTable


class Records(NamedTuple):
    """The complete rows of a file in float64, and a description of their columns.

    Attributes:
      x: the rows (n, d).
      names: the names of the columns.
      named: whether the names come from the file.
      columns: what selects each column in the file: its name there, or its number from 1.
      weight: the row weights (n,), or None.
      complete: which rows of the file are read, as booleans (n + the number dropped,).
      labels: the label (n,) of each row, −1 where it is unknown, or None.
      label_names: the names of the labels 0, 1, …
      notes: what was read, and what the user should know of it, in sentences.
    """

    x: np.ndarray
    names: list[str]
    named: bool
    columns: list[str]
    weight: np.ndarray | None
    complete: np.ndarray
    notes: list[str]
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()

    @property
    def has_gaps(self) -> bool:
        """Whether a value of a feature is missing."""
        return bool(np.isnan(self.x).any())


def read_table(
    path: str, options: ReadOptions | None = None, features: list[str] | None = None
) -> Records:
    r"""Return the rows of a file.

    The kind of the file is recognized by its first bytes: Parquet, Arrow (Feather), NumPy (.npy, or
    .npz with one array), or text. Text may be compressed by gzip, bz2, xz or zip. Its columns are
    separated by commas, semicolons, tabs, bars or blanks.

    Args:
      path: the file, or "-" for text on stdin.
      options: what the file does not say about itself; see `ReadOptions`.
      features: the names of a model's features, or None. If the file names its columns and
        `options.columns` is None, the columns with these names are read, in this order.

    Raises:
      ValueError: for a file that is empty, ragged or not numeric, or that lacks a column. The
        message says what to do.
      OSError: if the file cannot be read.
      ImportError: for Parquet if pyarrow is not installed.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "rows.csv")
    >>> _ = open(path, "w").write("width;height\n1,5;2\n2,5;NA\n")
    >>> rows = read_table(path, ReadOptions(drop_missing=True))
    >>> rows.x, rows.names, rows.complete
    (array([[1.5, 2. ]]), ['width', 'height'], array([ True, False]))
    """
    options = options or ReadOptions()
    if not path:
        raise ValueError("the name of the data file is empty: pass a file, or - for stdin.")
    shown = "stdin" if path == "-" else path
    table = _open(path, shown, options)
    if not table.n:
        raise ValueError(f"{shown} has no rows: pass a file with rows of numbers.")
    choice = choose_columns(table, options, features, shown)
    read = choice.features if choice.weight is None else [*choice.features, choice.weight]
    x = np.empty((table.n, len(read)))
    for place, i in enumerate(read):
        x[:, place] = convert_column(table, i, choice, options, shown)
    complete = np.asarray(np.isfinite(x).all(axis=1))
    kept = options.keep_missing and not options.drop_missing
    if kept:  # weights must be there
        d = len(choice.features)
        complete = np.asarray(np.isfinite(x[:, d:]).all(axis=1) & ~np.isinf(x).any(axis=1))
    _check_missing(x, complete, [table.names[i] for i in read], table, options, shown)
    notes = [_describe(table, choice, shown), *table.notes]
    if not complete.all():
        notes.append(f"incomplete rows left out: {np.sum(~complete)} of {len(x)}.")
        x = x[complete]
    if kept:
        notes += _describe_gaps(x[:, : len(choice.features)], table, choice)
    labels: np.ndarray | None = None
    label_names: list[str] = []
    if choice.label is not None:
        labels, label_names = read_labels(table, choice.label, options, shown)
        labels = labels[complete]
        known = ", ".join(f"{name} = {i + 1}" for i, name in enumerate(label_names[:12]))
        notes.append(
            f"labels: {table.names[choice.label]}, known in {np.sum(labels >= 0)} of {len(labels)} "
            f"rows; components {known}{', …' if len(label_names) > 12 else ''}."
        )
    names = _distinct_names(table, choice.features)
    columns = selectors(table, choice.features)
    notes += note_suspicious_columns(x, names, columns)
    return Records(
        x=x if choice.weight is None else x[:, :-1],
        names=names,
        named=table.named,
        columns=columns,
        weight=None if choice.weight is None else x[:, -1],
        complete=complete,
        notes=notes,
        labels=labels,
        label_names=tuple(label_names),
    )


def _open(path: str, shown: str, options: ReadOptions) -> RawTable:
    """Return the content of a file, whose kind its first bytes tell."""
    if os.path.isdir(path):
        raise ValueError(f"{path} is a directory: give the name of a file in it.")
    suffix = os.path.splitext(path)[1].lower()
    if path != "-" and suffix != ".npz":
        with open(path, "rb") as file:
            head = file.read(len(ARROW))
        if head.startswith((PARQUET, ARROW)) or suffix in SUFFIXES:
            _refuse_text_options(options, shown)
            return read_arrow(path, shown)
    content = read_bytes(path)
    if suffix == ".npz":
        _refuse_text_options(options, shown)
        return read_npz(content, shown)
    content = decompress(content, shown)
    if content.startswith(NPY) or suffix == ".npy":
        _refuse_text_options(options, shown)
        return read_npy(content, shown)
    return read_text(content, shown, options)


def _refuse_text_options(options: ReadOptions, shown: str) -> None:
    """Raise ValueError for an option that only text files have."""
    for name in ("separator", "decimal", "encoding", "header"):
        if getattr(options, name) is not None:
            raise ValueError(f"{shown} is not a text file: leave out --{name}.")


def _check_missing(
    x: np.ndarray, complete: np.ndarray, names: list[str], table: RawTable, options: ReadOptions,
    shown: str,
) -> None:  # fmt: skip
    """Raise ValueError for missing cells that the user did not expect, or if nothing remains."""
    if not complete.all() and not options.drop_missing:
        row = int(np.argmin(complete))
        place = int(np.argmin(np.isfinite(x[row])))
        what = "an infinite number" if np.isinf(x[row, place]) else "no number"
        raise ValueError(
            f"{shown}: column {names[place]!r} has {what} in {table.locate(row)} (incomplete rows: "
            f"{np.sum(~complete)} of {len(x)}): leave such rows out with --drop-missing."
        )
    if not complete.any():
        column = names[int(np.argmin(np.isfinite(x).sum(axis=0)))]
        raise ValueError(
            f"{shown} has no complete rows: leave out the columns with many missing values, "
            f"such as {column!r}, by --columns."
        )


def _describe_gaps(x: np.ndarray, table: RawTable, choice: ColumnChoice) -> list[str]:
    """Return a sentence on how many values are missing, and how they are treated."""
    missing = np.isnan(x)
    total = int(missing.sum())
    if not total:
        return []
    columns = [i for i, some in zip(choice.features, missing.any(axis=0), strict=True) if some]
    names = _list_columns(table, columns)
    values = "value is" if total == 1 else "values are"
    where = "column" if len(columns) == 1 else "columns"
    return [
        f"{total} of {x.size} {values} missing, in {len(columns)} {where} ({names}). The "
        "other values of these rows are used; --drop-missing leaves the rows out."
    ]


def _distinct_names(table: RawTable, columns: list[int]) -> list[str]:
    """Return the names of columns, with their numbers where two have the same name."""
    names = [table.names[i] or f"column {i + 1}" for i in columns]
    counts = collections.Counter(names)
    return [
        name if counts[name] == 1 else f"{name} ({i + 1})"
        for name, i in zip(names, columns, strict=True)
    ]


def _list_columns(table: RawTable, columns: list[int]) -> str:
    """Return the columns' names, or "column 1" and the like where they have none."""
    names = [table.names[i] for i in columns if table.named and table.names[i]]
    numbers = [str(i + 1) for i in columns if not (table.named and table.names[i])]
    if numbers:
        names.insert(0, f"column{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}")
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _describe(table: RawTable, choice: ColumnChoice, shown: str) -> str:
    """Return what was read, e.g. "342 rows × 4 columns from rows.csv; left out: sex (text)."."""
    d = len(choice.features)
    rows, columns = "row" if table.n == 1 else "rows", "column" if d == 1 else "columns"
    text = f"{table.n} {rows} × {d} {columns} from {shown}"
    if choice.weight is not None:
        text += f"; weights: {table.names[choice.weight]}"
    reasons: dict[str, list[int]] = {}
    for i, reason in choice.left_out:
        reasons.setdefault(reason, []).append(i)
    parts = [f"{_list_columns(table, left)} ({reason})" for reason, left in reasons.items()]
    return text + (f"; left out: {', '.join(parts)}" if parts else "") + "."
