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
