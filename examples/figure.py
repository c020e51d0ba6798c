"""Where the examples keep their figures: beside themselves, if matplotlib is installed."""

import importlib.util
import sys

import load


def possible() -> bool:
    """Whether figures can be drawn; says so if not."""
    if importlib.util.find_spec("matplotlib"):
        return True
    print("\nNo figure: matplotlib is not installed.")
    return False


def keep(figure, name: str) -> None:
    """Writes a matplotlib figure beside the examples; a notebook also shows it."""
    path = load.EXAMPLES / name
    figure.savefig(path, dpi=120)
    print(f"\nFigure: {path.parent.name}/{name}")
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(path))
