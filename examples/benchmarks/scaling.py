"""How the time of one EM iteration grows with rows, components and features.

    .venv/bin/python examples/benchmarks/scaling.py --csv examples/benchmarks/results/scaling.csv \\
        --plot examples/benchmarks/results/scaling.png

One quantity is varied at a time; the exponent p is that of the line fitted to log seconds. Full
covariances in float32, one CPU device; n = 100 000, k = 16 and d = 8 where they are not varied.
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
WORDS = {"n": "rows n", "k": "components k", "d": "features d"}


def exponents(rows: list[dict]) -> dict[str, float]:
    """p in seconds ~ quantity^p, for each quantity varied."""
    found = {}
    for name in VARIED:
        points = [(row[name], row["seconds"]) for row in rows if row["varied"] == name]
        found[name] = float(np.polyfit(*np.log(np.array(points)).T, 1)[0])
    return found


def drawn(rows: list[dict], fitted: dict[str, float], path: Path) -> None:
    """One panel for each quantity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
    for ax, name in zip(panels, VARIED, strict=True):
        points = np.array([(row[name], row["seconds"]) for row in rows if row["varied"] == name])
        ax.loglog(points[:, 0], 1e3 * points[:, 1], "o-", color="C0")
        ax.set_xlabel(WORDS[name])
        ax.set_title(f"exponent {fitted[name]:.2f}", fontsize="medium")
        ax.grid(alpha=0.3)
    panels[0].set_ylabel("ms for an iteration")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


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
    fits = {}
    for i, (_, each) in enumerate(settings):
        x = jax.numpy.asarray(blobs(each["n"], each["d"], each["k"], "float32"))
        start = jaxgmm.initialize(jax.random.key(0), x, each["k"])
        fits[i] = ours(x, start)
    took = per_iteration(fits, given.rounds)
    rows = [{"varied": name, **each, "seconds": took[i]} for i, (name, each) in enumerate(settings)]
    print(jaxgmm.Table(rows))
    fitted = exponents(rows)
    print("exponents:", ", ".join(f"{name} {value:.2f}" for name, value in fitted.items()))
    if given.csv:
        given.csv.unlink(missing_ok=True)
        for row in rows:
            add_row(given.csv, row)
    if given.plot:
        drawn(rows, fitted, given.plot)


if __name__ == "__main__":
    main()
