"""The figure of `em_versus_gradient.py`."""

import em_versus_gradient_report as report
import figure
import numpy as np

SHOWN = report.SHOWN
EDGES = np.geomspace(1e-4, 1.0, 9)
CENTERS = np.sqrt(EDGES[1:] * EDGES[:-1])
SLOWNESS = np.geomspace(1, 256, 9)
LEAST_STARTS = 5


def draw(rows: list[dict]) -> None:
    """Draw profiles, passes by overlap, the map of winners, and passes against EM's rate."""
    if not figure.is_possible():
        return
    from matplotlib.figure import Figure

    from jaxgmm.plot.style import color, remove_box

    entries = [start for start in report.main_starts(rows, SHOWN) if start["common"]]
    cost = np.array([[entry["cost"][name] for name in SHOWN] for entry in entries])
    overlap = np.clip([entry["overlap"] for entry in entries], EDGES[0], EDGES[-1] - 1e-9)
    place = np.digitize(overlap, EDGES) - 1
    colors = [color(i) for i in range(len(SHOWN))]
    whole = Figure(figsize=(9.4, 6.6), layout="constrained")
    (profile, bands), (winners, rates) = whole.subplots(2, 2)
    draw_profiles(profile, cost, colors)
    draw_medians(bands, cost, place, CENTERS, colors)
    bands.set(xlabel="overlap of the closest pair", title="Median passes by overlap")
    draw_winners(winners, cost, place, np.array([entry["K"] for entry in entries]), colors)
    draw_rates(rates, cost, np.array([entry["rate"] for entry in entries]), colors)
    for ax in (profile, bands, winners, rates):
        remove_box(ax)
    figure.save(whole, "em_versus_gradient.png")


def draw_profiles(ax, cost: np.ndarray, colors: list[str]) -> None:
    """Draw performance profiles (Dolan & Moré 2002)."""
    ratio = cost / cost.min(axis=1, keepdims=True)
    for i, name in enumerate(SHOWN):
        ordered = np.sort(ratio[:, i][np.isfinite(ratio[:, i])])
        fraction = np.arange(1, len(ordered) + 1) / len(ratio)
        ax.step(ordered, fraction, color=colors[i], label=name)
    ax.set(
        xscale="log", xlim=(1, 32), ylim=(0, 1.02), xlabel="passes, as a multiple of the fewest",
        ylabel="fraction of starts", title="Profiles",
    )  # fmt: skip
    ax.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    ax.minorticks_off()
    ax.legend(frameon=False)


def draw_medians(ax, cost: np.ndarray, place: np.ndarray, centers: np.ndarray, colors: list[str]):
    """Draw medians, and the quartiles of EM and of Auto, of the starts at each center."""
    some = [b for b in range(len(centers)) if np.sum(place == b) >= LEAST_STARTS]
    for i in range(len(SHOWN)):
        quartiles = np.array(
            [np.percentile(cost[place == b, i], [25, 50, 75], method="lower") for b in some]
        )
        ax.plot(centers[some], quartiles[:, 1], "o-", color=colors[i], ms=3)
        if SHOWN[i] in ("em", "auto"):
            low, high = quartiles[:, 0], quartiles[:, 2]
            ax.fill_between(centers[some], low, high, color=colors[i], alpha=0.12, lw=0)
    ax.set(xscale="log", yscale="log", ylabel="passes")
    ticks = [2, 5, 10, 20, 50, 100, 200, 500]
    ax.set_yticks(ticks, list(map(str, ticks)))
    ax.minorticks_off()


def draw_winners(
    ax, cost: np.ndarray, place: np.ndarray, components: np.ndarray, colors: list[str]
) -> None:
    """Draw, for each K and overlap, which algorithm has the smallest median.

    If several have it, the first of `SHOWN` is drawn.
    """
    counts = sorted(set(components))
    for row, k in enumerate(counts):
        for b in range(len(CENTERS)):
            here = (components == k) & (place == b)
            if here.sum() < LEAST_STARTS:
                continue
            best = np.median(cost[here], axis=0).argmin()
            width = EDGES[b + 1] - EDGES[b]
            ax.barh(row, width, 0.8, left=EDGES[b], color=colors[best], edgecolor="white")
            label = dict(ha="center", va="center", fontsize=6, color="white")
            ax.text(CENTERS[b], row, SHOWN[best], **label)
    ax.set(
        xscale="log", xlim=(EDGES[0], EDGES[-1]), xlabel="overlap of the closest pair", ylabel="K",
        title="Which algorithm has the smallest median",
    )  # fmt: skip
    ax.set_yticks(range(len(counts)), [str(k) for k in counts])


def draw_rates(ax, cost: np.ndarray, rate: np.ndarray, colors: list[str]) -> None:
    """Draw passes against EM's rate, and what the rate predicts for EM."""
    place = np.digitize(1 / (1 - np.minimum(rate, 0.9999)), SLOWNESS) - 1
    centers = np.sqrt(SLOWNESS[1:] * SLOWNESS[:-1])
    draw_medians(ax, cost, place, centers, colors)
    line = np.geomspace(1.5, centers[-1], 50)
    # The objective's gap falls by ρ² in each step, here from 0.01 to 1e-6 nats per row.
    steps = np.log(1e4) / (2 * -np.log1p(-1 / line))
    ax.plot(line, steps, color="#333333", lw=1, ls="--", label="log(10⁴) / (2 log(1/ρ))")
    ax.legend(frameon=False)
    ticks = [1, 2, 5, 10, 20, 50, 100, 200]
    ax.set_xticks(ticks, list(map(str, ticks)))
    ax.set(
        xlabel="1 / (1 − ρ), where ρ is EM's rate", title="Median passes by EM's rate"
    )  # fmt: skip
