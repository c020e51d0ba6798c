"""Warnings that point at the user's line."""

from __future__ import annotations

import os
import pathlib
import sys
import types
import warnings

PACKAGE = str(pathlib.Path(__file__).parent.parent)


def warn(message: str) -> None:
    """Warn, with a stack level that points at the nearest line outside this package."""
    level = 1
    frame: types.FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE + os.sep):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
