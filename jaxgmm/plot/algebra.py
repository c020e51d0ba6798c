"""Figures of conditionals, modes, transport plans and clusters, which `jaxgmm.plot` exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.combine import Combined
from ..algebra.features import Features, resolve_features
from ..algebra.marginal import marginal
from ..algebra.modes import modes as find_modes
from ..algebra.regress import regress
from ..divergences.wasserstein import Plan
from ..internal import checks
from ..internal.feature_names import default_feature_names
from ..mixture.complete_rows import log_prob
from ..mixture.mixture import Mixture
from .marginals import marginal as shown_marginal
from .mixtures import density
from .style import INK, PALETTE, color, new_axes, percent, remove_box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALONG, ACROSS = 161, 201
START, END = PALETTE[0], PALETTE[1]


def conditional(
    mixture: Mixture, given: Features, target: Features, ax: Axes | None = None, *,
    rows: Any = None, level: float = 0.9, names: Sequence[str] | None = None,
) -> Axes:  # fmt: skip
    """Draw the distribution of one feature given another one, with its mean and an interval.

    Shades show the density of the target for each value of the given feature, relative to its
    largest value there. The line is the conditional mean. Dashed lines enclose the central `level`
    of the conditional probability. Other features are left out (they are integrated over).

    Args:
      mixture: a single `Mixture` of two or more features.
      given: the feature on the x axis, by number or by name.
      target: the feature on the y axis, by number or by name.
      ax: matplotlib axes, or None for a new figure.
      rows: (n, d) rows of all features, which are drawn as dots, or None.
      level: the probability between the dashed lines.
      names: names of all d features; by default numbers.

    Returns:
      The axes.

    Raises:
      ValueError: if there is not one feature of each kind, or the level is not between 0 and 1.
    """
    chosen = [resolve_features(mixture, feature, names) for feature in (given, target)]
    if any(len(features) != 1 for features in chosen):
        raise ValueError(
            "one feature is drawn given another: pass one as `given` and one as `target`; the "
            "others are left out."
        )
    (i,), (j,) = chosen
    if i == j:
        raise ValueError(f"feature {i} is given and drawn: pass two different features.")
    checks.between(level, "level", 1e-9, 1 - 1e-9)
    ax = new_axes() if ax is None else ax
    shown, pair = shown_marginal(mixture, [i, j]), marginal(mixture, (i, j))
    x, y = np.linspace(*shown.extent(0, 3), ALONG), np.linspace(*shown.extent(1, 4), ACROSS)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    height = shown.component_densities(grid).sum(axis=0).reshape(len(y), len(x))
    relative = height / np.maximum(height.max(axis=0), np.finfo(float).tiny)
    ax.pcolormesh(x, y, relative, cmap="Greys", vmin=0, vmax=2.2, shading="gouraud", zorder=0)
    found = regress(pair, 0, x[:, None])
    low, high = np.asarray(found.quantile([(1 - level) / 2, (1 + level) / 2])).T
    if rows is not None:
        values = np.asarray(checks.array(rows, "rows"), np.float64)
        ax.plot(values[:, i], values[:, j], ".", ms=3, color=INK, alpha=0.4, zorder=1)
    style: dict[str, Any] = dict(color=PALETTE[1], lw=1.2)
    ax.plot(x, low, "--", label=f"central {percent(level)}", **style)
    ax.plot(x, high, "--", **style)
    ax.plot(x, np.asarray(found.mean)[:, 0], color=PALETTE[0], lw=2, label="conditional mean")
    known = default_feature_names(mixture.n_features) if names is None else [str(n) for n in names]
    ax.set(xlim=(x[0], x[-1]), xlabel=known[i], ylabel=known[j])
    ax.legend(frameon=False)
    return remove_box(ax)


def modes(
    mixture: Mixture, ax: Axes | None = None, *, features: Sequence[int] | int | None = None
) -> Axes:
    """Draw the density over one or two features, and the mode that each mean leads to.

    The modes are those of the density that is drawn, the marginal over these features. A mode is a
    star, and a thin line leads to it from each component's mean.

    Args:
      mixture: a single `Mixture`.
      ax: matplotlib axes, or None for a new figure.
      features: one or two indices; by default the first two, or the only one.

    Returns:
      The axes.

    Raises:
      ValueError: if there are not one or two features.
    """
    default = range(min(2, mixture.n_features))
    chosen = resolve_features(mixture, list(default) if features is None else features)  # type: ignore[arg-type]
    ax = density(mixture, ax, features=chosen)
    part = marginal(mixture, chosen)
    points, mode_of = find_modes(part)
    ends, starts = np.asarray(points, np.float64), np.asarray(part.means, np.float64)
    if len(chosen) == 1:
        heights = lambda x: np.exp(np.asarray(log_prob(part, x), np.float64))[:, None]
        ends, starts = (np.hstack([x, heights(x)]) for x in (ends, starts))
    for k in np.flatnonzero(mode_of >= 0):
        pair = np.stack([starts[k], ends[mode_of[k]]])
        ax.plot(*pair.T, color=color(int(k)), lw=1.2, zorder=5)
        ax.plot(*starts[k], "o", color=color(int(k)), ms=4, zorder=5)
    ax.plot(*ends.T, "*", color=INK, mec="white", ms=13, ls="none", label="modes", zorder=6)
    ax.legend(frameon=False)
    return ax


def transport(
    plan: Plan, ax: Axes | None = None, *, features: Sequence[int] = (0, 1), level: float = 0.5
) -> Axes:
    """Draw an optimal transport between two mixtures.

    Ellipses contain `level` of each component over two features, in one color for each mixture. An
    arrow leads from a component to each one that it moves to, and is wider for more mass.

    Args:
      plan: the result of `mw2_plan`.
      ax: matplotlib axes, or None for a new figure.
      features: the indices of the features on the x and y axes.
      level: the fraction of a component's probability inside its ellipse.

    Returns:
      The axes.

    Raises:
      ValueError: if the level is not between 0 and 1, or there are not two features.
    """
    checks.between(level, "level", 1e-9, 1 - 1e-9)
    if plan.a.n_features < 2 or len(features) != 2:
        raise ValueError("a plan is drawn over two features: pass e.g. features=(0, 2).")
    ax = new_axes() if ax is None else ax
    mass = np.asarray(plan.plan, np.float64)
    start, end = (shown_marginal(mixture, list(features)) for mixture in (plan.a, plan.b))
    _draw_side(start, ax, START, level, "from")
    _draw_side(end, ax, END, level, "to")
    for i, k in enumerate(start.components):
        for j, l in enumerate(end.components):
            if mass[k, l] > 1e-9:
                width = 0.6 + 2.4 * mass[k, l] / mass.max()
                ax.annotate(
                    "", end.means[j], start.means[i], zorder=4,
                    arrowprops=dict(
                        arrowstyle="-|>", color=INK, lw=width, alpha=0.75, shrinkA=0, shrinkB=0,
                        mutation_scale=8 + 3 * width,
                    ),
                )  # fmt: skip
    ax.autoscale_view()
    ax.legend(frameon=False)
    return remove_box(ax)


def _draw_side(shown: Any, ax: Axes, shade: str, level: float, label: str) -> None:
    """Draw the ellipses of one mixture in one color, deeper for larger weights."""
    from matplotlib.patches import Ellipse

    radius = np.sqrt(-2 * np.log1p(-level))
    for i, (mean, covariance) in enumerate(zip(shown.means, shown.covariances, strict=True)):
        values, vectors = np.linalg.eigh(covariance)
        width, height = 2 * radius * np.sqrt(values)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        opacity = 0.15 + 0.45 * shown.weights[i] / shown.weights.max()
        style: dict[str, Any] = dict(facecolor=shade, edgecolor=shade, alpha=opacity, lw=1.5)
        ax.add_patch(Ellipse(mean, width, height, angle=angle, zorder=2, **style))
        ax.plot(*mean, "o", color=shade, ms=4, zorder=3, label=label if i == 0 else None)


def entropy_curve(combined: Combined, ax: Axes | None = None) -> Axes:
    """Plot the entropy of the clusters' responsibilities against the number of clusters.

    Going left, each point is the result of merging the two clusters whose union lowers the entropy
    most. Where the curve bends and becomes flat, merging gains little more.

    Args:
      combined: the result of `combine`.
      ax: matplotlib axes, or None for a new figure.

    Returns:
      The axes.
    """
    ax = new_axes() if ax is None else ax
    numbers = sorted(combined.entropy)
    ax.plot(numbers, [combined.entropy[g] for g in numbers], "o-", color=PALETTE[0], lw=2)
    ax.set(xlabel="number of clusters", ylabel="entropy, nats", xticks=numbers, ylim=(0, None))
    return remove_box(ax)
