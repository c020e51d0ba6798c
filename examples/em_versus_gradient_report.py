"""The records of `em_versus_gradient.py`: its CSV, tables, the verdict's numbers and figures."""

import csv
from pathlib import Path

import figure
import numpy as np

import jaxgmm

RESULTS = Path(__file__).resolve().parent / "benchmarks" / "results" / "em_versus_gradient.csv"
CELL = ("study", "d", "K", "n", "e", "weights", "tails", "dtype", "c")
WHOLE = ("d", "K", "n", "e", "data_set")
# How each number is written. A value that is not known is empty.
NUMBERS = {
    "c": "g", "passes": ".6g", "to_own": ".6g", "height": ".7f", "rate": ".4f", "overlap": ".4g",
}  # fmt: skip
FIELDS = (
    *CELL, "algorithm", "data_set", "failure", "passes", "to_own", "height", "rate", "overlap",
)  # fmt: skip
SAME = 1e-6  # nats per row: two ends of one height are taken for the same optimum


def parameters(d: int, k: int) -> int:
    """Return the number of parameters of a mixture with full covariances."""
    return k * (1 + d + d * (d + 1) // 2) - 1


class Store:
    """Records in a CSV file that grows by one cell and algorithm at a time, or in memory."""

    def __init__(self, path: Path | None):
        self.path, self.rows = path, []
        if path is not None and path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [_from_text(row) for row in csv.DictReader(file)]
        self._known = {(_cell(row), row["algorithm"]) for row in self.rows}

    def has(self, labels: dict, algorithm: str) -> bool:
        return (_cell(labels), algorithm) in self._known

    def append(self, labels: dict, algorithm: str, records: list[dict]) -> None:
        rows = [_to_text(labels | {"algorithm": algorithm} | record) for record in records]
        self.rows += [_from_text(row) for row in rows]
        self._known.add((_cell(labels), algorithm))
        if self.path is None:
            return
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)


def _cell(row: dict) -> tuple:
    return tuple(row[name] for name in CELL)


def _to_text(row: dict) -> dict:
    write = lambda value, digits: "" if np.isnan(value) else format(value, digits)
    numbers = {name: write(row[name], digits) for name, digits in NUMBERS.items()}
    return {name: numbers.get(name, row[name]) for name in FIELDS}


def _from_text(row: dict) -> dict:
    whole = {name: int(row[name]) for name in WHOLE}
    return row | whole | {name: float(row[name] or "nan") for name in NUMBERS}


def starts_of(rows: list[dict]) -> list[dict]:
    """Return one entry for each start: its cell, and for each algorithm its passes.

    "common" says whether all algorithms that converged ended at one height, and "solved" which
    algorithms those are. The cost of an algorithm that did not converge is infinite.
    """
    grouped: dict[tuple, list[dict]] = {}
    for row in rows:
        grouped.setdefault((_cell(row), row["data_set"]), []).append(row)
    entries = []
    for group in grouped.values():
        good = [row for row in group if not row["failure"]]
        heights = [row["height"] for row in good]
        by_name = {row["algorithm"]: row for row in group}
        tolerance = SAME if group[0]["dtype"] == "float64" else 1e-5
        entries.append(
            {name: group[0][name] for name in (*CELL, "overlap")}
            | {
                "common": bool(heights) and max(heights) - min(heights) < tolerance,
                "rate": by_name["em"]["rate"] if "em" in by_name else np.nan,
                "cost": {
                    row["algorithm"]: row["to_own"] if not row["failure"] else np.inf
                    for row in group
                },
                "best": max(heights, default=-np.inf),
                "height": {row["algorithm"]: row["height"] for row in good},
            }
        )
    return entries


def medians(starts: list[dict]) -> dict[str, float]:
    """Return the median cost of each algorithm over the starts with a common end."""
    costs = [start["cost"] for start in starts if start["common"]]
    names = costs[0] if costs else {}
    return {name: float(np.median([cost.get(name, np.inf) for cost in costs])) for name in names}


