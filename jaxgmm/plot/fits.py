"""Figures of searches and climbs; `jaxgmm.plot` has them all. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..fitting.result import Fit
from ..fitting.status import Status
from .style import PALETTE, color, dashes, new_axes, tidy


def bic_curve(found, ax=None):
    """BIC (line) and ICL (dashed) of the best fit of each K in a `Sweep`, a color for each family,
    over the BIC of every lane that ended (dots). The fit that `found.best()` returns is ringed: the
    lowest BIC, of sound fits if there are any.

    Returns the axes, `ax` if given."""
    ax = new_axes(6, 4) if ax is None else ax
    rows = [row for row in found.table() if row["passes"]]
    for i, family in enumerate(found.fits):
        look = dict(color=color(i))
        own = [row for row in rows if row["family"] == family]
        ks = [row["K"] for row in own]
        for at, row in enumerate(own):
            fits = found.fits[family]
            ended = np.isin(fits.status[at], (Status.CONVERGED, Status.MAX_STEPS))
            penalty = row["BIC"] + 2 * row["log-likelihood"]
            bic = penalty - 2 * np.asarray(fits.log_likelihood[at][ended], float)
            ax.plot(np.full(len(bic), row["K"]), bic, ".", alpha=0.25, ms=6, **look)
        ax.plot(ks, [row["BIC"] for row in own], "o-", lw=2, label=f"BIC, {family}", **look)
        icl = dict(marker="s", ms=4, mfc="white", lw=1.5, label=f"ICL, {family}")
        ax.plot(ks, [row["ICL"] for row in own], "--", **icl, **look)
    _, family, k = found.chosen()
    lowest = next(row for row in rows if (row["family"], row["K"]) == (family, k))
    is_lowest = lowest["BIC"] <= np.nanmin([lowest["BIC"], *(row["BIC"] for row in rows)])
    label = "lowest BIC" if is_lowest else "lowest BIC of a sound fit"
    ring = dict(ms=14, mfc="none", mec="black", mew=1.5, ls="none", label=label)
    ax.plot(lowest["K"], lowest["BIC"], "o", **ring)
    ax.set(
        xlabel="components K", ylabel="BIC and ICL: lower is better",
        xticks=sorted({row["K"] for row in rows}),
    )  # fmt: skip
    ax.legend(frameon=False)
    return tidy(ax)


def traces(fits: Fit | Mapping[str, Fit], ax=None):
    """How far below the best of them each fit was, in nats, after so many passes over the rows.

    `fits` is a `Fit`, single or batched, or several by name: a color for each name, a thin line
    for each lane, the best lane thick. A line ends where the gap is no more than the objective's
    rounding, which a dotted line shows: the best of all ends there by definition. Returns the axes,
    `ax` if given.

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
    tops = [lane[0].max() for own in lanes.values() for lane in own if len(lane[0])]
    top = max(tops, default=0.0)
    dtype = max((fit.history.dtype for fit in named.values()), key=lambda one: np.finfo(one).eps)
    floor = 8 * np.finfo(dtype).eps * max(abs(top), 1e-3)
    for i, (name, own) in enumerate(lanes.items()):
        ends = [lane[0][-1] if len(lane[0]) else -np.inf for lane in own]
        best = int(np.argmax(ends)) if ends else -1
        for j, (height, passes) in enumerate(own):
            gap = top - height
            ax.plot(
                passes, np.where(gap > floor, gap, np.nan), dashes(i),
                color=PALETTE[i % len(PALETTE)], lw=2.2 if j == best else 0.8,
                alpha=1 if j == best else 0.35, label=name if j == best and name else None,
            )  # fmt: skip
    ax.set(
        yscale="log", xlabel="passes over the rows",
        ylabel="objective below the best, nats",
    )  # fmt: skip
    _rounding(ax, floor)
    if any(named):
        ax.legend(frameon=False)
    return tidy(ax)


def _rounding(ax, floor: float) -> None:
    """A dotted line where the objective's digits end."""
    ax.axhline(floor, ls=":", lw=1, color="0.6", zorder=1)
    ax.annotate(
        "rounding", (1, floor), (0, 2), xycoords=ax.get_yaxis_transform(),
        textcoords="offset points", ha="right", fontsize="small", color="0.45",
    )  # fmt: skip


def _lanes(fit: Fit) -> list[tuple[np.ndarray, np.ndarray]]:
    """(objective, passes) up to the end of each lane that was begun."""
    steps = np.ravel(np.asarray(fit.steps))
    begun = np.ravel(np.asarray(fit.passes)) > 0
    history = np.asarray(fit.history, np.float64).reshape(len(steps), -1)
    passes = np.asarray(fit.history_passes, np.float64).reshape(len(steps), -1)
    cut = [(h[: s + 1], p[: s + 1]) for h, p, s in zip(history, passes, steps, strict=True)]
    cut = [(h[np.isfinite(h)], p[np.isfinite(h)]) for h, p in cut]
    return [lane for lane, was in zip(cut, begun, strict=True) if was]


def comparison(found, ax=None):
    """Of a `Comparison`. Left, the gap to the best optimum that any algorithm reached from the same
    start, against passes: a thin line for each start, a thick one for the start of median cost.
    Right, the performance profile: the share of starts that were solved, to 1e-6 nats per row,
    within so many times the passes of the algorithm that was quickest there.

    `ax` is two matplotlib axes or None. Returns the two axes."""
    ax = new_axes(10, 4, ncols=2) if ax is None else ax
    left, right = ax
    eps = max(np.finfo(fits.history.dtype).eps for fits in found.fits.values())
    floor = max(eps * abs(found.best_known) / found.total_weight, 1e-9)
    below = np.maximum(found.shortfall(), 0)
    for i, (name, own) in enumerate(found.traces.items()):
        order = np.argsort(found.cost(name), kind="stable")
        for start, trace in enumerate(own):
            median = start == order[(len(own) - 1) // 2]
            left.plot(
                trace.passes, np.maximum(trace.gap - below[start], floor), dashes(i),
                color=color(i), lw=2.5 if median else 0.8, alpha=1 if median else 0.3,
                zorder=3 if median else 2, label=name if median else None,
            )  # fmt: skip
    left.set(
        xscale="log", yscale="log", xlabel="passes over the rows", ylim=(floor / 2, None),
        ylabel="gap to the start's best optimum, nats per row",
    )  # fmt: skip
    _rounding(left, floor)
    profiles = found.profile()
    most = max([p.ratio[-1] for p in profiles.values() if len(p.ratio)], default=1) * 1.2
    for i, (name, one) in enumerate(profiles.items()):
        ratio = np.concatenate([[1], one.ratio, [most]])
        last = one.fraction[-1] if len(one.fraction) else 0
        right.step(
            ratio, np.concatenate([[0], one.fraction, [last]]), dashes(i), where="post",
            color=color(i), lw=2, label=name,
        )  # fmt: skip
    right.set(
        xscale="log", xlim=(1, most), ylim=(0, 1.05), ylabel="share of starts solved to 1e-6",
        xlabel="passes, as a multiple of the quickest algorithm's",
    )  # fmt: skip
    left.legend(frameon=False, title="thick: the median start", title_fontsize="small")
    for one in ax:
        _plain_numbers(one)
        tidy(one)
    return ax


def _plain_numbers(ax) -> None:
    """1, 2, 5, 10 … along a logarithmic x axis instead of powers of ten: fewer on a longer one."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    low, high = ax.get_xlim()
    between = (1, 1.5, 2, 3, 5) if high < 10 * low else (1, 2, 5) if high < 1000 * low else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=between, numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
