"""Growth of the time of one EM iteration with rows, components and features.

    .venv/bin/python examples/benchmarks/scaling.py --csv examples/benchmarks/results/scaling.csv \\
        --plot examples/benchmarks/results/scaling.png

One quantity is varied at a time, for each kernel. The exponent p is the slope of a line fitted to
the logarithms of the seconds. Covariances are full, in float32, on one CPU device. The quantities
that are not varied are n = 100 000, k = 16 and d = 8.
"""

from pathlib import Path

import jax
import numpy as np
from timing import add_row, blobs, jaxgmm_run, machine, make_parser, per_iteration

import jaxgmm

DEFAULTS = {"n": 100_000, "k": 16, "d": 8}
VARIED = {
    "n": (10_000, 31_623, 100_000, 316_228, 1_000_000),
    "k": (4, 8, 16, 32, 64),
    "d": (2, 4, 8, 16, 32),
}
KERNELS = ("natural", "whitened")
LABELS = {"n": "rows n", "k": "components k", "d": "features d"}


def points(rows: list[dict], name: str, kernel: str) -> np.ndarray:
    """Return the values of the varied quantity and the seconds, as (points, 2)."""
    return np.array([(row[name], row[kernel]) for row in rows if row["varied"] == name])


def exponent(rows: list[dict], name: str, kernel: str) -> float:
    """Return p in seconds ~ quantity^p."""
    return float(np.polyfit(*np.log(points(rows, name, kernel)).T, 1)[0])


def draw(rows: list[dict], path: Path) -> None:
    """Draw seconds against each varied quantity, one panel for each."""
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
        ax.set_xlabel(LABELS[name])
        if name != "n":
            ax.set_xticks(VARIED[name], [str(value) for value in VARIED[name]])
            ax.minorticks_off()
        ax.legend(fontsize="small", frameon=False)
        ax.grid(alpha=0.3)
    panels[0].set_ylabel("ms per EM iteration")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure all settings, print the exponents and draw the figure."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="measure with a tenth of the rows")
    parser.add_argument("--plot", type=Path, help="file for the figure (needs matplotlib)")
    arguments = parser.parse_args()
    jaxgmm.use_all_cores(1)
    print(machine())
    settings = [
        (name, DEFAULTS | {name: value}) for name, values in VARIED.items() for value in values
    ]
    if arguments.quick:
        settings = [(name, setting | {"n": setting["n"] // 10}) for name, setting in settings]
    rows = []
    for name, setting in settings:
        x = jax.numpy.asarray(blobs(setting["n"], setting["d"], setting["k"], "float32"))
        start = jaxgmm.initialize(jax.random.key(0), x, setting["k"])
        fits = {kernel: jaxgmm_run(x, start, kernel) for kernel in KERNELS}
        rows.append({"varied": name, **setting, **per_iteration(fits, arguments.rounds)})
    print(jaxgmm.Table(rows))
    for kernel in KERNELS:
        exponents = ", ".join(f"{name} {exponent(rows, name, kernel):.2f}" for name in VARIED)
        print(f"exponents, {kernel}: {exponents}")
    if arguments.csv:
        arguments.csv.unlink(missing_ok=True)
        for row in rows:
            add_row(arguments.csv, row)
    if arguments.plot:
        draw(rows, arguments.plot)


if __name__ == "__main__":
    main()
