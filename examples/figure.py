"""Files for the figures of the examples, if matplotlib is installed."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def is_possible() -> bool:
    """Return whether matplotlib is installed; if not, print that there is no figure."""
    if importlib.util.find_spec("matplotlib"):
        return True
    print("\nNo figure: matplotlib is not installed.")
    return False


def save(figure: Figure, name: str) -> None:
    """Save a matplotlib figure next to the examples, and show it if this is a notebook."""
    from PIL import Image  # matplotlib needs it

    path = load.EXAMPLES / name
    figure.savefig(path, dpi=120)
    palette = Image.open(path).convert("RGB").quantize(256)  # a third of the bytes
    palette.save(path, optimize=True)
    print(f"\nFigure: {path.parent.name}/{name}")
    if "ipykernel" in sys.modules:
        from IPython import display

        display.display(display.Image(path))
