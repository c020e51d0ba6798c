"""Whether the first line of a text file names the columns."""

from __future__ import annotations

import itertools

from . import cells

YEARS = range(1800, 2200)
LINES = 1000  # the number of lines that are compared with the first one


def is_header(lines: list[list[str]], number: int) -> tuple[bool, str]:
    """Return whether the first line names the columns.

    The first line is a header if none of its cells is a number, or if it has text above a column
    of numbers. A first line of whole numbers is a header if they count 0, 1, 2 … or are years, and
    the columns below hold fractions.

    Args:
      lines: the cells of each line.
      number: the number of the first line in the file.

    Returns:
      The answer, and a note for the user if the first line could be read either way, or "".
    """
    first, rest = lines[0], lines[1 : LINES + 1]
    texts = [not cells.is_missing(cell) and not cells.looks_numeric(cell) for cell in first]
    numeric = [cells.looks_numeric(cell) for cell in first]
    if not any(numeric):
        return any(texts), ""
    below = list(zip(*rest, strict=True)) if rest else [()] * len(first)
    if any(text and _is_numeric(column) for text, column in zip(texts, below, strict=True)):
        return True, ""
    whole = [
        int(cell) for cell, number in zip(first, numeric, strict=True) if number and _is_whole(cell)
    ]
    if len(whole) != sum(numeric) or not rest:
        return False, ""
    shown = ", ".join(cell or "no name" for cell in first[:4]) + (", …" if len(first) > 4 else "")
    # The small numbers 1, 2 may well be a row.
    counts = whole == list(range(len(whole))) or (
        len(whole) > 2 and whole == list(range(1, len(whole) + 1))
    )
    years = len(whole) > 1 and all(a < b for a, b in itertools.pairwise(whole))
    years = years and all(number in YEARS for number in whole)
    if not ((counts and (len(whole) > 1 or not first[0])) or years):
        return False, ""
    named = [column for column, number in zip(below, numeric, strict=True) if number]
    if not first[0] or all(any(not _is_whole(cell) for cell in column) for column in named):
        return True, f"line {number} ({shown}) names the columns: with --no-header it is a row."
    return False, f"line {number} ({shown}) is read as a row: with --header it names the columns."


def names_in_comment(comment: str, lines: list[list[str]], separator: str) -> list[str] | None:
    """Return the names of the columns in the comment above the first line, or None.

    NumPy's `savetxt` writes a header as such a comment.
    """
    parts = comment.split() if separator == " " else comment.split(separator)
    names = [name.strip().strip('"') for name in parts]
    if len(names) != len(lines[0]) or not all(names) or any(map(cells.looks_numeric, names)):
        return None
    return names


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdecimal()


def _is_numeric(column: tuple[str, ...]) -> bool:
    """Return whether at least half of a column is numbers, and of what is not missing."""
    present = [cell for cell in column if not cells.is_missing(cell)]
    numbers = sum(map(cells.looks_numeric, present))
    return 2 * numbers > len(present)
