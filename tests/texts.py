"""How tests read what is printed."""

import re


def table_under(text, name):
    """The first table with such a column, as {column: cell} of its first line."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if name in re.split(r"\s{2,}", line.strip()))
    return dict(zip(lines[at].split(), lines[at + 1].split(), strict=True))
