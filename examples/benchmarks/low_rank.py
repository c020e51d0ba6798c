"""Time of a pass with few factors against dense covariances, and how far algorithms get by passes.

    .venv/bin/python examples/benchmarks/low_rank.py --csv examples/benchmarks/results/low_rank.csv

The first table measures one pass over rows of d features, for k components with full covariances,
and with q factors by kernel="auto" and by each kernel. Times are CPU times, the least of several,
so that other programs disturb them little. The second table fits three
components with two factors to the thirteen measurements of wines, in standard deviations and in
float64, from the same start. It shows the log-likelihood that each algorithm has reached after some
passes over the rows. Noise of some features goes to zero there, which makes EM slow.
"""

import csv
import time
from pathlib import Path

import jax
import numpy as np
import optax
from timing import add_row, machine, make_parser

import jaxgmm
from jaxgmm.data.rows import Rows
from jaxgmm.objective.statistics import statistics

CASES = [(4_000, 64, 5, 5), (4_000, 200, 5, 5)]  # n, d, k, q
QUICK = [(2_000, 64, 3, 2)]
PASSES = (25, 50, 100, 150, 1000)
ALGORITHMS = {
    "EM": jaxgmm.EM(),
    "SQUAREM": jaxgmm.SQUAREM(),
    "L-BFGS": jaxgmm.Gradient(optax.lbfgs),
}


def rows_with_factors(n: int, d: int, k: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 rows of k clusters with q factors each, and their components."""
    rng = np.random.default_rng(0)
    component = rng.integers(k, size=n)
    loadings = rng.normal(size=(k, d, q)) / np.sqrt(q)
    x = np.einsum("ndq,nq->nd", loadings[component], rng.normal(size=(n, q)))
    x += rng.normal(size=(n, d)) + rng.normal(size=(k, d))[component]
    return x.astype(np.float32), component


def seconds_of_pass(x: np.ndarray, mixture: jaxgmm.Mixture, kernel: str, rounds: int) -> float:
    """Return the least CPU time of a pass over the rows, after compilation."""
    run = jax.jit(lambda mixture, x: statistics(mixture, Rows.of(x, None), kernel))
    jax.block_until_ready(run(mixture, x))
    times = []
    for _ in range(rounds):
        began = time.process_time()
        jax.block_until_ready(run(mixture, x))
        times.append(time.process_time() - began)
    return min(times)


def measure(case: tuple, rounds: int) -> dict:
    """Return one row of the table of times."""
    n, d, k, q = case
    x, component = rows_with_factors(n, d, k, q)
    x -= x.mean(axis=0)
    start_of = lambda family: jaxgmm.from_labels(x, component, k, family=family)
    full, few = start_of("full"), start_of(jaxgmm.factors(q))
    took = {"full": seconds_of_pass(x, full, "auto", rounds)}
    took["factors"] = seconds_of_pass(x, few, "auto", rounds)
    for kernel in ("natural", "double", "whitened"):
        took[kernel] = seconds_of_pass(x, few, kernel, rounds)
    row = {"n": n, "d": d, "k": k, "q": q}
    row |= {f"{name} ms": round(1e3 * seconds, 2) for name, seconds in took.items()}
    return row | {"full / factors": round(took["full"] / took["factors"], 1)}


def wines() -> np.ndarray:
    """Return the measurements (178, 13) of wines, in standard deviations."""
    path = Path(__file__).resolve().parent.parent / "data" / "wine.csv"
    with open(path, newline="", encoding="utf-8") as file:
        x = np.array(list(csv.reader(file))[1:], float)[:, 1:]
    return (x - x.mean(axis=0)) / x.std(axis=0)


def race(seed: int) -> list[dict]:
    """Return the log-likelihood of each algorithm after some passes, from one start."""
    rows = []
    with jax.enable_x64(True):
        x = wines()
        start = jaxgmm.initialize(jax.random.key(seed), x, 3, family=jaxgmm.factors(2))
        for name, algorithm in ALGORITHMS.items():
            fit = jaxgmm.fit(x, start, algorithm, prior=None, tolerance=0.0, max_steps=max(PASSES))
            made, reached = np.asarray(fit.history_passes), np.asarray(fit.history)
            after = {
                f"after {passes}": round(float(reached[made <= passes].max()), 2)
                for passes in PASSES
            }
            rows.append({"start": seed, "algorithm": name} | after)
    return rows


def main() -> None:
    """Measure both tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="measure only a small case")
    arguments = parser.parse_args()
    if arguments.csv:
        arguments.csv.unlink(missing_ok=True)
    print(machine())
    for case in QUICK if arguments.quick else CASES:
        row = measure(case, 4 * arguments.rounds)
        print(jaxgmm.Table([row]), flush=True)
        if arguments.csv:
            add_row(arguments.csv, row)
    for seed in (0,) if arguments.quick else (0, 1, 2):
        print(jaxgmm.Table(race(seed)), flush=True)


if __name__ == "__main__":
    main()
