"""Figures. Needs matplotlib, which nothing else here imports."""

from __future__ import annotations

import numpy as np

from .status import Status

# Okabe & Ito's colours, which most colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def sweep(found, axes=None):
    """BIC (line) and ICL (dashed) of the best fit of each K, a colour for each family, over the BIC
    of every lane that ended; the lowest BIC of all is ringed. Returns the axes."""
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(6, 4), layout="constrained").subplots()
    rows = [row for row in found.table() if row["passes"]]
    for family, colour in zip(found.fits, PALETTE, strict=False):
        own = [row for row in rows if row["family"] == family]
        ks = [row["K"] for row in own]
        for at, row in enumerate(own):
            fits = found.fits[family]
            ended = np.isin(fits.status[at], (Status.CONVERGED, Status.MAX_STEPS))
            penalty = row["BIC"] + 2 * row["log-likelihood"]
            bic = penalty - 2 * np.asarray(fits.log_likelihood[at][ended], float)
            axes.plot(np.full(len(bic), row["K"]), bic, ".", color=colour, alpha=0.25, ms=6)
        axes.plot(ks, [row["BIC"] for row in own], "o-", color=colour, lw=2, label=f"BIC, {family}")
        axes.plot(
            ks, [row["ICL"] for row in own], "--", color=colour, lw=1.5, label=f"ICL, {family}"
        )
    lowest = min(rows, key=lambda row: row["BIC"])
    axes.plot(lowest["K"], lowest["BIC"], "o", ms=14, mfc="none", mec="black", mew=1.5)
    axes.set(xlabel="components K", ylabel="lower is better", xticks=sorted({r["K"] for r in rows}))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes


def comparison(found, axes=None):
    """Left, the gap to the best optimum that any algorithm reached from the same start, against
    passes: a thin line for each start, a thick one for the start of median cost. Right, the
    performance profile. Returns the two axes."""
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(10, 4), layout="constrained").subplots(1, 2)
    left, right = axes
    floor, below = 1e-9, np.maximum(found.shortfall(), 0)
    for (name, traces), colour in zip(found.traces.items(), PALETTE * 2, strict=False):
        order = np.argsort(found.cost(name), kind="stable")
        for start, trace in enumerate(traces):
            median = start == order[(len(traces) - 1) // 2]
            left.plot(
                trace.passes, np.maximum(trace.gap - below[start], floor), color=colour,
                lw=2.5 if median else 0.8, alpha=1 if median else 0.3, zorder=3 if median else 2,
                label=name if median else None,
            )  # fmt: skip
    left.set(
        xscale="log", yscale="log", xlabel="passes over the rows", ylim=(floor, None),
        ylabel="gap to the start's best optimum, nats per row",
    )  # fmt: skip
    profiles = found.profile()
    most = max([p.ratio[-1] for p in profiles.values() if len(p.ratio)], default=1) * 1.2
    for (name, one), colour in zip(profiles.items(), PALETTE * 2, strict=False):
        ratio = np.concatenate([[1], one.ratio, [most]])
        last = one.fraction[-1] if len(one.fraction) else 0
        right.step(
            ratio, np.concatenate([[0], one.fraction, [last]]), where="post", color=colour, lw=2,
            label=name,
        )  # fmt: skip
    right.set(
        xscale="log", xlim=(1, most), ylim=(0, 1.02), ylabel="share of starts solved",
        xlabel="passes, as a multiple of the quickest algorithm's",
    )  # fmt: skip
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    return axes
