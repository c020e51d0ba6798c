"""What all figures share: colors, fresh axes, and a mixture's marginals as plain arrays."""

from __future__ import annotations

# Okabe & Ito's colors, which most color-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", ":", "-.")
INK = "#333333"


def color(component: int) -> str:
    """The color of a component: the same in every figure."""
    return PALETTE[component % len(PALETTE)]


def dashes(component: int) -> str:
    """The dashes of a component's lines: they differ where colors come round again."""
    return DASHES[component // len(PALETTE) % len(DASHES)]


def percent(share: float) -> str:
    """0.9 as "90 %"."""
    return f"{100 * share:.3g} %"


def new_axes(width: float = 5, height: float = 4, **layout):
    """New axes on a figure of their own. Without pyplot: no window, and no setting left behind."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots(**layout)


def tidy(ax):
    """The axes without their box."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
