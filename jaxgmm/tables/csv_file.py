"""CSV and other text files, read by Python's csv module."""

from __future__ import annotations

from collections.abc import Sequence

from ..internal.feature_names import default_feature_names
from .cell_kinds import decimal_signs, has_decimal_points
from .decoding import decode
from .header import is_header, names_in_comment
from .lines import Lines, split_lines
from .options import ReadOptions
from .raw_table import RawTable, TextColumn, plain_name


def read_text(content: bytes, shown: str, options: ReadOptions) -> RawTable:
    """Return the table of a text file.

    Args:
      content: the bytes of the file, uncompressed.
      shown: the name of the file in messages.
      options: how to read it.

    Raises:
      ValueError: for what is not such a text, with what to do.
    """
    lines = split_lines(decode(content, shown, options.encoding), shown, options.separator)
    names, rows, notes = _split_header(lines, options.header)
    if lines.skipped:
        notes.append(f"lines that begin with # or %, left out as comments: {lines.skipped}.")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(lines.cells[0])
    decimals, note = _choose_decimals(columns, shown, lines.separator, options.decimal)
    first = len(lines.cells) - len(rows)
    return RawTable(
        names=names or default_feature_names(len(columns)),
        named=names is not None,
        columns=[
            TextColumn(column, decimal, options.missing)
            for column, decimal in zip(columns, decimals, strict=True)
        ],
        n=len(rows),
        locate=lambda row: f"line {lines.numbers[row + first]}",
        notes=notes + note,
    )


def _split_header(
    lines: Lines, header: bool | None
) -> tuple[list[str] | None, list[list[str]], list[str]]:
    """Return the names of the columns or None, the other lines, and notes for the user."""
    named = names_in_comment(lines.comment, lines.cells, lines.separator)
    answer, note = is_header(lines.cells, lines.numbers[0])
    if header is not None:
        answer, note = header and not (named and not answer), ""
    notes = [note] if note else []
    if answer:
        return [plain_name(name) for name in lines.cells[0]], lines.cells[1:], notes
    if named is None or header is False:
        return None, lines.cells, notes
    found = ", ".join(named[:12])
    return named, lines.cells, [f"the comment above the first row names the columns: {found}."]


def _choose_decimals(
    columns: Sequence[Sequence[str]], shown: str, separator: str, decimal: str | None
) -> tuple[list[str], list[str]]:
    """Return the decimal sign of each column, and notes for the user."""
    signs, example, certain = decimal_signs(columns)
    if decimal == "," and not example and has_decimal_points(columns):
        raise ValueError(
            f"the numbers of {shown} have decimal points and no commas: leave out --decimal."
        )
    if decimal is not None:
        return [decimal] * len(columns), []
    if not example:
        return signs, []
    meant = example.replace(",", ".")
    if certain:
        return signs, [f"commas are read as decimal points: {example!r} is {meant}."]
    if separator == "," or has_decimal_points(columns):  # then they separate thousands
        return ["."] * len(columns), []
    raise ValueError(
        f"{shown}: the comma in {example!r} may separate decimals or thousands: pass --decimal "
        f"comma if it is {meant}, or write the numbers without thousands separators."
    )
