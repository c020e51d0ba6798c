"""Labels of rows: the cells of a column, numbered in the order in which they appear."""

from __future__ import annotations

import numpy as np

from . import cell_kinds
from .options import ReadOptions
from .raw_table import RawTable


def read_labels(
    table: RawTable, column: int, options: ReadOptions, shown: str
) -> tuple[np.ndarray, list[str]]:
    """Return the labels (n,) of the rows and their names; an empty cell is −1, that is, unknown.

    Raises ValueError if the cells of the column cannot be read, or all are empty.
    """
    text = table.columns[column].texts()
    unknown = cell_kinds.MISSING | {code.lower() for code in options.missing}
    names: dict[str, int] = {}
    labels = np.full(len(text), -1)
    for row, cell in enumerate(text):
        if cell.lower() not in unknown:
            labels[row] = names.setdefault(cell, len(names))
    if not names:
        raise ValueError(
            f"{shown}: column {table.names[column]!r} of labels is empty: choose another column by "
            "--labels."
        )
    return labels, list(names)
