"""`RawTable`: the columns of a file, before some of them are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np

from . import cell_kinds

Kind = Literal["numbers", "dates", "text", "thousands", "disguised", "nested", "empty"]
Majority = Literal["numbers", "dates", ""]


class Column(Protocol):
    """One column of a file."""

    @property
    def kind(self) -> Kind:
        """What the column holds."""

    def numbers(self) -> np.ndarray:
        """Return the numbers (n,) in float64, with NaN for a missing one, and dates in days.

        Raises ValueError for a column that cannot be converted, which says what it holds.
        """

    def texts(self) -> list[str]:
        """Return the cells as text; a missing cell is empty."""

    def example(self) -> tuple[int, str]:
        """Return the row of a cell that is not what most cells are, and the cell."""

    @property
    def majority(self) -> Majority:
        """What most cells of a column of text are, so that the others may be mistakes."""


def plain_name(name: str) -> str:
    """Return a column's name with single blanks for all white space, so that it can be typed."""
    return " ".join(name.split())


@dataclasses.dataclass
class RawTable:
    """The content of a file before its columns are chosen.

    Attributes:
      names: the `plain_name` of each column.
      named: whether the names come from the file.
      columns: the columns.
      n: the number of rows.
      locate: a function from the index of a row to its place in the file, e.g. "line 3".
      index: the names of columns that the file marks as an index of its rows.
      notes: what the user should know of how the file was read, in sentences.
    """

    names: list[str]
    named: bool
    columns: Sequence[Column]
    n: int
    locate: Callable[[int], str]
    index: Sequence[str] = ()
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class NumberColumn:
    """A column of an array of numbers."""

    values: np.ndarray
    kind: Kind = "numbers"

    def numbers(self) -> np.ndarray:
        return self.values.astype(np.float64)

    def texts(self) -> list[str]:
        return ["" if value != value else f"{value:.15g}" for value in self.numbers().tolist()]

    def example(self) -> tuple[int, str]:
        return 0, str(self.values[0])

    @property
    def majority(self) -> Majority:
        return "numbers"


class TextColumn:
    """A column of cells of text, which are converted when the column is made.

    Args:
      column: the cells (n,), without blanks around them.
      decimal: the decimal sign, "." or ",".
      missing: further codes of missing values.
    """

    def __init__(self, column: Sequence[str], decimal: str = ".", missing: Sequence[str] = ()):
        self._cells = column
        self._codes = {code.lower() for code in missing}
        self._values, self._bad = self._convert(decimal)
        self._dates = [row for row in self._bad if cell_kinds.is_date(column[row])]
        self.kind: Kind = self._classify()

    def _convert(self, decimal: str) -> tuple[np.ndarray, list[int]]:
        """Return the numbers, with NaN for all other cells, and the rows of what is not missing."""
        joined = "\n".join(self._cells)
        if decimal == "." and joined.isascii() and "_" not in joined:  # float reads 12_3 as 123
            try:
                return np.array([float(cell) for cell in self._cells]), []
            except ValueError:
                pass
        values, bad = np.full(len(self._cells), np.nan), []
        for row, cell in enumerate(self._cells):
            lower = cell.lower()
            if lower in cell_kinds.MISSING or lower in self._codes:
                continue
            if cell_kinds.is_number(cell, decimal):
                values[row] = float(cell.replace(",", ".") if decimal == "," else cell)
            elif lower in cell_kinds.TRUTH:
                values[row] = cell_kinds.TRUTH[lower]
            else:
                bad.append(row)
        return values, bad

    def _classify(self) -> Kind:
        if not self._bad:
            return "empty" if np.isnan(self._values).all() else "numbers"
        strange = [self._cells[row] for row in self._bad]
        if all(map(cell_kinds.has_thousands, strange)):
            return "thousands"
        if all(cell_kinds.has_thousands(cell) or cell_kinds.is_disguised(cell) for cell in strange):
            return "disguised"
        dates = np.isnan(self._values).all() and len(self._dates) == len(self._bad)
        return "dates" if dates else "text"

    def numbers(self) -> np.ndarray:
        if self.kind != "dates":
            return self._values
        values = self._values.copy()
        for row in self._bad:
            count = cell_kinds.days(self._cells[row])
            if count is None:
                raise ValueError(
                    f"holds dates or times that are not written as 2024-01-31 "
                    f"({self._cells[row]!r}): write them so, or as numbers."
                )
            values[row] = count
        return values

    def texts(self) -> list[str]:
        return list(self._cells)

    def example(self) -> tuple[int, str]:
        others = self._bad
        if self.majority == "dates" and self.kind == "text":
            numbers = np.flatnonzero(~np.isnan(self._values)).tolist()
            others = sorted({*self._bad, *numbers} - {*self._dates})
        row = others[0] if others else 0
        return row, self._cells[row]

    @property
    def majority(self) -> Majority:
        numbers = int(np.sum(~np.isnan(self._values)))
        if len(self._bad) < numbers:
            return "numbers"
        return "dates" if 2 * len(self._dates) > len(self._bad) + numbers else ""
