"""Output of the command line: checks before the computation, and files written atomically."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..internal.atomic_write import open_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_outputs(
    out: str | None = None, plot: str | None = None, inputs: Sequence[str] = ()
) -> None:
    """Raise an error, before the computation, for output files that cannot be written after it.

    Args:
      out: the file for the result, or None.
      plot: the file for the figure, or None.
      inputs: the input files, which must not be overwritten.

    Raises:
      ValueError: for a folder that does not exist, a folder instead of a file, an input file, or an
        unknown figure format.
      ImportError: if a figure is wanted and matplotlib is not installed.
    """
    for option, path in (("--out", out), ("--plot", plot)):
        if path == "":
            raise ValueError(f"{option} is empty: give the name of a file.")
    for path in filter(None, (out, plot)):
        folder = os.path.dirname(path)
        if folder and not os.path.isdir(folder):
            raise ValueError(f"{path}: the folder {folder} does not exist: create it first.")
        if os.path.isdir(path):
            raise ValueError(f"{path} is a folder: give the name of a file in it.")
        for source in inputs:
            if os.path.isfile(path) and os.path.isfile(source) and os.path.samefile(path, source):
                raise ValueError(f"{path} is also an input file: write to another file.")
    if plot:
        try:
            from matplotlib.backend_bases import FigureCanvasBase
        except ImportError:
            raise ImportError(
                "--plot needs matplotlib, which is not installed: python -m pip install matplotlib."
            ) from None
        formats = FigureCanvasBase.get_supported_filetypes()
        if figure_format(plot) not in formats:
            raise ValueError(
                f"{plot}: the figure format is unknown: use one of {', '.join(sorted(formats))}."
            )


def figure_format(path: str) -> str:
    """Return the figure format that a file name's suffix names; "png" without a suffix."""
    return os.path.splitext(path)[1][1:].lower() or "png"


def save_figure(figure: Figure, path: str) -> None:
    """Write a matplotlib figure to a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=figure_format(path), dpi=150)
    with open_atomically(path) as file:
        file.write(buffer.getvalue())


def write_table(names: Sequence[str], lines: Iterable[Iterable[float]], path: str | None) -> None:
    """Write lines of numbers and their column names as CSV.

    Args:
      names: the column names.
      lines: the numbers of each line; NaN leaves a cell blank.
      path: the file, or None or "-" for stdout.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(
        ["" if value != value else f"{value:.10g}" for value in line] for line in lines
    )
    if path is None or path == "-":
        print(text.getvalue(), end="", flush=True)
    else:
        with open_atomically(path) as file:
            file.write(text.getvalue().encode())
