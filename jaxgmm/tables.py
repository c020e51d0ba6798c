"""`Table`: a list of plain dicts that prints as aligned text."""

from __future__ import annotations

import math


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
        widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if left else cell.rjust(width)
                for cell, width, left in zip(row, widths, words, strict=True)
            ).rstrip()
            for row in cells
        )

    __repr__ = __str__
