"""Figures of fits, sweeps and comparisons, which `jaxgmm.plot` exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fitting.result import Fit
from ..fitting.status import Status
from ..objective.objective_value import rounding_error
from .style import PALETTE, color, dashes, new_axes, remove_box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..comparison.profile import Profile
    from ..comparison.result import Comparison
    from ..comparison.several import Comparisons
    from ..selection.sweep_result import Sweep

# With more families than this, a figure shows a single line for each.
FAMILIES_WITH_DETAIL = 4
MARKERS = "os^D"  # change when the colors repeat


def bic_curve(found: Sweep, ax: Axes | None = None) -> Axes:
    """Plot BIC and ICL of the best fit against the number of components.

    Each family has a color. A solid line shows BIC, a dashed line ICL, and dots the BIC of every
    lane that ended. Of more than four families, there are only the lines of BIC. A ring marks the
    fit that `found.best()` returns, which has the lowest BIC among the fits without spurious
    components, if there are any.

    Args:
      found: the result of `sweep`.
      ax: matplotlib axes, or None for a new figure.

    Returns:
      The axes.
    """
    many = len(found.fits) > FAMILIES_WITH_DETAIL
    ax = new_axes(7 if many else 6, 4.5 if many else 4) if ax is None else ax
    rows = [row for row in found.table() if row["passes"]]
    for i, family in enumerate(found.fits):
        style: dict[str, Any] = dict(color=color(i))
        family_rows = [row for row in rows if row["family"] == family]
        ks = [row["K"] for row in family_rows]
        if many:
            bics = [row["BIC"] for row in family_rows]
            style |= dict(marker=MARKERS[i // len(PALETTE) % len(MARKERS)], ms=4, lw=1.2)
            ax.plot(ks, bics, ls=dashes(i), label=family, **style)
            continue
        for index, row in enumerate(family_rows):
            fits = found.fits[family]
            ended = np.isin(fits.status[index], (Status.CONVERGED, Status.MAX_STEPS))
            penalty = row["BIC"] + 2 * row["log-likelihood"]
            bic = penalty - 2 * np.asarray(fits.log_likelihood[index][ended], float)
            ax.plot(np.full(len(bic), row["K"]), bic, ".", alpha=0.25, ms=6, **style)
        bics, icls = ([row[name] for row in family_rows] for name in ("BIC", "ICL"))
        ax.plot(ks, bics, "o-", lw=2, label=f"BIC, {family}", **style)
        style |= dict(marker="s", ms=4, mfc="white", lw=1.5)
        ax.plot(ks, icls, "--", label=f"ICL, {family}", **style)
    _, family, k = found.chosen()
    best = next(row for row in rows if (row["family"], row["K"]) == (family, k))
    is_lowest = best["BIC"] <= np.nanmin([best["BIC"], *(row["BIC"] for row in rows)])
    label = "lowest BIC" if is_lowest else "lowest BIC without spurious components"
    ring: dict[str, Any] = dict(ms=14, mfc="none", mec="black", mew=1.5, ls="none", label=label)
    ax.plot(best["K"], best["BIC"], "o", **ring)
    ax.set(
        xlabel="number of components K",
        ylabel=f"{'BIC' if many else 'BIC and ICL'} (lower is better)",
        xticks=sorted({row["K"] for row in rows}),
    )
    # Many lines leave no room for a legend among them.
    place: dict[str, Any] = dict(loc="upper left", bbox_to_anchor=(1, 1)) if many else {}
    ax.legend(frameon=False, **place)
    return remove_box(ax)


def traces(fits: Fit | Mapping[str, Fit], ax: Axes | None = None) -> Axes:
    """Plot the gap of each fit to the best of all objectives against passes over the rows.

    Each name has a color and each lane a thin line; the line of the best lane is thick. A line ends
    where the gap is no larger than the rounding error of the objective, which a dotted line shows.
    The best fit of all therefore ends there by definition.

    Args:
      fits: a `Fit`, single or batched, or several of them by name.
      ax: matplotlib axes, or None for a new figure.

    Returns:
      The axes.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> fits = {"EM": jaxgmm.fit(x, start), "SQUAREM": jaxgmm.fit(x, start, jaxgmm.SQUAREM())}
    >>> ax = plot.traces(fits)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['EM', 'SQUAREM']
    """
    ax = new_axes() if ax is None else ax
    named = dict(fits) if isinstance(fits, Mapping) else {"": fits}
    lanes = {name: _lanes(fit) for name, fit in named.items()}
    highest = [objective.max() for own in lanes.values() for objective, _ in own if len(objective)]
    best_objective = max(highest, default=0.0)
    dtype = max((fit.history.dtype for fit in named.values()), key=lambda one: np.finfo(one).eps)
    rounding = rounding_error(max(abs(best_objective), 1e-3), dtype)
    for i, (name, own) in enumerate(lanes.items()):
        ends = [objective[-1] if len(objective) else -np.inf for objective, _ in own]
        best = int(np.argmax(ends)) if ends else -1
        for j, (objective, passes) in enumerate(own):
            gap = best_objective - objective
            ax.plot(
                passes,
                np.where(gap > rounding, gap, np.nan),
                dashes(i),
                color=PALETTE[i % len(PALETTE)],
                lw=2.2 if j == best else 0.8,
                alpha=1 if j == best else 0.35,
                label=name if j == best and name else None,
            )
    ax.set(yscale="log", xlabel="passes over the rows", ylabel="gap to the best objective, nats")
    _draw_rounding(ax, rounding)
    if any(named):
        ax.legend(frameon=False)
    return remove_box(ax)


def _draw_rounding(ax: Axes, height: float) -> None:
    """Draw a dotted line at the rounding error of the objective."""
    ax.axhline(height, ls=":", lw=1, color="0.6", zorder=1)
    ax.annotate(
        "rounding error", (1, height), (0, 2), xycoords=ax.get_yaxis_transform(),
        textcoords="offset points", ha="right", fontsize="small", color="0.45",
    )  # fmt: skip


def _lanes(fit: Fit) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the histories (objective, passes) of all lanes that began, up to their last step."""
    steps = np.ravel(np.asarray(fit.steps))
    began = np.ravel(np.asarray(fit.passes)) > 0
    history = np.asarray(fit.history, np.float64).reshape(len(steps), -1)
    passes = np.asarray(fit.history_passes, np.float64).reshape(len(steps), -1)
    cut = [(h[: s + 1], p[: s + 1]) for h, p, s in zip(history, passes, steps, strict=True)]
    cut = [(h[np.isfinite(h)], p[np.isfinite(h)]) for h, p in cut]
    return [lane for lane, was_begun in zip(cut, began, strict=True) if was_begun]


