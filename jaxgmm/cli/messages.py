"""Messages of the command line."""

from __future__ import annotations

import sys


def print_message(text: str) -> None:
    """Print a message on stderr."""
    print(f"jaxgmm: {text}", file=sys.stderr)
