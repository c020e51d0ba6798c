"""Where kernel="auto" stands: time and rounding error of the kernels over a grid of cases.

    .venv/bin/python examples/benchmarks/kernels.py --csv examples/benchmarks/results/kernels.csv \\
        --plot examples/benchmarks/results/kernels.png

Each case fits rows of k clusters of unit width from their true labels. The centers are drawn with a
standard deviation of `spread` in each feature: the larger it is, the narrower are the components
for their distance from the center. The script measures one EM iteration with kernel="auto", with
each kernel by its name, and by scikit-learn where that is installed, in turn in one process. The
floor is the natural kernel's products and exponentials alone (for tied covariances, those of
diagonal ones). Errors are those of means and variances after one iteration, against the same
iteration in float64, in units of a component's standard deviation and variance. A case that is in
the CSV file is not measured again.

"auto / best" compares the time of "auto" with the fastest kernel that is as accurate: its error is
at most twice that of "auto", or 8 times the resolution ε of the dtype, which is as much as two
orders of the same sums differ by. "auto / safe" compares it with the fastest kernel whose error is
within the limit that "auto" keeps, `SAFE_ROUNDING`. Both are ratios of times on the wall or of
times of all cores, whichever is smaller, because other programs make either longer.
"""

import csv
from pathlib import Path

import jax
import numpy as np
from floor import floor
from peers import PEERS, installed
from timing import add_row, jaxgmm_run, machine, make_parser, per_iteration, wall_and_cpu

import jaxgmm
from jaxgmm.kernels.rounding_bounds import SAFE_ROUNDING

KERNELS = ("natural", "double", "whitened")
CASE = ("n", "d", "k", "family", "spread", "dtype")
FAMILIES = ("full", "tied", "diagonal", "spherical")
GRID = [  # varied about n = 50 000, d = k = 16 and ordinary clusters, for each family
    *(
        (50_000, 16, 16, family, spread, "float32")
        for family in FAMILIES
        for spread in (1.0, 3.0, 30.0)
    ),
    *((50_000, 16, 16, family, 3.0, "float64") for family in FAMILIES),
    *((50_000, 4, 4, family, 3.0, "float32") for family in FAMILIES),
    *((4_000, 8, 8, family, 3.0, "float32") for family in FAMILIES),
    *((10_000, 64, 16, family, 3.0, "float32") for family in FAMILIES),
    *((20_000, 8, 64, family, 3.0, "float32") for family in FAMILIES),
]
LARGE = [  # many components, or many features
    (20_000, 64, 256, "spherical", 3.0, "float32"),
    (20_000, 64, 256, "diagonal", 3.0, "float32"),
    (20_000, 128, 1024, "spherical", 3.0, "float32"),
    (20_000, 32, 128, "full", 3.0, "float32"),
    (5_000, 256, 16, "full", 3.0, "float32"),
    (100_000, 16, 16, "full", 1.0, "float32"),
    (100_000, 16, 16, "full", 100.0, "float32"),
]
QUICK = [(5_000, 8, 8, "diagonal", spread, "float32") for spread in (1.0, 30.0)]
# Errors are as small if they are at most TIMES that of "auto", or EPSILONS times ε.
TIMES, EPSILONS = 2, 8