BANDS = {"under 1 %": (0, 0.01), "1 to 30 %": (0.01, 0.3), "over 30 %": (0.3, 2.1)}


def verdict(rows: list[dict]) -> dict[str, float]:
    """Return the numbers of the verdict by name, from simulated data in float64.

    "starts, BAND" counts those with a common end, and "ALGORITHM, BAND" is the median passes there.
    """
    simulated = [
        s for s in starts_of(rows) if s["study"] == "simulated" and s["dtype"] == "float64"
    ]
    numbers: dict[str, float] = {}
    for band, (low, high) in BANDS.items():
        own = [start for start in simulated if low <= start["overlap"] < high]
        numbers[f"all starts, {band}"] = len(own)
        numbers[f"starts, {band}"] = sum(start["common"] for start in own)
        for name, value in medians(own).items():
            numbers[f"{name}, {band}"] = value
    return numbers


def markdown(rows: list[dict]) -> str:
    """Return the table of the verdict's numbers for the page, which a test compares with it."""
    numbers = verdict(rows)
    names = list(dict.fromkeys(row["algorithm"] for row in rows))
    lines = [
        "| overlap | starts | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 2),
    ]
    for band in BANDS:
        values = [numbers.get(f"{name}, {band}", np.inf) for name in names]
        cells = [f"{value:.0f}" if np.isfinite(value) else "–" for value in values]
        starts = f"{numbers[f'starts, {band}']} of {numbers[f'all starts, {band}']}"
        lines.append(f"| {band} | {starts} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def show(rows: list[dict]) -> None:
    """Print the table of every cell, and the numbers of the verdict."""
    entries = starts_of(rows)
    cells: dict[tuple, list[dict]] = {}
    for entry in entries:
        cells.setdefault(tuple(str(entry[name]) for name in CELL), []).append(entry)
    table = jaxgmm.Table()
    names = list(dict.fromkeys(row["algorithm"] for row in rows))
    for own in cells.values():
        first, costs = own[0], medians(own)
        label = " ".join(
            [str(first[n]) for n in ("study", "weights", "tails", "dtype") if first[n] not in
             ("simulated", "equal", "normal", "float64")]
        )  # fmt: skip
        row = {"cell": label, "d": first["d"], "K": first["K"], "n": first["n"]}
        row |= {"e": first["e"], "c": first["c"]}
        row["overlap"] = float(np.median([start["overlap"] for start in own]))
        row["starts"] = f"{sum(start['common'] for start in own)} of {len(own)}"
        whole = lambda value: int(value) if np.isfinite(value) else None
        table.append(row | {name: whole(costs.get(name, np.inf)) for name in names})
    print(table)
    print("\nMedian passes by overlap of the closest pair, over starts with one common end:")
    numbers, bands = verdict(rows), jaxgmm.Table()
    for band in BANDS:
        row = {"overlap": band}
        row["starts"] = f"{numbers[f'starts, {band}']} of {numbers[f'all starts, {band}']}"
        value = lambda name, band=band: numbers.get(f"{name}, {band}", np.inf)
        bands.append(row | {name: whole(value(name)) for name in names})
    print(bands)


# The figure shows one algorithm of each kind; six colors can be told apart.
SHOWN = ("em", "squarem", "anderson", "lbfgs", "newton", "auto")
EDGES = np.geomspace(1e-4, 1.0, 9)
CENTERS = np.sqrt(EDGES[1:] * EDGES[:-1])
LEAST_STARTS = 5


def draw(rows: list[dict]) -> None:
    """Draw profiles, passes by overlap, the map of winners, and passes against EM's rate."""
    if not figure.is_possible():
        return
    from matplotlib.figure import Figure

    from jaxgmm.plot.style import color, remove_box

    entries = [
        start
        for start in starts_of(rows)
        if start["study"] == "simulated" and start["dtype"] == "float64" and start["common"]
        and all(name in start["cost"] for name in SHOWN)
    ]  # fmt: skip
    cost = np.array([[entry["cost"][name] for name in SHOWN] for entry in entries])
    overlap = np.clip([entry["overlap"] for entry in entries], EDGES[0], EDGES[-1] - 1e-9)
    place = np.digitize(overlap, EDGES) - 1
    colors = [color(i) for i in range(len(SHOWN))]
    whole = Figure(figsize=(9.4, 6.6), layout="constrained")
    (profile, bands), (winners, rates) = whole.subplots(2, 2)
    draw_profiles(profile, cost, colors)
    draw_bands(bands, cost, place, colors)
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


def draw_bands(ax, cost: np.ndarray, place: np.ndarray, colors: list[str]) -> None:
    """Draw medians and quartiles of the passes by overlap."""
    some = [b for b in range(len(CENTERS)) if np.sum(place == b) >= LEAST_STARTS]
    for i in range(len(SHOWN)):
        quartiles = np.array(
            [np.percentile(cost[place == b, i], [25, 50, 75], method="lower") for b in some]
        )
        ax.plot(CENTERS[some], quartiles[:, 1], "o-", color=colors[i], ms=3)
        if SHOWN[i] in ("em", "auto"):
            low, high = quartiles[:, 0], quartiles[:, 2]
            ax.fill_between(CENTERS[some], low, high, color=colors[i], alpha=0.12, lw=0)
    ax.set(
        xscale="log", yscale="log", xlabel="overlap of the closest pair", ylabel="passes",
        title="Median passes, and quartiles of EM and of Auto",
    )  # fmt: skip
    ax.set_yticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200", "500"])
    ax.minorticks_off()


def draw_winners(
    ax, cost: np.ndarray, place: np.ndarray, components: np.ndarray, colors: list[str]
) -> None:
    """Draw, for each K and overlap, which algorithm most often takes the fewest passes."""
    counts = sorted(set(components))
    for row, k in enumerate(counts):
        for b in range(len(CENTERS)):
            here = (components == k) & (place == b)
            if here.sum() < LEAST_STARTS:
                continue
            best = np.bincount(cost[here].argmin(axis=1), minlength=len(SHOWN)).argmax()
            width = EDGES[b + 1] - EDGES[b]
            ax.barh(row, width, 0.8, left=EDGES[b], color=colors[best], edgecolor="white")
            label = dict(ha="center", va="center", fontsize=6, color="white")
            ax.text(CENTERS[b], row, SHOWN[best], **label)
    ax.set(
        xscale="log", xlim=(EDGES[0], EDGES[-1]), xlabel="overlap of the closest pair", ylabel="K",
        title="Which algorithm most often takes the fewest",
    )  # fmt: skip
    ax.set_yticks(range(len(counts)), [str(k) for k in counts])


def draw_rates(ax, cost: np.ndarray, rate: np.ndarray, colors: list[str]) -> None:
    """Draw passes against EM's rate, and what the rate predicts for EM."""
    known = (rate > 0) & (rate < 0.9999)
    inverse = 1 / (1 - rate[known])
    for i, name in enumerate(SHOWN):
        if name in ("em", "auto"):
            ax.plot(inverse, cost[known, i], ".", color=colors[i], ms=4, alpha=0.6)
    line = np.geomspace(1.5, max(inverse.max(), 2), 50)
    # The objective's gap falls by ρ² in each step, here from 0.01 to 1e-6 nats per row.
    steps = np.log(1e4) / (2 * -np.log1p(-1 / line))
    ax.plot(line, steps, color="#333333", lw=1, ls="--")
    ax.text(line[-1], steps[-1], "log(10⁴) / (2 log(1/ρ))  ", ha="right", va="bottom")
    ax.set(
        xscale="log", yscale="log", xlabel="1 / (1 − ρ), where ρ is EM's rate", ylabel="passes",
        title="Passes of EM and of Auto against EM's rate",
    )  # fmt: skip
