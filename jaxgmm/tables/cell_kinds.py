"""Cells of text files: which of them are numbers, missing values, truth values or dates."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Sequence

# As spreadsheets, R and pandas write a missing value, in lower case.
MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "null", "none", "?", "nat"}
)
TRUTH = {"true": 1.0, "false": 0.0}
DECIMALS = {"point": ".", "comma": ",", ".": ".", ",": ","}

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.ASCII | re.I)
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:e[+-]?\d+)?", re.ASCII | re.I)
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:e[+-]?\d+)?", re.ASCII | re.I)
_DECIMAL_COMMA_OR_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
# A no-break space or a narrow one separates thousands in French and Swiss files.
_THOUSANDS = re.compile(
    r"[+-]?\d{1,3}(?:([,.'\u2019 \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", re.ASCII
)
_DATE = re.compile(
    r"\d{4}-\d{1,2}(?:-\d{1,2}(?:[T ].*)?)?"  # 2024-01, 2024-01-31, with or without a time
    r"|\d{1,4}([/.])\d{1,2}\1\d{1,4}(?: .*)?"  # 31/01/2024, 1/31/24, 31.01.2024
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}"  # 31-Jan-2024
    r"|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"  # Jan 31, 2024
    r"|\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?",  # 12:30
    re.ASCII,
)
_DECORATION = re.compile(r"[\s%‰$€£¥()°]|-$")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def is_number(cell: str, decimal: str = ".") -> bool:
    """Return whether a cell is a number with this decimal sign. `12_3` is not."""
    if decimal == ",":
        return "." not in cell and _NUMBER.fullmatch(cell.replace(",", ".", 1)) is not None
    return _NUMBER.fullmatch(cell) is not None


def is_missing(cell: str) -> bool:
    """Return whether a cell is a code of a missing value."""
    return cell.lower() in MISSING


def is_date(cell: str) -> bool:
    """Return whether a cell is a date or a time, in any common form."""
    return _DATE.fullmatch(cell) is not None


def has_thousands(cell: str) -> bool:
    """Return whether a cell is a number with separators of thousands, such as 1,234.5."""
    return _THOUSANDS.fullmatch(cell) is not None


def is_disguised(cell: str) -> bool:
    """Return whether a cell is a number with a unit or in another form, such as 12 % or (1.5)."""
    plain = _DECORATION.sub("", unicodedata.normalize("NFKC", cell))
    return plain != cell and (is_number(plain) or is_number(plain, ",") or has_thousands(plain))


def looks_numeric(cell: str) -> bool:
    """Return whether a cell is a number, with a decimal point or a comma, or a truth value."""
    return is_number(cell) or is_number(cell, ",") or cell.lower() in TRUTH


def days(cell: str) -> float | None:
    """Return a date as days since 1970-01-01, or None if it is not written as 2024-01-31.

    A time of day counts as a fraction of a day. A time without a zone counts as UTC.
    """
    try:
        date = datetime.datetime.fromisoformat(cell)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return (date - _EPOCH) / datetime.timedelta(days=1)


def decimal_signs(columns: Sequence[Sequence[str]]) -> tuple[list[str], str, bool]:
    """Return the decimal sign of each column, an example of a comma, and whether it is certain.

    The sign of a column is a comma if it has numbers with one comma and none with a point. If
    all commas of the file are followed by three digits, they may separate thousands instead,
    and the signs are not certain.

    Args:
      columns: the cells of each column.
    """
    signs, example, certain = [], "", False
    for column in columns:
        found = []
        if "," in "".join(column):
            found = [cell for cell in column if _DECIMAL_COMMA.fullmatch(cell)]
        if not found or any(map(_DECIMAL_POINT.fullmatch, column)):
            signs.append(".")
            continue
        signs.append(",")
        example = example or found[0]
        certain = certain or not all(map(_DECIMAL_COMMA_OR_THOUSANDS.fullmatch, found))
    return signs, example, certain


def has_decimal_points(columns: Sequence[Sequence[str]]) -> bool:
    """Return whether any cell is a number with a decimal point."""
    return any(_DECIMAL_POINT.fullmatch(cell) for column in columns for cell in column)
