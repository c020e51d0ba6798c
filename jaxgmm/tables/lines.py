"""From text to rows of cells: the separator, quotes, comments, and lines of the wrong length."""

from __future__ import annotations

import collections
import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from .cell_kinds import has_thousands, is_missing, is_number, looks_numeric

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "blank": " "}
COMMENTS = ("#", "%")
# What a spreadsheet writes for a value that is missing or cannot be computed.
SHEET_ERROR = re.compile(r"#(N/A|NA|N/A N/A|DIV/0!|REF!|VALUE!|NAME\?|NUM!|NULL!)", re.I)
SAMPLE = 100  # the number of lines that show the separator


class Lines(NamedTuple):
    """The lines of a text, split into cells."""

    cells: list[list[str]]
    numbers: list[int]  # the number of each line in the file, from 1
    separator: str
    comment: str  # the comment that stands just above the first line, or ""
    skipped: int  # the number of lines that are comments


def split_lines(text: str, shown: str, separator: str | None = None) -> Lines:
    """Split a text into lines of equally many cells, without blanks around them.

    Empty lines and lines that begin with # or % are left out, as are empty lines of separators at
    the end. A first line `sep=;`, as Excel writes it, names the separator. If the first line has
    one cell fewer than all others, as R writes tables with row names, or one more than all others,
    and empty, a cell is added to it or removed.

    Args:
      text: the text of the file.
      shown: the name of the file in messages.
      separator: one of the values of `SEPARATORS`, or None to recognize it.

    Raises:
      ValueError: for an empty text, and for lines with different numbers of cells.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    head, _, rest = text.partition("\n")
    declared = head.strip().strip('"').lower()
    offset = 0
    if declared.startswith("sep=") and len(declared) <= 5:
        text, offset = rest, 1
        separator = separator or declared[4:] or "\t"
        if separator not in SEPARATORS.values():
            raise ValueError(
                f"line 1 of {shown} says that {separator!r} separates the columns, which may be "
                f"{', '.join(SEPARATORS)}: correct that line."
            )
    if not text.strip():
        raise ValueError(f"{shown} is empty: pass a file with rows of numbers.")
    if separator not in (None, " ") and separator not in text:
        name = next(name for name, value in SEPARATORS.items() if value == separator)
        raise ValueError(f"no {name} occurs in {shown}: leave out --separator.")
    text = text.replace("\u2212", "-")  # the minus sign of typesetting
    separator = separator or _recognize_separator(text)
    records, lines = _parse(text, separator, strict=True), text.split("\n")
    comment, skipped = "", 0
    cells: list[list[str]] = []
    numbers: list[int] = []
    for number, record in records:
        if record is None:
            raise ValueError(
                f"{shown}: line {number + offset} has an unmatched quotation mark, text after "
                "a closing one, or a very long field: correct that line."
            )
        if record[0].startswith(COMMENTS) and not SHEET_ERROR.fullmatch(record[0]):
            skipped += 1
            if not cells:
                comment = lines[number - 1].strip().lstrip("".join(COMMENTS)).strip(" ")
        elif len(record) > 1 or record[0]:
            cells.append(record)
            numbers.append(number + offset)
    while cells and not any(cells[-1]):  # spreadsheets export such lines below the table
        cells.pop(), numbers.pop()
    if not cells:
        raise ValueError(
            f"{shown} has no rows: it contains only empty lines and comments ({skipped} lines that "
            "begin with # or %): write the rows without # before them."
        )
    _fit_header(cells)
    _check_lengths(cells, numbers, shown, separator)
    return Lines(cells, numbers, separator, comment, skipped)


def _parse(text: str, separator: str, strict: bool) -> Iterator[tuple[int, list[str] | None]]:
    """Yield the number and the cells of each line; None instead of the cells ends a bad text."""
    if separator == " ":
        text = "\n".join(line.strip() for line in text.expandtabs(1).split("\n"))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=strict
    )
    line = 1
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, None
            return
        if record:
            yield line, [cell.strip() for cell in record]
        line = reader.line_num + 1


def _recognize_separator(text: str) -> str:
    """Return the separator that splits the lines into equally many cells, most of them numbers."""
    lines = [line for line in text.split("\n", 4 * SAMPLE)[: 4 * SAMPLE] if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith(COMMENTS)][:SAMPLE]
    rest = lines[1:]
    if rest and "," not in lines[0] and all(is_number(line.strip(), ",") for line in rest):
        return "|"  # one column of numbers with decimal commas, below its name
    best, best_score = ",", 0.0
    for separator in SEPARATORS.values():
        parsed = _parse("\n".join(lines), separator, strict=False)
        records = [cells for _, cells in parsed if cells is not None]
        counts = collections.Counter(map(len, records[1:] or records))
        usual = counts.most_common(1)[0][0] if counts else 1
        if usual == 1:
            continue
        regular = [cells for cells in records if len(cells) == usual]
        present = [cell for cells in regular for cell in cells if not is_missing(cell)]
        numeric = [looks_numeric(cell) or has_thousands(cell) for cell in present]
        score = len(regular) / len(records) * (0.1 + sum(numeric) / max(len(numeric), 1))
        if separator == " ":
            score *= 0.8  # cells of text and dates contain blanks
        if score > best_score:
            best, best_score = separator, score
    return best


def _fit_header(cells: list[list[str]]) -> None:
    """Give the first line as many cells as all others have, if it may be a header without them."""
    lengths = {len(line) for line in cells[1:]}
    if len(lengths) != 1:
        return
    usual, first = lengths.pop(), cells[0]
    if len(first) == usual - 1 and not any(map(looks_numeric, first)):
        if not any(line[-1] for line in cells[1:]):
            cells[0] = [*first, ""]
        elif _are_row_names([line[0] for line in cells[1:]]):
            cells[0] = ["", *first]
    elif len(first) == usual + 1 and not first[-1]:
        cells[0] = first[:-1]


def _are_row_names(column: list[str]) -> bool:
    """Return whether a column is text, or counts the rows, as R's row names do."""
    if not any(map(looks_numeric, column)):
        return True
    first = int(column[0] == "1")
    return column == [str(first + i) for i in range(len(column))]


def _check_lengths(cells: list[list[str]], numbers: list[int], shown: str, separator: str) -> None:
    """Raise ValueError if a line does not have as many cells as most lines."""
    counts = collections.Counter(map(len, cells))
    if len(counts) == 1:
        return
    usual = max(counts, key=lambda count: (counts[count], count == len(cells[0])))
    wrong = next(i for i, line in enumerate(cells) if len(line) != usual)
    name = next(name for name, value in SEPARATORS.items() if value == separator)
    others = len(cells) - counts[usual]
    remedy = "correct the line"
    if wrong == 0:
        remedy = (
            "delete the lines above the table or complete its header; if commas are decimal signs, "
            "separate the columns by semicolons"
        )
    elif others > 1:
        remedy = f"correct such lines ({others}), or name another --separator than the {name}"
    raise ValueError(
        f"{shown}: line {numbers[wrong]} has the wrong number of fields: {len(cells[wrong])} "
        f"instead of {usual}. To go on, {remedy}."
    )
