"""Rows that are not fully observed: passes to convergence, and the time of a pass.

    python examples/benchmarks/observed.py            # passes of five algorithms
    python examples/benchmarks/observed.py --times    # milliseconds of a pass, and its ratio
    python examples/benchmarks/observed.py --peers    # milliseconds of a step, and of peers

The dials of the first table are the fraction of missing values, and the standard deviation of the
noise in widths of the components (the square root of their mean variance). Its counts are medians
over simulated data sets, in float64 with the default prior, until D < 1e-9. They are written to
`results/observed.csv`. The second table is in float32 for 10 000 rows. Its times are CPU times of
the process, medians of passes that alternate with whitened ones over complete rows. The third one
is in float64, for EM from the same start by jaxgmm and by what is installed of
extreme-deconvolution and astroML. Set OMP_NUM_THREADS=1, because waiting threads count as well.
"""

import argparse
import csv
import pathlib
import statistics
import time

import jax
import numpy as np
import optax
from peers import NOISE_PEERS, installed
from timing import jaxgmm_run, per_iteration

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


def pass_over(rows, mixture, kernel="auto"):
    """Return a function for the CPU milliseconds of some passes, and the seconds of the first."""
    from jaxgmm.data.open_data import open_data
    from jaxgmm.objective.statistics import about_mixture
    from jaxgmm.objective.statistics import statistics as sums

    data = open_data(rows, like=mixture.dtype, devices=jax.local_devices()[:1])
    function = lambda rows, mixture: sums(*about_mixture(mixture, rows), kernel)

    def taken(repeats):
        began = time.process_time()
        for _ in range(repeats):
            jax.block_until_ready(data.compute(function, mixture))
        return 1e3 * (time.process_time() - began) / repeats

    first = taken(1) / 1e3
    repeats = max(1, round(20 / max(taken(3), 0.1)))  # clocks of processes are coarse
    return lambda: taken(repeats), first


def kinds_of_rows(x, rng):
    """Yield names and rows: with gaps, with noise of each row, and with noise that rows share."""
    d = x.shape[1]
    gaps = lambda fraction: np.where(rng.random(x.shape) < fraction, np.nan, x)
    noise = rng.random(x.shape).astype(np.float32)
    root = rng.normal(size=(d, d)).astype(np.float32)
    yield "complete", x
    yield "complete, in Observed", jaxgmm.Observed(x)
    yield "5 % missing", jaxgmm.Observed(gaps(0.05))
    if d < 30:
        yield "20 % missing", jaxgmm.Observed(gaps(0.2))
        yield "noise of each row", jaxgmm.Observed(x, noise=noise)
    yield "noise that rows share", jaxgmm.Observed(x, noise=root @ root.T / d)
    yield "shared, 5 % missing", jaxgmm.Observed(gaps(0.05), noise=root @ root.T / d)


def times(n, rounds=15):
    """Print the CPU time of a pass, alternately with the whitened pass over complete rows."""
    table = jaxgmm.Table()
    for d, k in ((4, 3), (10, 5), (30, 5)):
        x, _ = drawn(n, d, k)
        mixture = jaxgmm.initialize(jax.random.key(1), x, k)
        complete, _ = pass_over(x, mixture, "whitened")
        for name, rows in kinds_of_rows(x, np.random.default_rng(0)):
            own, first = pass_over(rows, mixture)
            pairs = [(complete(), own()) for _ in range(rounds)]
            row = {
                "d": d, "k": k, "rows": name,
                "whitened, ms": f"{statistics.median(one for one, _ in pairs):.2f}",
                "ms": f"{statistics.median(other for _, other in pairs):.2f}",
                "ratio": f"{statistics.median(other / one for one, other in pairs):.2f}",
                "first call, s": f"{first:.1f}",
            }  # fmt: skip
            table.append(row)
            print(row, flush=True)
    print(table)


def peers(n, k=5, features=(2, 4, 7), rounds=3):
    """Print the CPU time of a step for rows with noise, for each library that is installed."""
    rng, table = np.random.default_rng(0), jaxgmm.Table()
    names = list(filter(installed, NOISE_PEERS))
    with jax.enable_x64(True):
        for d in features:
            x = np.asarray(drawn(n, d, k)[0], np.float64)
            root = rng.normal(size=(n, d, d))
            covariances = root @ np.swapaxes(root, 1, 2) / d
            kinds = {"variances": rng.random(x.shape), "covariances": covariances}
            start = jaxgmm.initialize(jax.random.key(1), x, k)
            for kind, noise in kinds.items():
                runs = {"jaxgmm": jaxgmm_run(jaxgmm.Observed(x, noise=noise), start)}
                runs |= {name: NOISE_PEERS[name](x, noise, start) for name in names}
                taken = per_iteration(runs, rounds, time.process_time)
                row = {"d": d, "noise": kind}
                row |= {name: f"{1e3 * value:.1f}" for name, value in taken.items()}
                row |= {f"× {name}": f"{taken[name] / taken['jaxgmm']:.1f}" for name in names}
                table.append(row)
                print(row, flush=True)
    print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--n", type=int, default=None, help="number of rows")
    parser.add_argument("--seeds", type=int, default=5, help="number of data sets of each kind")
    arguments = parser.parse_args()
    if arguments.times:
        times(arguments.n or 10_000)
    elif arguments.peers:
        peers(arguments.n or 10_000)
    else:
        study(arguments.n or 1000, arguments.seeds)
