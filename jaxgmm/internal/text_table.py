"""`Table`: a list of dicts that prints as aligned text."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any


def _width(text: str) -> int:
    """Return the number of terminal cells that the text takes.

    A wide character takes two cells, and a combining mark none.
    """
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def align_columns(rows: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """Return one line of text for each row, with columns two cells apart.

    Args:
      rows: the cells of each row.
      left: for each column, whether it is aligned to the left instead of to the right.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]

    def pad(text: str, width: int, to_left: bool) -> str:
        spaces = " " * (width - _width(text))
        return text + spaces if to_left else spaces + text

    return ["  ".join(map(pad, row, widths, left)).rstrip() for row in rows]


def _format(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.1e}"
    return str(value)


class Table(list):
    """A list of rows, dicts with the same keys, that prints as a table.

    >>> print(jaxgmm.Table([{"family": "full", "K": 2, "BIC": 13470.42}]))
    family  K       BIC
    full    2  13470.42

    Attributes:
      note: a sentence that is printed below the table, or "".
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = (), note: str = "") -> None:
        super().__init__(rows)
        self.note = note

    def __str__(self) -> str:
        if not self:
            return "(no rows)"
        names = list(self[0])
        cells = [names, *([_format(row[name]) for name in names] for row in self)]
        words = [all(isinstance(row[name], str) for row in self) for name in names]
        return "\n".join([*align_columns(cells, words), *([self.note] if self.note else [])])

    __repr__ = __str__
