"""Results and cost of halving, compared with running every start to its end.

    .venv/bin/python -m pip install -e '.[test]'
    .venv/bin/python examples/benchmarks/halving.py

The script uses ten data sets, K = 1 … 6 and 32 restarts, in float64. It prints the gap between the
best objectives of running all restarts and of halving, at the K of lowest BIC (negative if halving
found a higher objective), the number of K at which the gap is below 1e-3, and the passes of halving
relative to those of running all restarts.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import jaxgmm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import load

KS = range(1, 7)
RESTARTS = 32


def clusters(seed: int, n: int, d: int, k: int, apart: float) -> np.ndarray:
    """Return k Gaussian clusters with random covariances and normal centers scaled by `apart`."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(size=(k, d, d)) / np.sqrt(d) + np.eye(d)
    component = rng.integers(k, size=n)
    noise = np.einsum("nij,nj->ni", shapes[component], rng.normal(size=(n, d)))
    return apart * rng.normal(size=(k, d))[component] + noise


def like_old_faithful() -> np.ndarray:
    """Return eruptions and waiting times, simulated from a published fit of two components."""
    rng = np.random.default_rng(0)
    short = rng.multivariate_normal([2.04, 54.5], [[0.07, 0.44], [0.44, 33.7]], 97)
    long = rng.multivariate_normal([4.29, 80.0], [[0.17, 0.94], [0.94, 36.0]], 175)
    return np.concatenate([short, long])


DATA = {
    "iris": lambda: load.iris()[0],
    "penguins": lambda: load.penguins()[0],
    "wine": lambda: load.wine()[0],
    "like old faithful": like_old_faithful,
    "overlapping, d=2": lambda: clusters(1, 500, 2, 3, 1.0),
    "overlapping, d=3": lambda: clusters(2, 800, 3, 4, 1.0),
    "overlapping, d=5": lambda: clusters(3, 1000, 5, 4, 0.7),
    "separated, d=2": lambda: clusters(4, 500, 2, 4, 8.0),
    "separated, d=4": lambda: clusters(5, 800, 4, 5, 6.0),
    "separated, d=8": lambda: clusters(6, 1000, 8, 4, 4.0),
}


def main() -> None:
    """Run both strategies on all data sets and print the table."""
    jax.config.update("jax_enable_x64", True)
    table = jaxgmm.Table()
    for name, data in DATA.items():
        run = lambda strategy, x=data(): jaxgmm.sweep(
            jax.random.key(0), x, KS, restarts=RESTARTS, strategy=strategy
        )
        full, halving = run("full"), run("halving")
        gaps = [
            float(full.best(n_components=k).objective - halving.best(n_components=k).objective)
            for k in KS
        ]
        fraction = np.sum(halving.fits["full"].passes) / np.sum(full.fits["full"].passes)
        best = [found.best().mixture.n_components for found in (full, halving)]
        table.append({
            "data": name, "K by BIC": f"{best[0]} and {best[1]}",
            "gap there": f"{gaps[best[0] - 1]:.4f}",
            "gap < 1e-3": f"{sum(gap < 1e-3 for gap in gaps)} of {len(gaps)}",
            "relative passes": f"{100 * fraction:.0f} %",
        })  # fmt: skip
        print(f"{name}: done", file=sys.stderr)
    print(table)


if __name__ == "__main__":
    main()
