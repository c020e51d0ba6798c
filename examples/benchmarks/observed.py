"""Rows that are not fully observed: passes to convergence, and the time of a pass.

    python examples/benchmarks/observed.py            # passes of five algorithms
    python examples/benchmarks/observed.py --times    # milliseconds of a pass, and its ratio

The dials of the first table are the fraction of missing values, and the standard deviation of the
noise in widths of the components (the square root of their mean variance). Its counts are medians
over simulated data sets, in float64 with the default prior, until D < 1e-9. They are written to
`results/observed.csv`. The second table is in float32 for 10 000 rows; times are CPU times of the
process, and that of a pass is the median of several.
"""

import argparse
import csv
import pathlib
import statistics
import time

import jax
import numpy as np
import optax

import jaxgmm

ALGORITHMS = {
    "EM": jaxgmm.EM(),
    "SQUAREM": jaxgmm.SQUAREM(),
    "Anderson": jaxgmm.Anderson(),
    "L-BFGS": jaxgmm.Gradient(optax.lbfgs),
    "Auto": jaxgmm.Auto(),
}
MOST_STEPS = 5000
EM_GAP = "EM's gap, nats"
FRACTIONS, DEVIATIONS = (0.0, 0.1, 0.3, 0.5), (0.0, 0.5, 1.0, 2.0)
RESULTS = pathlib.Path(__file__).parent / "results" / "observed.csv"


def drawn(n, d, k, separation=2.0, seed=0):
    """Return rows (n, d), and the width of the components they come from."""
    found = jaxgmm.simulate(jax.random.key(seed), n, d, k, separation=separation)
    variances = np.diagonal(np.asarray(found.mixture.covariances), axis1=1, axis2=2)
    return np.asarray(found.x), variances.mean() ** 0.5


def problems(n, seed):
    """Yield what is not observed, how much of it, and `Observed` rows of three components."""
    rng = np.random.default_rng(seed)
    x, _ = drawn(n, 5, 3, seed=seed)
    for fraction in FRACTIONS:
        gaps = rng.random(x.shape) < fraction
        gaps[gaps.all(axis=1), 0] = False  # each row has a value
        yield "missing fraction, d = 5", fraction, jaxgmm.Observed(np.where(gaps, np.nan, x))
    x, width = drawn(n, 3, 3, seed=seed)
    for deviation in DEVIATIONS:
        noisy = x + deviation * width * rng.normal(size=x.shape)
        noise = np.full(x.shape, (deviation * width) ** 2)
        yield "noise in widths, d = 3", deviation, jaxgmm.Observed(noisy, noise=noise)


def passes(observed):
    """Return the passes of each algorithm from one start, and what EM leaves to gain."""
    start = jaxgmm.initialize(jax.random.key(1), observed, 3)
    fits = {
        name: jaxgmm.fit(observed, start, algorithm, max_steps=MOST_STEPS)
        for name, algorithm in ALGORITHMS.items()
    }
    counts = {name: float(fit.passes) for name, fit in fits.items()}
    best = max(float(fit.objective) for fit in fits.values())
    return counts | {EM_GAP: best - float(fits["EM"].objective)}


def study(n, seeds):
    """Write the medians over data sets, one line for each dial."""
    found = {}
    with jax.enable_x64(True):
        for seed in range(seeds):
            for kind, amount, observed in problems(n, seed):
                found.setdefault((kind, amount), []).append(passes(observed))
                print(seed, kind, amount, found[kind, amount][-1], flush=True)
    table = jaxgmm.Table()
    for (kind, amount), rows in found.items():
        median = lambda name, rows=rows: statistics.median(row[name] for row in rows)
        counts = {name: f"{median(name):.0f}" for name in ALGORITHMS}
        gap = f"{median(EM_GAP):.0e}"
        table.append({"not observed": kind, "amount": amount} | counts | {EM_GAP: gap})
    print(table)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def milliseconds(mixture, rows):
    from jaxgmm.data.open_data import open_data
    from jaxgmm.objective.statistics import statistics_at

    data = open_data(rows, like=mixture.dtype, devices=jax.local_devices()[:1])

    def seconds(repeats):
        began = time.process_time()
        for _ in range(repeats):
            jax.block_until_ready(data.compute(statistics_at, mixture))
        return time.process_time() - began

    compiled = seconds(1)
    repeats = max(1, round(0.02 / max(seconds(3) / 3, 1e-4)))  # clocks of processes are coarse
    return 1e3 * statistics.median(seconds(repeats) for _ in range(9)) / repeats, compiled


def times(n):
    table, rng = jaxgmm.Table(), np.random.default_rng(0)
    for d, k in ((4, 3), (10, 5), (30, 5)):
        x, _ = drawn(n, d, k)
        mixture = jaxgmm.initialize(jax.random.key(1), x, k)
        complete, _ = milliseconds(mixture, jaxgmm.Observed(x, log_odds=np.zeros((n, k))))
        plain, _ = milliseconds(mixture, x)
        cases = {"complete rows in Observed": jaxgmm.Observed(x)}
        for fraction in (0.05, 0.2):
            if d < 30 or fraction == 0.05:
                gaps = np.where(rng.random(x.shape) < fraction, np.nan, x)
                cases[f"{fraction:.0%} missing"] = jaxgmm.Observed(gaps)
        if d < 30:
            cases["noise"] = jaxgmm.Observed(x, noise=rng.random(x.shape).astype(np.float32))
        table.append({"d": d, "k": k, "rows": "plain", "ms": round(plain, 2), "ratio": 1.0})
        table.append(
            {"d": d, "k": k, "rows": "log-odds", "ms": round(complete, 2),
             "ratio": round(complete / plain, 2)}
        )  # fmt: skip
        for name, rows in cases.items():
            taken, compiled = milliseconds(mixture, rows)
            table.append(
                {"d": d, "k": k, "rows": name, "ms": round(taken, 2),
                 "ratio": round(taken / plain, 2), "first call, s": round(compiled, 1)}
            )  # fmt: skip
            print(table[-1], flush=True)
    print(jaxgmm.Table({"first call, s": ""} | row for row in table))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--n", type=int, default=None, help="number of rows")
    parser.add_argument("--seeds", type=int, default=5, help="number of data sets of each kind")
    arguments = parser.parse_args()
    if arguments.times:
        times(arguments.n or 10_000)
    else:
        study(arguments.n or 1000, arguments.seeds)