def comparison(found: Comparison, ax: Any = None) -> Any:
    """Plot the gaps of a `Comparison` against passes, and its performance profile.

    The left axes show the gap to the best optimum that any algorithm reached from the same start,
    against passes. Each start has a thin line; the start of median cost has a thick one. The right
    axes show the performance profile: the fraction of starts that an algorithm solved, to 1e-6 nats
    per row, within a multiple of the passes of the fastest algorithm from that start.

    Args:
      found: the result of `compare`.
      ax: an array of two matplotlib axes, or None for a new figure.

    Returns:
      The array of the two axes.
    """
    ax = new_axes(10, 4, ncols=2) if ax is None else ax
    left, right = ax
    eps = max(np.finfo(fits.history.dtype).eps for fits in found.fits.values())
    rounding = max(eps * abs(found.best_known) / found.total_weight, 1e-9)
    below = np.maximum(found.shortfall(), 0)
    for i, (name, own) in enumerate(found.traces.items()):
        order = np.argsort(found.cost(name), kind="stable")
        for start, trace in enumerate(own):
            is_median = start == order[(len(own) - 1) // 2]
            left.plot(
                trace.passes,
                np.maximum(trace.gap - below[start], rounding),
                dashes(i),
                color=color(i),
                lw=2.5 if is_median else 0.8,
                alpha=1 if is_median else 0.3,
                zorder=3 if is_median else 2,
                label=name if is_median else None,
            )
    left.set(
        xscale="log", yscale="log", xlabel="passes over the rows", ylim=(rounding / 2, None),
        ylabel="gap to the start's best optimum, nats per row",
    )  # fmt: skip
    _draw_rounding(left, rounding)
    _draw_profiles(right, found.profile())
    left.legend(frameon=False, title="thick line: median start", title_fontsize="small")
    for panel in ax:
        _use_plain_numbers(panel)
        remove_box(panel)
    return ax


def profiles(found: Comparisons, ax: Axes | None = None) -> Axes:
    """Plot the performance profiles of a `Comparisons` over all starts of all its data sets.

    Args:
      found: the result of `compare` for several data sets.
      ax: matplotlib axes, or None for a new figure.

    Returns:
      The axes. They show the fraction of starts that an algorithm solved, to 1e-6 nats per row,
      within a multiple of the passes of the fastest algorithm from that start.
    """
    ax = new_axes(6, 4) if ax is None else ax
    _draw_profiles(ax, found.profile())
    ax.legend(frameon=False)
    _use_plain_numbers(ax)
    remove_box(ax)
    return ax


def _draw_profiles(ax: Axes, profiles: Mapping[str, Profile]) -> None:
    """Draw a step function for each algorithm."""
    largest = max([p.ratio[-1] for p in profiles.values() if len(p.ratio)], default=1) * 1.2
    for i, (name, profile) in enumerate(profiles.items()):
        ratio = np.concatenate([[1], profile.ratio, [largest]])
        last = profile.fraction[-1] if len(profile.fraction) else 0
        fraction = np.concatenate([[0], profile.fraction, [last]])
        ax.step(ratio, fraction, dashes(i), where="post", color=color(i), lw=2, label=name)
    ax.set(
        xscale="log", xlim=(1, largest), ylim=(0, 1.05),
        xlabel="passes, as a multiple of the fastest algorithm's",
        ylabel="fraction of starts solved to 1e-6",
    )  # fmt: skip


def _use_plain_numbers(ax: Axes) -> None:
    """Label a logarithmic x axis with 1, 2, 5, 10, … (fewer on a longer axis), not with powers."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    low, high = ax.get_xlim()
    digits = (1, 1.5, 2, 3, 5) if high < 10 * low else (1, 2, 5) if high < 1000 * low else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=digits, numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
