"""A grid of figures: every pair of features, with the densities of each feature on the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from ..data.observed import Observed, table_of
from ..internal import checks
from ..internal.feature_names import resolve_feature_names
from ..mixture.mixture import Mixture
from ..objective.densities import responsibilities
from .marginals import Marginal, marginal
from .mixtures import draw_curve, draw_ellipses, draw_rows
from .observed_rows import Evidence
from .style import color, dashes, new_axes, percent

MOST_FEATURES = 8


def pairs(
    mixture: Mixture, x: Any = None, ax: Any = None, *, level: float = 0.9,
    features: Sequence[int] | None = None, names: Sequence[str] | None = None,
    weight: ArrayLike | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw the rows and the ellipses of a mixture over every pair of features.

    The diagonal shows the histogram and the marginal densities of each feature. With one feature
    there is only the diagonal.

    Args:
      mixture: a single `Mixture`.
      x: (n, d) rows, or None for the mixture alone. Of `Observed` rows, missing values are imputed
        and marked by crosses, and noise is shown by error bars of one standard deviation.
      ax: (d, d) array of matplotlib axes, or None for a new figure.
      level: the fraction of a component's probability inside its ellipse.
      features: the indices of the features; by default all, or the first eight (the legend says
        so).
      names: names of all d features; by default the columns of x if it is a table with names, and
        numbers otherwise.
      weight: (n,) row weights for the histograms, or None for ones.

    Returns:
      The array of axes; those above the diagonal are empty.

    Raises:
      ValueError: for names, features or rows that do not match the mixture.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> axes = plot.pairs(jaxgmm.initialize(jax.random.key(1), x, 2), x, names=["a", "b"])
    >>> axes.shape, axes[1, 0].get_xlabel()
    ((2, 2), 'a')
    """
    names = resolve_feature_names(names, table_of(x), mixture.n_features)
    weight = None if weight is None else np.asarray(checks.array(weight, "weight"))
    features = list(range(mixture.n_features)[:MOST_FEATURES] if features is None else features)
    d = len(features)
    r = rows = evidence = None
    shown = marginal(mixture, features)
    if x is not None:
        r = np.asarray(responsibilities(mixture, x), np.float64)
        evidence = Evidence.of(mixture, x, features) if isinstance(x, Observed) else None
        if evidence is None:
            rows = np.asarray(checks.array(x, "x"), np.float64)[:, features]
        else:
            rows = evidence.rows
    if ax is None:
        side = 5 if d == 1 else max(2 * d, 5)
        ax = new_axes(side, side if d > 1 else 4, nrows=d, ncols=d, squeeze=False)
    ax = np.reshape(ax, (d, d))
    for i, vertical in enumerate(features):
        for j, horizontal in enumerate(features):
            panel = ax[i, j]
            if j > i:
                panel.set_axis_off()
            elif i == j:
                column = None if rows is None else rows[:, i]
                draw_curve(marginal(mixture, [vertical]), panel, column, weight)
            else:
                if r is not None and rows is not None:
                    draw_rows(r, rows[:, [j, i]], panel)
                    if evidence is not None:
                        evidence.draw(panel, j, i)
                draw_ellipses(mixture, panel, level, (horizontal, vertical))
            panel.set_xlabel(names[horizontal] if i == d - 1 else "")
            if d > 1:
                panel.set_ylabel(names[vertical] if j == 0 and i > 0 else "")
    _align_ranges(ax, shown, rows)
    _add_legend(ax, shown, level, mixture.n_features)
    return ax


def _align_ranges(ax: np.ndarray, shown: Marginal, rows: np.ndarray | None) -> None:
    """Give each feature the same range in its row and column, with numbers only at the edges."""
    d = len(ax)
    for i in range(d):
        low, high = shown.extent(i, 2.6)
        if rows is not None:
            low, high = min(low, rows[:, i].min()), max(high, rows[:, i].max())
        margin = 0.03 * (high - low)
        limits = low - margin, high + margin
        for panel in ax[i:, i]:
            panel.set_xlim(limits)
        for panel in ax[i, :i]:
            panel.set_ylim(limits)
        ax[i, i].set_yticks([])
        ax[i, i].spines["left"].set_visible(False)
        for j in range(i + 1):
            ax[i, j].locator_params(axis="x", nbins=4)
            ax[i, j].tick_params(labelbottom=i == d - 1, labelleft=j == 0 and i > 0)
            if i != j:
                ax[i, j].locator_params(axis="y", nbins=4)


def _add_legend(ax: np.ndarray, shown: Marginal, level: float, n_features: int) -> None:
    from matplotlib.lines import Line2D

    d = len(ax)
    percents = np.round(100 * shown.weights).astype(int)
    lines = [
        Line2D([], [], color=color(k), ls=dashes(k), lw=2, label=f"component {k + 1}: {weight} %")
        for k, weight in zip(shown.components, percents, strict=True)
    ]
    title = f"ellipses contain {percent(level)}" if d > 1 else None
    if d < n_features:
        title = "\n".join(filter(None, (f"{d} of {n_features} features", title)))
    panel = ax[0, -1] if d > 1 else ax[0, 0]
    panel.legend(handles=lines, frameon=False, title=title, loc="upper right", fontsize="small",
                 title_fontsize="small")  # fmt: skip