def clusters(n: int, d: int, k: int, spread: float, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of k clusters of unit width, and their components."""
    rng = np.random.default_rng(0)
    component = rng.integers(k, size=n)
    x = spread * rng.normal(size=(k, d))[component] + rng.normal(size=(n, d))
    return x.astype(dtype), component


def one_step(x: np.ndarray, start: jaxgmm.Mixture, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the means (k, d) and the variances (k, d) after one iteration."""
    fit = jaxgmm.fit(x, start, kernel=kernel, prior=None, max_steps=1, tolerance=0.0)
    variances = np.diagonal(fit.mixture.covariances, axis1=1, axis2=2)
    return np.asarray(fit.mixture.means, float), variances.astype(float)


def error(x: np.ndarray, start: jaxgmm.Mixture, kernel: str) -> float:
    """Return the largest error of means and variances after one iteration."""
    with jax.enable_x64(True):
        means, variances = one_step(x.astype(float), start, "whitened")
    found_means, found_variances = one_step(x, start, kernel)
    in_widths = np.abs(found_means - means) / np.sqrt(variances)
    return float(max(np.max(in_widths), np.max(np.abs(found_variances / variances - 1))))


def measure(case: tuple, rounds: int) -> dict:
    """Return one row of the table."""
    n, d, k, family, spread, dtype = case
    left_out = {"double"} if dtype == "float64" else {"whitened"} if n * d * k > 1e9 else set()
    names = [name for name in KERNELS if name not in left_out]
    with jax.enable_x64(dtype == "float64"):
        x, component = clusters(n, d, k, spread, dtype)
        start = jaxgmm.from_labels(x, component, n_components=k, family=family)
        runs = {kernel: jaxgmm_run(x, start, kernel) for kernel in ("auto", *names)}
        runs["floor"] = floor(n, d, k, "diagonal" if family == "tied" else family, dtype)
        if installed("scikit-learn"):
            runs["scikit-learn"] = PEERS["scikit-learn"](x, start, family)
        took = per_iteration(runs, rounds, wall_and_cpu)
        errors = {name: error(x, start, name) for name in ("auto", *names)}
    every = ("auto", *KERNELS, "floor", "scikit-learn")
    row = dict(zip(CASE, case, strict=True))
    for i, kind in enumerate(("ms", "CPU ms")):
        row |= {
            f"{name} {kind}": f"{1e3 * took[name][i]:.3g}" if name in took else "" for name in every
        }
    as_small = max(TIMES * errors["auto"], EPSILONS * float(np.finfo(dtype).eps))
    safe = max(SAFE_ROUNDING[dtype], errors["auto"])
    row |= {
        title: round(ratio(took, [name for name in names if errors[name] <= limit]), 2)
        for title, limit in (("auto / best", as_small), ("auto / safe", safe))
    }
    peer = took.get("scikit-learn")
    row |= {"× scikit-learn": "" if peer is None else round(peer[0] / took["auto"][0], 1)}
    return row | {
        f"{name} error": f"{errors[name]:.0e}" if name in errors else ""
        for name in ("auto", *KERNELS)
    }


def ratio(took: dict[str, np.ndarray], names: list[str]) -> float:
    """Return the time of "auto" over the least of these kernels, by the clock that favors it."""
    if not names:
        return float("nan")
    return float(np.min(took["auto"] / np.min([took[name] for name in names], axis=0)))


def read(path: Path | None) -> list[dict]:
    """Return the rows of the CSV file, which may not exist."""
    if path is None or not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw(rows: list[dict], path: Path) -> None:
    """Draw the milliseconds of every case, with hollow markers for errors that are too large."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.24 * len(rows) + 1.2), layout="constrained")
    ax = figure.subplots()
    looks = {
        "scikit-learn": ("x", "0.5"), "whitened": ("s", "#0072B2"), "double": ("^", "#009E73"),
        "natural": ("o", "#D55E00"), "floor": ("|", "0.2"), "auto": ("D", "#000000"),
    }  # fmt: skip
    place = np.arange(len(rows))[::-1]
    for name, (marker, color) in looks.items():
        took = np.array([float(row[f"{name} ms"] or "nan") for row in rows])
        if name in ("whitened", "double", "natural"):
            error_of = lambda row, name=name: float(row[f"{name} error"] or "nan")
            coarse = np.array([error_of(row) > SAFE_ROUNDING[row["dtype"]] for row in rows])
            ax.plot(took[coarse], place[coarse], marker, color=color, fillstyle="none", ms=5)
            took = np.where(coarse, np.nan, took)
        size = 3 if name == "auto" else 9 if name == "floor" else 5
        ax.plot(took, place, marker, color=color, ms=size, label=name)
    shape = lambda row: f"{row['family']}, n = {row['n']}, d = {row['d']}, k = {row['k']}"
    dtype = lambda row: "" if row["dtype"] == "float32" else f", {row['dtype']}"
    label = lambda row: f"{shape(row)}, spread {float(row['spread']):g}{dtype(row)}"
    ax.set_yticks(place, [label(row) for row in rows], fontsize=7)
    ax.set_xscale("log")
    ax.set_xlabel("ms for one EM iteration; hollow: an error above 3e-5, or 3e-11 in float64")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.3, 1.06), ncols=6, frameon=False, fontsize=8)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure the cases that are not in the CSV file, and draw them all."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="measure only two small cases")
    parser.add_argument("--plot", type=Path, help="file for the figure (needs matplotlib)")
    parser.add_argument("--only-plot", action="store_true", help="measure nothing")
    parser.add_argument("--only", type=int, nargs="*", help="positions of the cases to measure")
    arguments = parser.parse_args()
    known = {tuple(row[name] for name in CASE) for row in read(arguments.csv)}
    cases = QUICK if arguments.quick else [*GRID, *LARGE]
    cases = cases if arguments.only is None else [cases[i] for i in arguments.only]
    if not arguments.only_plot:
        print(machine())
        for case in cases:
            if tuple(map(str, case)) in known:
                continue
            row = measure(case, arguments.rounds)
            print(jaxgmm.Table([row]), flush=True)
            if arguments.csv:  # after each case, so that a later failure loses nothing
                add_row(arguments.csv, row)
    if arguments.plot:
        draw(read(arguments.csv), arguments.plot)


if __name__ == "__main__":
    main()
