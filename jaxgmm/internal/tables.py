"""`Table`: a list of plain dicts that prints as aligned text."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence


def _cells(text: str) -> int:
    """How many cells of a terminal the text fills: two for a wide character, none for a mark on the
    one before."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(unicodedata.combining(one) > 0 for one in text)


def align_columns(rows: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """A line for each row, columns two cells apart; to the left where it says so, else to the
    right."""
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]

    def padded(text, width, to_left):
        room = " " * (width - _cells(text))
        return text + room if to_left else room + text

    return ["  ".join(map(padded, row, widths, left)).rstrip() for row in rows]


def _text(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.1e}"
    return str(value)


class Table(list):
    """Rows as plain dicts with the same keys; `print` shows them as a table.

    >>> print(jaxgmm.Table([{"family": "full", "K": 2, "BIC": 13470.42}]))
    family  K       BIC
    full    2  13470.42
    """

    def __str__(self) -> str:
        if not self:
            return "(no rows)"
        names = list(self[0])
        cells = [names, *([_text(row[name]) for name in names] for row in self)]
        words = [all(isinstance(row[name], str) for row in self) for name in names]
        return "\n".join(align_columns(cells, words))

    __repr__ = __str__
