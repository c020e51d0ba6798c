"""How the time of one EM iteration grows with rows, components and features.

    .venv/bin/python examples/benchmarks/scaling.py --csv examples/benchmarks/results/scaling.csv \\
        --plot examples/benchmarks/results/scaling.png

One quantity is varied at a time, for either kernel; the exponent p is that of the line fitted to
log seconds. Full covariances in float32, one CPU device; n = 100 000, k = 16 and d = 8 where they
are not varied.
"""

from pathlib import Path

import jax
import numpy as np
from timing import add_row, arguments, blobs, machine, ours, per_iteration

import jaxgmm

USUAL = {"n": 100_000, "k": 16, "d": 8}
VARIED = {
    "n": (10_000, 31_623, 100_000, 316_228, 1_000_000),
    "k": (4, 8, 16, 32, 64),
    "d": (2, 4, 8, 16, 32),
}
KERNELS = ("natural", "whitened")
WORDS = {"n": "rows n", "k": "components k", "d": "features d"}


def points(rows: list[dict], name: str, kernel: str) -> np.ndarray:
    """What was varied, and the seconds that it took, as (points, 2)."""
    return np.array([(row[name], row[kernel]) for row in rows if row["varied"] == name])


def exponent(rows: list[dict], name: str, kernel: str) -> float:
    """p in seconds ~ quantity^p."""
    return float(np.polyfit(*np.log(points(rows, name, kernel)).T, 1)[0])


def drawn(rows: list[dict], path: Path) -> None:
    """One panel for each quantity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
    for ax, name in zip(panels, VARIED, strict=True):
        for kernel, color in zip(KERNELS, ("#0072B2", "#D55E00"), strict=True):
            x, seconds = points(rows, name, kernel).T
            p = exponent(rows, name, kernel)
            label = f"{kernel}: ∝ {name}$^{{{p:.2f}}}$"
            ax.loglog(x, 1e3 * seconds, "o-", color=color, label=label)
        ax.set_xlabel(WORDS[name])
        if name != "n":
            ax.set_xticks(VARIED[name], [str(value) for value in VARIED[name]])
            ax.minorticks_off()
        ax.legend(fontsize="small", frameon=False)
        ax.grid(alpha=0.3)
    panels[0].set_ylabel("ms for an iteration of EM")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, at most")
    parser.add_argument("--plot", type=Path, help="where to draw it (needs matplotlib)")
    given = parser.parse_args()
    jaxgmm.use_all_cores(1)
    print(machine())
    settings = [
        (name, USUAL | {name: value}) for name, values in VARIED.items() for value in values
    ]
    if given.quick:
        settings = [(name, each | {"n": each["n"] // 10}) for name, each in settings]
    rows = []
    for name, each in settings:
        x = jax.numpy.asarray(blobs(each["n"], each["d"], each["k"], "float32"))
        start = jaxgmm.initialize(jax.random.key(0), x, each["k"])
        fits = {kernel: ours(x, start, kernel) for kernel in KERNELS}
        rows.append({"varied": name, **each, **per_iteration(fits, given.rounds)})
    print(jaxgmm.Table(rows))
    for kernel in KERNELS:
        found = ", ".join(f"{name} {exponent(rows, name, kernel):.2f}" for name in VARIED)
        print(f"exponents, {kernel}: {found}")
    if given.csv:
        given.csv.unlink(missing_ok=True)
        for row in rows:
            add_row(given.csv, row)
    if given.plot:
        drawn(rows, given.plot)


if __name__ == "__main__":
    main()
