"""The records of `em_versus_gradient.py`: its CSV, tables, the verdict's numbers and figures."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgmm.comparison.medians import judge, median_of

SCRIPT = Path(__file__).resolve().with_name("em_versus_gradient.py")
RESULTS = SCRIPT.parent / "benchmarks" / "results" / "em_versus_gradient.csv"
CELL = ("study", "d", "K", "n", "e", "weights", "tails", "dtype", "c")
WHOLE = ("d", "K", "n", "e", "data_set")
# How each number is written. A value that is not known is empty.
NUMBERS = {
    "c": "g", "passes": ".6g", "to_own": ".6g", "height": ".7f", "rate": ".4f", "overlap": ".4g",
}  # fmt: skip
FIELDS = (
    *CELL, "algorithm", "data_set", "failure", "passes", "to_own", "height", "rate", "overlap",
)  # fmt: skip
BANDS = {"under 1 %": (0, 0.01), "1 to 30 %": (0.01, 0.3), "over 30 %": (0.3, 2.1)}
OVERLAPPING = (0.2, 0.5, 1.0)  # the separations of the table by cell
# One algorithm of each kind; six colors can be told apart.
SHOWN = ("em", "squarem", "anderson", "lbfgs", "newton", "auto")
DATA = ("iris", "penguins", "wine", "faithful", "digits")
REAL = ("em", "scikit-learn", *SHOWN[1:])
HOSSEINI_SRA = ("em", "conjugate em", "lbfgs", "riemannian", "anderson", "auto")
SALAKHUTDINOV = ("em", "conjugate em", "em then conjugate em")
SAME = 1e-6  # nats per row: two ends of one height are taken for the same optimum


def first_near_end(history: np.ndarray, gap: float) -> int:
    """Return the index of the first entry that is within the gap of the last one."""
    return int(np.argmax(history >= history[-1] - gap))


def parameters(d: int, k: int) -> int:
    """Return the number of parameters of a mixture with full covariances."""
    return k * (1 + d + d * (d + 1) // 2) - 1


class Store:
    """Records in a CSV file that grows by one cell and algorithm at a time, or in memory."""

    def __init__(self, path: Path | None):
        self.path, self.rows = path, []
        if path is not None and not path.exists():
            self._write([dict(zip(FIELDS, FIELDS, strict=True))])
        if path is not None:
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [_from_text(row) for row in csv.DictReader(file)]
        self._known = {(_cell(row), row["algorithm"]) for row in self.rows}

    def has(self, labels: dict, algorithm: str) -> bool:
        return (_cell(labels), algorithm) in self._known

    def append(self, labels: dict, algorithm: str, records: list[dict]) -> None:
        rows = [_to_text(labels | {"algorithm": algorithm} | record) for record in records]
        self.rows += [_from_text(row) for row in rows]
        self._known.add((_cell(labels), algorithm))
        if self.path is not None:
            self._write(rows)

    def _write(self, rows: list[dict]) -> None:
        """Append rows in one write, so that those of several processes do not mix."""
        text = io.StringIO()
        csv.DictWriter(text, FIELDS, lineterminator="\n").writerows(rows)
        with open(self.path, "ab", buffering=0) as file:
            file.write(text.getvalue().encode())


def _cell(row: dict) -> tuple:
    return tuple(row[name] for name in CELL)


def _to_text(row: dict) -> dict:
    write = lambda value, digits: "" if np.isnan(value) else format(value, digits)
    numbers = {name: write(row[name], digits) for name, digits in NUMBERS.items()}
    return {name: numbers.get(name, row[name]) for name in FIELDS}


def _from_text(row: dict) -> dict:
    whole = {name: int(row[name]) for name in WHOLE}
    return row | whole | {name: float(row[name] or "nan") for name in NUMBERS}


def present(rows: list[dict], names: Sequence[str] | None = None) -> list[str]:
    """Return those of the algorithms that have records, by default all, in their order."""
    found = dict.fromkeys(row["algorithm"] for row in rows)
    return [name for name in names or found if name in found]


def starts_of(rows: list[dict], names: Sequence[str]) -> list[dict]:
    """Return one entry for each start that all of these algorithms have run from.

    An entry has the start's cell, and each algorithm's "cost" in passes, which is infinite if the
    fit did not converge, and "height", which is then −infinity. "common" says whether all fits that
    converged ended at one height, and "best" is the largest.
    """
    grouped: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        if row["algorithm"] in names:
            grouped.setdefault((*_cell(row), row["data_set"]), {})[row["algorithm"]] = row
    entries = []
    for group in grouped.values():
        if len(group) < len(names):
            continue
        one = group[names[0]]
        good = {name: row for name, row in group.items() if not row["failure"]}
        heights = [row["height"] for row in good.values()]
        same = SAME if one["dtype"] == "float64" else 10 * SAME
        entries.append(
            {name: one[name] for name in (*CELL, "overlap")}
            | {
                "best": max(heights, default=-np.inf),
                "common": bool(heights) and max(heights) - min(heights) < same,
                "rate": group["em"]["rate"] if "em" in group else np.nan,
                "cost": {name: good[name]["to_own"] if name in good else np.inf for name in names},
                "height": {
                    name: good[name]["height"] if name in good else -np.inf for name in names
                },
            }
        )
    return entries


def main_starts(rows: list[dict], names: Sequence[str]) -> list[dict]:
    """Return the starts of simulated data in float64."""
    own = [row for row in rows if row["study"] == "simulated" and row["dtype"] == "float64"]
    return starts_of(own, names)


def summarize(
    starts: list[dict], names: Sequence[str], *, intervals: bool = False
) -> dict[str, str]:
    """Return how many starts have a common end, and over these the median cost of each algorithm.

    The smallest median is bold, and so are those that the bootstrap cannot tell from it.

    Args:
      starts: as from `starts_of`.
      names: the algorithms.
      intervals: whether to add a 95% bootstrap interval over the starts.
    """
    common = [start for start in starts if start["common"]]
    costs = {name: np.array([start["cost"][name] for start in common]) for name in names}
    row, verdicts = {"starts": f"{len(common)} of {len(starts)}"}, judge(costs)
    for name in names:
        median = median_of(costs[name])
        row[name] = whole(median.value)
        if intervals and np.isfinite(median.high):
            row[name] += f" ({median.low:.0f}–{median.high:.0f})"
        if verdicts[name] and np.isfinite(median.value):
            row[name] = f"**{row[name]}**"
    return row


def whole(value: float) -> str:
    """Return the number without decimals, or a dash."""
    return f"{value:.0f}" if np.isfinite(value) else "–"


def by(labels: Sequence[str], starts: list[dict]) -> dict[tuple, list[dict]]:
    """Return the starts in groups of equal labels."""
    groups: dict[tuple, list[dict]] = {}
    for start in starts:
        groups.setdefault(tuple(start[name] for name in labels), []).append(start)
    return groups


def by_overlap(rows: list[dict]) -> list[dict[str, str]]:
    """Return a row of all algorithms for each band of the closest pair's overlap.

    A last row has the percentage of all starts from which an algorithm ends at the best maximum.
    """
    names = present([row for row in rows if row["study"] == "simulated"])
    starts = main_starts(rows, names)
    table = [
        {"overlap": band}
        | summarize([s for s in starts if low <= s["overlap"] < high], names, intervals=True)
        for band, (low, high) in BANDS.items()
    ]
    reached = {name: sum(is_best(start, name) for start in starts) for name in names}
    share = {name: f"{100 * count / len(starts):.0f} %" for name, count in reached.items()}
    return [*table, {"overlap": "at the best maximum", "starts": str(len(starts))} | share]


def is_best(start: dict, name: str) -> bool:
    """Return whether the algorithm ends at the best maximum for this start."""
    return start["height"][name] > start["best"] - SAME


def by_cell(rows: list[dict]) -> list[dict[str, str]]:
    """Return a row of the shown algorithms for each cell of simulated data that overlaps."""
    own = [row for row in rows if row["study"] == "simulated" and row["c"] in OVERLAPPING]
    names, table = present(own, SHOWN), []
    for group in by(CELL[:-1], starts_of(own, names)).values():
        first = group[0]
        row = {name: str(first[name]) for name in ("d", "K")}
        row["n/p"] = str(first["n"] // parameters(first["d"], first["K"]))
        row["data"] = _differs(first)
        row["overlap"] = f"{np.median([start['overlap'] for start in group]):.2f}"
        table.append(row | summarize(group, names))
    return table


def _differs(start: dict) -> str:
    usual = {"weights": "equal", "tails": "normal", "dtype": "float64"}
    words = [f"{start[name]} {name}" for name, value in usual.items() if start[name] != value]
    return ", ".join(words + ["axes 1 : 1"] * (start["e"] == 1))


def count_all(starts: list[dict], names: Sequence[str]) -> dict[str, str]:
    """Return the median cost over all starts, and from how many an algorithm ends at the best."""
    row = {"starts": str(len(starts))}
    for name in names:
        median = float(np.median([start["cost"][name] for start in starts]))
        row[name] = f"{whole(median)} ({sum(is_best(start, name) for start in starts)})"
    return row


def with_common_best(starts: list[dict]) -> list[dict]:
    """Return starts of the same data, with the best maximum of all."""
    best = max(start["best"] for start in starts)
    return [start | {"best": best} for start in starts]


def by_data(rows: list[dict]) -> list[dict[str, str]]:
    """Return a row for each real data set."""
    own = [row for row in rows if row["study"] in DATA]
    names = present(own, REAL)
    return [
        {"data": data, "K": str(k)} | count_all(with_common_best(group), names)
        for (data, k), group in by(("study", "K"), starts_of(own, names)).items()
    ]


def by_factors_of_hosseini_sra(rows: list[dict]) -> list[dict[str, str]]:
    """Return a row for each cell with the factors of Hosseini & Sra."""
    own = [row for row in rows if row["study"] == "hosseini-sra"]
    names = present(own, HOSSEINI_SRA)
    return [
        {"K": str(k), "e": str(e), "c": f"{c:g}"} | count_all(group, names)
        for (k, e, c), group in by(("K", "e", "c"), starts_of(own, names)).items()
    ]


def by_separation(rows: list[dict]) -> list[dict[str, str]]:
    """Return a row for each separation of the comparison of Salakhutdinov, Roweis & Ghahramani."""
    own = [row for row in rows if row["study"] == "salakhutdinov"]
    table = []
    for (c,), group in by(("c",), starts_of(own, SALAKHUTDINOV)).items():
        overlap = np.median([start["overlap"] for start in group])
        row = {"c": f"{c:g}", "overlap": f"{overlap:.2g}"}
        table.append(row | summarize(group, SALAKHUTDINOV, intervals=True))
    return table


def markdown(table: list[dict[str, str]], transposed: bool = False) -> str:
    """Return a table for the page, which a test compares with it."""
    lines = [list(table[0]), *(list(row.values()) for row in table)]
    if transposed:
        lines = list(map(list, zip(*lines, strict=True)))
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def tables(rows: list[dict]) -> dict[str, str]:
    """Return the page's tables by their captions."""
    made = {
        "Median passes by overlap": (by_overlap(rows), True),
        "Median passes where c ≤ 1": (by_cell(rows), False),
        "Real data: median passes (starts at the best maximum)": (by_data(rows), False),
        "The factors of Hosseini & Sra: the same numbers": (
            by_factors_of_hosseini_sra(rows),
            False,
        ),
        "EM, conjugate gradients and a hybrid: median passes": (by_separation(rows), False),
    }
    return {name: markdown(table, flat) for name, (table, flat) in made.items() if table}
