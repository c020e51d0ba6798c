"""Figures of a mixture and its rows, which `jaxgmm.plot` exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from ..inference.uncertainty_result import Uncertainty
from ..internal import checks
from ..mixture import complete_rows
from ..mixture.mixture import Mixture
from .marginals import Marginal, choose_features, marginal
from .style import INK, color, dashes, new_axes, percent, remove_box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = 160


def ellipses(
    mixture: Mixture, ax: Axes | None = None, *,
    level: float = 0.9, features: Sequence[int] = (0, 1),
    uncertainty: Uncertainty | None = None,
) -> Axes:  # fmt: skip
    """Draw, over two features, the ellipse that contains `level` of each component's probability.

    The squared radius of an ellipse is the χ² quantile with two degrees of freedom,
    −2 log(1 − level), in units of the component's covariance; a "2σ" ellipse would contain 86 %.
    Lines are wider for larger weights. The level is written at the ellipse of largest weight.

    Args:
      mixture: a single `Mixture`.
      ax: matplotlib axes, or None for a new figure.
      level: the fraction of a component's probability inside its ellipse.
      features: the indices of the features on the x and y axes.
      uncertainty: the result of `jaxgmm.uncertainty` for this mixture, or None. With it, a filled
        ellipse around each mean covers the true mean with probability `level`.

    Returns:
      The axes.

    Raises:
      ValueError: if the level is not between 0 and 1, there are not two features, or `ax` is not
        matplotlib's.
    """
    from matplotlib.patheffects import withStroke

    ax = draw_ellipses(mixture, ax, level, features)
    if uncertainty is not None:
        draw_confidence(uncertainty, ax, level, features)
    shown = marginal(mixture, features)
    heaviest = int(np.argmax(shown.weights))
    covariance = shown.covariances[heaviest]
    top = np.sqrt(-2 * np.log1p(-level)) * covariance[1] / np.sqrt(covariance[1, 1])
    ax.annotate(
        percent(level), shown.means[heaviest] + top, (0, 3), textcoords="offset points",
        ha="center", fontsize="small", color=color(shown.components[heaviest]),
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip
    return ax


def draw_ellipses(mixture: Mixture, ax: Axes | None, level: float, features: Sequence[int]) -> Axes:
    """Draw the ellipses that contain `level` of each component over two features."""
    from matplotlib.patches import Ellipse

    checks.between(level, "level", 1e-9, 1 - 1e-9)
    if mixture.n_features < 2 or len(features) != 2:
        raise ValueError(
            "an ellipse needs two features: pass e.g. features=(0, 2), or use density for one."
        )
    if ax is None:
        ax = new_axes()
    elif not hasattr(ax, "add_patch"):
        raise ValueError(
            f"ax is a {type(ax).__name__}, and ellipses are drawn of the mixture alone: pass "
            "matplotlib axes, or nothing for a new figure."
        )
    shown = marginal(mixture, features)
    radius = np.sqrt(-2 * np.log1p(-level))
    line_widths = 1 + 1.2 * shown.weights / shown.weights.max()
    for k, mean, covariance, line_width in zip(
        shown.components, shown.means, shown.covariances, line_widths, strict=True
    ):
        values, vectors = np.linalg.eigh(covariance)
        width, height = 2 * radius * np.sqrt(values)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        style: dict[str, Any] = dict(fill=False, color=color(k), ls=dashes(k), lw=line_width)
        ax.add_patch(Ellipse(mean, width, height, angle=angle, zorder=3, **style))
        ax.plot(*mean, "+", color="white", ms=10, mew=4, zorder=3)
        ax.plot(*mean, "+", color=color(k), ms=8, mew=2, zorder=3)
    ax.autoscale_view()
    return remove_box(ax)


def draw_confidence(found: Uncertainty, ax: Axes, level: float, features: Sequence[int]) -> None:
    """Fill the ellipse around each mean that covers the true mean with probability `level`."""
    from matplotlib.patches import Ellipse

    indices = choose_features(found.mixture, features)
    means = np.asarray(found.mixture.means, float)[:, indices]
    k, d = found.mixture.means.shape
    covariance = np.asarray(found.of(_means).covariance, float).reshape(k, d, k, d)
    radius = np.sqrt(-2 * np.log1p(-level))
    for component in np.flatnonzero(np.asarray(found.mixture.present)).tolist():
        own = covariance[component][:, component][np.ix_(indices, indices)]
        if not np.isfinite(own).all():
            continue
        values, vectors = np.linalg.eigh(own)
        width, height = 2 * radius * np.sqrt(np.maximum(values, 0))
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        style: dict[str, Any] = dict(color=color(component), alpha=0.35, lw=0, zorder=3)
        ax.add_patch(Ellipse(means[component], width, height, angle=angle, **style))


def _means(mixture: Mixture) -> Any:
    return mixture.means


def density(
    mixture: Mixture, ax: Axes | None = None, *,
    features: Sequence[int] | int | None = None, levels: Sequence[float] = (0.5, 0.9, 0.99),
) -> Axes:  # fmt: skip
    """Draw the density of a mixture over one or two features.

    Over one feature the density is a curve above the weighted densities of the components. Over two
    features shades show the smallest regions that contain the fractions `levels` of the
    probability, and the boundary of each region is labeled with its fraction.

    Args:
      mixture: a single `Mixture`.
      ax: matplotlib axes, or None for a new figure.
      features: one or two indices; by default the first two, or the only one.
      levels: fractions of the probability, between 0 and 1.

    Returns:
      The axes.

    Raises:
      ValueError: if a level is not between 0 and 1, or there are not one or two features.
    """
    indices = _default_features(mixture, features)
    if len(indices) not in (1, 2):
        raise ValueError("density draws one or two features: choose them, e.g. features=(0, 2).")
    ax = new_axes() if ax is None else ax
    shown = marginal(mixture, indices)
    if len(indices) == 1:
        return draw_curve(shown, ax)
    for level in levels:
        checks.between(level, "each of levels", 1e-9, 1 - 1e-9)
    x, y = (np.linspace(*shown.extent(i, 4), GRID) for i in (0, 1))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    height = shown.component_densities(points).sum(axis=0)
    falling = np.sort(height)[::-1]
    inside = np.cumsum(falling) / falling.sum()
    last = len(inside) - 1
    fractions = {falling[min(int(np.searchsorted(inside, q)), last)]: q for q in levels}
    edges = sorted({*fractions, height.max() * 1.0001})
    grays = [str(shade) for shade in np.linspace(0.95, 0.75, len(edges) - 1)]  # outermost first
    grid = height.reshape(GRID, GRID)
    ax.contourf(x, y, grid, levels=edges, colors=grays, zorder=0)
    lines = ax.contour(x, y, grid, levels=edges[:-1], colors="0.45", linewidths=0.6, zorder=0)
    labels = {edge: percent(fractions[edge]) for edge in edges[:-1]}
    ax.clabel(lines, fmt=labels, colors=INK, fontsize="small", zorder=4)
    return remove_box(ax)


def _default_features(mixture: Mixture, features: Sequence[int] | int | None) -> Any:
    """Return the features as a sequence; by default the first two, or the only one."""
    return range(min(2, mixture.n_features)) if features is None else np.atleast_1d(features)


def draw_curve(
    shown: Marginal, ax: Axes, rows: np.ndarray | None = None, weight: ArrayLike | None = None
) -> Axes:
    """Draw the density of one feature, over the histogram of its rows (n,) if there are any."""
    low, high = shown.extent(0)
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        edges = np.histogram_bin_edges(rows, "auto")
        edges = np.linspace(edges[0], edges[-1], min(len(edges), 61))
        style: dict[str, Any] = dict(color="0.88", edgecolor="white", lw=0.4)
        ax.hist(rows, edges.tolist(), weights=weight, density=True, **style)
    # A uniform grid alone could miss narrow components.
    own = shown.means[:, :1] + np.sqrt(shown.covariances[:, 0]) * np.linspace(-4, 4, 101)
    x = np.unique(np.concatenate([np.linspace(low, high, 401), own.ravel()]))
    parts = shown.component_densities(x[:, None])
    for k, part in zip(shown.components, parts, strict=True):
        ax.fill_between(x, part, color=color(k), alpha=0.15, lw=0)
        ax.plot(x, part, dashes(k), color=color(k), lw=1.4)
    ax.plot(x, parts.sum(axis=0), color=INK, lw=1.2)
    ax.set(xlim=(low, high), ylim=(0, None), ylabel="density")
    return remove_box(ax)


def responsibilities(
    mixture: Mixture, x: Any, ax: Axes | None = None, *,
    features: Sequence[int] | int | None = None,
) -> Axes:  # fmt: skip
    """Draw rows in the color of their most likely component, fainter if that is less certain.

    Args:
      mixture: a single `Mixture`, which determines the responsibilities.
      x: (n, d) rows.
      ax: matplotlib axes, or None for a new figure.
      features: one or two indices; by default the first two, or the only one. Over one feature the
        rows are ticks at the bottom of the axes.

    Returns:
      The axes.

    Raises:
      ValueError: as `jaxgmm.responsibilities` does, and if there are not one or two features.
    """
    indices = _default_features(mixture, features)
    if len(indices) not in (1, 2):
        raise ValueError("rows are drawn over one or two features: pass e.g. features=(0, 2).")
    indices = choose_features(mixture, indices)
    only_ticks = ax is None and len(indices) == 1
    if ax is None:
        ax = new_axes(5, 1 if only_ticks else 4)
    r = np.asarray(complete_rows.responsibilities(mixture, x), np.float64)
    draw_rows(r, np.asarray(checks.array(x, "x"), np.float64)[:, indices], ax)
    if only_ticks:
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    return ax


def draw_rows(r: np.ndarray, rows: np.ndarray, ax: Axes) -> Axes:
    """Draw rows (n, 1) or (n, 2) with responsibilities r (n, k)."""
    from matplotlib.colors import to_rgba

    likeliest, largest = r.argmax(axis=1), r.max(axis=1)
    k = max(int(np.sum(r.any(axis=0))), 2)
    certainty = np.clip((largest - 1 / k) / (1 - 1 / k), 0, 1)
    colors = np.array([to_rgba(color(component)) for component in likeliest])
    opacity = min(1.0, 8 / np.sqrt(len(rows)) + 0.25)  # many rows are drawn smaller and fainter
    colors[:, 3] = (0.15 + 0.85 * certainty) * opacity
    order = np.argsort(certainty)[::-1]  # uncertain rows are drawn last, else others cover them
    if rows.shape[1] == 1:
        ax.scatter(
            rows[order, 0], np.full(len(rows), 0.02), s=60, c=colors[order], marker="|", lw=0.8,
            transform=ax.get_xaxis_transform(),
        )  # fmt: skip
        ax.update_datalim(rows * [[1, 0]], updatey=False)  # ticks have no height in data units
        ax.autoscale_view(scaley=False)
    else:
        size = np.clip(3000 / len(rows), 3, 16)
        ax.scatter(rows[order, 0], rows[order, 1], s=size, c=colors[order], lw=0, zorder=2)
    return remove_box(ax)
