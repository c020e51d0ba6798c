"""A warning that points at the user's line."""

from __future__ import annotations

import os
import pathlib
import sys
import warnings

PACKAGE = str(pathlib.Path(__file__).parent.parent)


def warn(message: str) -> None:
    """Warns at the line outside this package that led here."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE + os.sep):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
