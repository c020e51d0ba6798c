"""Figures of a mixture: its components, its density, and its rows."""

from __future__ import annotations

import numpy as np

from ..internal import checks
from ..internal.feature_names import resolve_feature_names
from ..mixture import densities
from ..mixture.marginals import choose_features, marginal
from ..mixture.mixture import Mixture
from .style import INK, color, dashes, new_axes, percent, tidy

MOST_FEATURES = 8
GRID = 160


def ellipses(mixture: Mixture, ax=None, *, level: float = 0.9, features=(0, 1)):
    """For each component the ellipse that holds `level` of its probability, over two features.

    (Its squared radius is the χ² quantile with two degrees of freedom, −2 log(1 − level), in units
    of the component's covariance: a "2σ" ellipse would hold 86 %.) Line widths follow weights; the
    heaviest component's ellipse is marked with the level.

    Args:
      mixture: what is drawn.
      ax: matplotlib axes, or None.
      level: the share of a component's probability inside its ellipse.
      features: the indices of the features across and up.

    Returns the axes. Raises ValueError for a level that is not between 0 and 1, and for other than
    two features."""
    from matplotlib.patheffects import withStroke

    ax = _ellipses(mixture, ax, level, features)
    drawn = marginal(mixture, features)
    heaviest = int(np.argmax(drawn.weights))
    covariance = drawn.covariances[heaviest]
    top = np.sqrt(-2 * np.log1p(-level)) * covariance[1] / np.sqrt(covariance[1, 1])
    ax.annotate(
        percent(level), drawn.means[heaviest] + top, (0, 3), textcoords="offset points",
        ha="center", fontsize="small", color=color(drawn.components[heaviest]),
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip
    return ax


def _ellipses(mixture, ax, level, features):
    from matplotlib.patches import Ellipse

    checks.between(level, "level", 1e-9, 1 - 1e-9)
    if mixture.n_features < 2 or len(features) != 2:
        raise ValueError("an ellipse needs two features, as features=(0, 2): density draws one.")
    ax = new_axes() if ax is None else ax
    drawn = marginal(mixture, features)
    radius = np.sqrt(-2 * np.log1p(-level))
    share = drawn.weights / drawn.weights.max()
    for k, mean, covariance, part in zip(
        drawn.components, drawn.means, drawn.covariances, share, strict=True
    ):
        values, vectors = np.linalg.eigh(covariance)
        width, height = 2 * radius * np.sqrt(values)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        look = dict(fill=False, color=color(k), ls=dashes(k), lw=1 + 1.2 * part, zorder=3)
        ax.add_patch(Ellipse(mean, width, height, angle=angle, **look))
        ax.plot(*mean, "+", color="white", ms=10, mew=4, zorder=3)
        ax.plot(*mean, "+", color=color(k), ms=8, mew=2, zorder=3)
    ax.autoscale_view()
    return tidy(ax)


def density(mixture: Mixture, ax=None, *, features=None, levels=(0.5, 0.9, 0.99)):
    """The mixture's density. Over one feature: a curve, with each component's share beneath it.
    Over two: shades of the smallest regions that hold the shares `levels` of the probability; each
    region's edge is marked with its share.

    Args:
      mixture: what is drawn.
      ax: matplotlib axes, or None.
      features: one or two indices; by default the first two, or the only one.
      levels: shares of the probability, between 0 and 1.

    Returns the axes. Raises ValueError for levels or features that are not as said."""
    features = range(min(2, mixture.n_features)) if features is None else np.atleast_1d(features)
    if len(features) not in (1, 2):
        raise ValueError("density draws one or two features: choose them, as features=(0, 2).")
    ax = new_axes() if ax is None else ax
    drawn = marginal(mixture, features)
    if len(features) == 1:
        return _curve(drawn, ax)
    for level in levels:
        checks.between(level, "each of levels", 1e-9, 1 - 1e-9)
    (low, high), (bottom, top) = drawn.extent(0, 4), drawn.extent(1, 4)
    across, up = np.linspace(low, high, GRID), np.linspace(bottom, top, GRID)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    height = drawn.component_densities(points).sum(axis=0)
    falling = np.sort(height)[::-1]
    held = np.cumsum(falling) / falling.sum()
    shares = {falling[min(np.searchsorted(held, level), len(held) - 1)]: level for level in levels}
    edges = sorted({*shares, height.max() * 1.0001})
    # From light (the outermost) to dark.
    greys = [str(shade) for shade in np.linspace(0.95, 0.75, len(edges) - 1)]
    grid = height.reshape(GRID, GRID)
    ax.contourf(across, up, grid, levels=edges, colors=greys, zorder=0)
    lines = ax.contour(across, up, grid, levels=edges[:-1], colors="0.45", linewidths=0.6, zorder=0)
    told = {edge: percent(shares[edge]) for edge in edges[:-1]}
    ax.clabel(lines, fmt=told, colors=INK, fontsize="small", zorder=4)
    return tidy(ax)


def _curve(drawn, ax, rows=None, weight=None):
    low, high = drawn.extent(0)
    if rows is not None:
        low, high = min(low, rows.min()), max(high, rows.max())
        edges = np.histogram_bin_edges(rows, "auto")
        edges = np.linspace(edges[0], edges[-1], min(len(edges), 61))
        ax.hist(rows, edges, weights=weight, density=True, color="0.88", edgecolor="white", lw=0.4)
    # Points where components are narrow, too.
    own = drawn.means[:, :1] + np.sqrt(drawn.covariances[:, 0]) * np.linspace(-4, 4, 101)
    across = np.unique(np.concatenate([np.linspace(low, high, 401), own.ravel()]))
    parts = drawn.component_densities(across[:, None])
    for k, part in zip(drawn.components, parts, strict=True):
        ax.fill_between(across, part, color=color(k), alpha=0.15, lw=0)
        ax.plot(across, part, dashes(k), color=color(k), lw=1.4)
    ax.plot(across, parts.sum(axis=0), color=INK, lw=1.2)
    ax.set(xlim=(low, high), ylim=(0, None), ylabel="density")
    return tidy(ax)


def responsibilities(mixture: Mixture, x, ax=None, *, features=None):
    """Rows in the color of their likeliest component, the fainter the less certain it is.

    Args:
      mixture: which says how likely.
      x: (n, d) rows.
      ax: matplotlib axes, or None.
      features: one or two indices; by default the first two, or the only one, which is drawn as
        ticks at the foot of the axes.

    Returns the axes. Raises ValueError as `jaxgmm.responsibilities`."""
    features = range(min(2, mixture.n_features)) if features is None else np.atleast_1d(features)
    if len(features) not in (1, 2):
        raise ValueError("rows are drawn over one or two features, as features=(0, 2).")
    features = choose_features(mixture, features)
    alone = ax is None and len(features) == 1
    if ax is None:
        ax = new_axes(5, 1 if alone else 4)
    shares = np.asarray(densities.responsibilities(mixture, x), np.float64)
    _points(shares, np.asarray(x, np.float64)[:, features], ax)
    if alone:
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    return ax


def _points(shares, rows, ax):
    from matplotlib.colors import to_rgba

    likeliest, most = shares.argmax(axis=1), shares.max(axis=1)
    k = max(int(np.sum(shares.any(axis=0))), 2)
    certainty = np.clip((most - 1 / k) / (1 - 1 / k), 0, 1)
    colors = np.array([to_rgba(color(component)) for component in likeliest])
    dense = min(1.0, 8 / np.sqrt(len(rows)) + 0.25)  # many rows are drawn smaller and fainter
    colors[:, 3] = (0.15 + 0.85 * certainty) * dense
    order = np.argsort(certainty)[::-1]  # the doubtful on top, else nobody sees them
    if rows.shape[1] == 1:
        foot = ax.get_xaxis_transform()
        ax.scatter(
            rows[order, 0], np.full(len(rows), 0.02), s=60, c=colors[order], marker="|", lw=0.8,
            transform=foot,
        )  # fmt: skip
        ax.update_datalim(rows * [[1, 0]], updatey=False)  # ticks at the foot have no height
        ax.autoscale_view(scaley=False)
    else:
        size = np.clip(3000 / len(rows), 3, 16)
        ax.scatter(*rows[order].T, s=size, c=colors[order], lw=0, zorder=2)
    return tidy(ax)


def pairs(
    mixture: Mixture, x=None, ax=None, *, level: float = 0.9, features=None, names=None, weight=None
):
    """Every pair of features: rows by responsibility, and ellipses at `level`; on the diagonal each
    feature's histogram and marginal densities. One feature: that diagonal alone.

    Args:
      mixture: what is drawn.
      x: (n, d) rows, or None for the mixture alone.
      ax: (d, d) array of axes, or None.
      level: the share of a component's probability inside its ellipse.
      features: which to draw, by index; by default all, or the first eight (the legend says so).
      names: of all d features; default: the columns of x if it is a table with names, else numbers.
      weight: (n,) row weights, for the histograms.

    Returns the array of axes; those above the diagonal are empty. Raises ValueError for names,
    features or rows that do not go with the mixture.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> axes = plot.pairs(jaxgmm.initialize(jax.random.key(1), x, 2), x, names=["a", "b"])
    >>> axes.shape, axes[1, 0].get_xlabel()
    ((2, 2), 'a')
    """
    names = resolve_feature_names(names, x, mixture.n_features)
    features = list(range(mixture.n_features)[:MOST_FEATURES] if features is None else features)
    d = len(features)
    drawn = marginal(mixture, features)
    shares = rows = None
    if x is not None:
        shares = np.asarray(densities.responsibilities(mixture, x), np.float64)
        rows = np.asarray(x, np.float64)[:, features]
    if ax is None:
        side = 5 if d == 1 else max(2 * d, 5)
        ax = new_axes(side, side if d > 1 else 4, nrows=d, ncols=d, squeeze=False)
    ax = np.reshape(ax, (d, d))
    for i, feature in enumerate(features):
        for j, beside in enumerate(features):
            one = ax[i, j]
            if j > i:
                one.set_axis_off()
            elif i == j:
                _curve(
                    marginal(mixture, [feature]), one, None if rows is None else rows[:, i], weight
                )
            else:
                if rows is not None:
                    _points(shares, rows[:, [j, i]], one)
                _ellipses(mixture, one, level, (beside, feature))
            one.set_xlabel(names[beside] if i == d - 1 else "")
            if d > 1:
                one.set_ylabel(names[feature] if j == 0 and i > 0 else "")
    _align(ax, drawn, rows)
    _legend(ax, drawn, level, mixture.n_features)
    return ax


def _align(ax, drawn, rows) -> None:
    """The same range for a feature in its row and column; numbers at the edges only."""
    d = len(ax)
    for i in range(d):
        low, high = drawn.extent(i, 2.6)
        if rows is not None:
            low, high = min(low, rows[:, i].min()), max(high, rows[:, i].max())
        margin = 0.03 * (high - low)
        limits = low - margin, high + margin
        for one in ax[i:, i]:
            one.set_xlim(limits)
        for one in ax[i, :i]:
            one.set_ylim(limits)
        ax[i, i].set_yticks([])
        ax[i, i].spines["left"].set_visible(False)
        for j in range(i + 1):
            ax[i, j].locator_params(axis="x", nbins=4)
            ax[i, j].tick_params(labelbottom=i == d - 1, labelleft=j == 0 and i > 0)
            if i != j:
                ax[i, j].locator_params(axis="y", nbins=4)


def _legend(ax, drawn, level, of: int) -> None:
    from matplotlib.lines import Line2D

    d = len(ax)
    lines = [
        Line2D([], [], color=color(k), ls=dashes(k), lw=2, label=f"component {k + 1}: {share} %")
        for k, share in zip(
            drawn.components, np.round(100 * drawn.weights).astype(int), strict=True
        )
    ]
    title = f"ellipses hold {percent(level)}" if d > 1 else None
    if d < of:
        title = "\n".join(filter(None, (f"{d} of {of} features", title)))
    where = ax[0, -1] if d > 1 else ax[0, 0]
    where.legend(handles=lines, frameon=False, title=title, loc="upper right", fontsize="small",
                 title_fontsize="small")  # fmt: skip
