"""Whether the first line of a text file names the columns."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence

from . import cell_kinds
from .raw_table import plain_name

YEARS = range(1800, 2200)
LINES = 1000  # the number of lines that are compared with the first one


def is_header(lines: list[list[str]], number: int) -> tuple[bool, str]:
    """Return whether the first line names the columns.

    The first line is a header if it has text above a column of numbers or dates, or if none of its
    cells is a number or a date. A first line with whole numbers is a header if the columns below
    them hold fractions, and if it has text as well, or the numbers count 0, 1, 2 … or are years.

    Args:
      lines: the cells of each line.
      number: the number of the first line in the file.

    Returns:
      The answer, and a note for the user if the first line could be read either way, or "".
    """
    first, rest = lines[0], lines[1 : LINES + 1]
    below = list(zip(*rest, strict=True)) if rest else [()] * len(first)
    kinds = [_kind_of(cell) for cell in first]
    pairs = list(zip(kinds, map(_kind_of_column, below), strict=True))
    if ("text", "number") in pairs or ("text", "date") in pairs:
        return True, ""
    if "number" not in kinds:
        return "text" in kinds and ("date", "date") not in pairs, ""
    shown = ", ".join(cell or "no name" for cell in first[:4]) + (", …" if len(first) > 4 else "")
    line = f"line {number} ({shown}) is read as"
    named = f"{line} the names of the columns: pass --no-header to read it as a row."
    row = f"{line} a row: pass --header to read it as the names of the columns."
    over = [column for kind, column in zip(kinds, below, strict=True) if kind == "number"]
    values = [cell for kind, cell in zip(kinds, first, strict=True) if kind == "number"]
    if all(map(_is_whole, values)) and rest:
        whole = [int(cell) for cell in values]
        has_fractions = all(any(not _is_whole(cell) for cell in column) for column in over)
        likely = _count_columns(whole) or _are_years(whole)
        if (likely or ("text", "text") in pairs) and (has_fractions or not first[0]):
            return True, named
        if likely:
            return False, row
    grows = len(values) > 2 and _increases(values) and not all(_increases(line) for line in rest)
    return False, row if grows else ""


def names_in_comment(comment: str, lines: list[list[str]], separator: str) -> list[str] | None:
    """Return the names of the columns in the comment above the first line, or None.

    NumPy's `savetxt` writes a header as such a comment, and a first column may be called "#".
    """
    line = " ".join(comment.split()) if separator == " " else comment
    parts = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    names = [plain_name(name) for name in parts]
    if names and not names[0]:
        names[0] = "#"
    if len(names) != len(lines[0]) or not all(names) or any(map(cell_kinds.looks_numeric, names)):
        return None
    return names


def _kind_of(cell: str) -> str:
    if cell_kinds.is_missing(cell):
        return "missing"
    if cell_kinds.looks_numeric(cell):
        return "number"
    return "date" if cell_kinds.is_date(cell) else "text"


def _kind_of_column(column: tuple[str, ...]) -> str:
    """Return what more than half of the cells are that are not missing; "text" if mixed."""
    kinds = [kind for kind in map(_kind_of, column) if kind != "missing"]
    for kind in ("number", "date"):
        if 2 * kinds.count(kind) > len(kinds):
            return kind
    return "text" if kinds else "missing"


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdecimal()


def _count_columns(numbers: list[int]) -> bool:
    """Return whether numbers count 0, 1 … or 1, 2, 3 …. The numbers 1, 2 may well be a row."""
    from_0, from_1 = list(range(len(numbers))), list(range(1, len(numbers) + 1))
    return (numbers == from_0 and len(numbers) > 1) or (numbers == from_1 and len(numbers) > 2)


def _are_years(numbers: list[int]) -> bool:
    ascending = len(numbers) > 1 and all(a < b for a, b in itertools.pairwise(numbers))
    return ascending and all(number in YEARS for number in numbers)


def _increases(line: Sequence[str]) -> bool:
    """Return whether all cells are numbers, each larger than the one before it."""
    if not all(map(cell_kinds.is_number, line)):
        return False
    return all(a < b for a, b in itertools.pairwise(map(float, line)))
