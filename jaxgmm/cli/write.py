"""What the command line writes: refused before the work is done, and then whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from ..internal.atomic_write import open_atomically


def check_outputs(
    out: str | None = None, plot: str | None = None, inputs: Sequence[str] = ()
) -> None:
    """Refuses, before the work is done, what could not or must not be written after it."""
    for path in filter(None, (out, plot)):
        folder = os.path.dirname(path)
        if folder and not os.path.isdir(folder):
            raise ValueError(f"{path}: there is no folder {folder}.")
        if os.path.isdir(path):
            raise ValueError(f"{path} is a folder: give the name of a file in it.")
        for source in inputs:
            if os.path.isfile(path) and os.path.isfile(source) and os.path.samefile(path, source):
                raise ValueError(f"{path} is what is read: write to another file.")
    if plot:
        try:
            from matplotlib.backend_bases import FigureCanvasBase
        except ImportError:
            raise ImportError(
                "--plot needs matplotlib, which is not installed: python -m pip install matplotlib."
            ) from None
        kinds = FigureCanvasBase.get_supported_filetypes()
        if kind_of(plot) not in kinds:
            raise ValueError(f"{plot}: figures are of a kind among {', '.join(sorted(kinds))}.")


def kind_of(path: str) -> str:
    """What kind of figure a file's name asks for."""
    return os.path.splitext(path)[1][1:].lower() or "png"


def save_figure(figure, path: str) -> None:
    """A matplotlib figure, to a file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind_of(path), dpi=150)
    with open_atomically(path) as file:
        file.write(drawn.getvalue())


def write_table(names, lines, path: str | None) -> None:
    """Lines of numbers under their names as CSV, to a file, or to stdout for None and "-"."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([f"{value:.10g}" for value in line] for line in lines)
    if path in (None, "-"):
        print(text.getvalue(), end="", flush=True)
    else:
        with open_atomically(path) as file:
            file.write(text.getvalue().encode())
