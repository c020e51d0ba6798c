"""Messages of the command line."""

from __future__ import annotations

import sys


def in_shell_words(text: str) -> str:
    """Return a message of the library with advice for the shell instead of for Python."""
    from ..data.linear_dependence import REMEDY

    return text.replace(REMEDY, "Leave such a column out by --columns, or pass --family diagonal.")


def print_message(text: str) -> None:
    """Print a message on stderr."""
    print(f"jaxgmm: {text}", file=sys.stderr)
