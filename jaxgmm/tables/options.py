"""How to read a file of rows."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How to read a file of rows, where the file does not say it.

    Attributes:
      columns: the columns to read, by name or by number from 1, or None for all.
      weight: the column with row weights, which is not one of the features, or None.
      drop_missing: whether to leave out rows with a missing cell. Otherwise they raise an error,
        unless they are kept.
      keep_missing: whether a missing cell is NaN in the result.
      labels: the column with labels of the rows, which is not one of the features, or None.
      numeric: whether to leave out columns of text and dates. Otherwise they raise an error.
      header: whether the first line of a text names the columns, or None to recognize it.
      separator: what separates the columns of a text, or None to recognize it.
      decimal: the decimal sign of a text, "." or ",", or None to recognize it.
      encoding: the encoding of a text, or None for UTF-8, or for what its first bytes show.
      missing: codes of missing values in a text, besides the usual ones.
    """

    columns: list[str] | None = None
    weight: str | None = None
    drop_missing: bool = False
    keep_missing: bool = False
    labels: str | None = None
    numeric: bool = False
    header: bool | None = None
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] = ()
