"""Style that all figures share: colors, line styles and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colors of Okabe & Ito, which most color-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", ":", "-.")
INK = "#333333"


def color(component: int) -> str:
    """Return the color of a component, which is the same in every figure."""
    return PALETTE[component % len(PALETTE)]


def dashes(component: int) -> str:
    """Return the line style of a component, which changes when the colors repeat."""
    return DASHES[component // len(PALETTE) % len(DASHES)]


def percent(fraction: float) -> str:
    """Return a fraction as text: "90 %" for 0.9."""
    return f"{100 * fraction:.3g} %"


def new_axes(width: float = 5, height: float = 4, **layout: Any) -> Any:
    """Return axes on a new figure, an array of them for several rows or columns.

    The figure is created without pyplot, which would open windows and change global settings.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots(**layout)


def remove_box(ax: Axes) -> Axes:
    """Hide the top and right spines of the axes and return the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
