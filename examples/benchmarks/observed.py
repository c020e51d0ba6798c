"""Rows that are not fully observed: passes to convergence, and the time of a pass.

    python examples/benchmarks/observed.py            # passes of EM, SQUAREM and L-BFGS
    python examples/benchmarks/observed.py --times    # milliseconds of a pass, and its ratio

The dials of the first table are the fraction of missing values and the standard deviation of the
noise. Its counts are in float64 with the default prior, until D < 1e-9. The second table is in
float32 for 10 000 rows; times are CPU times of the process, and that of a pass is the median of
several.
"""

import argparse
import statistics
import time

import jax
import numpy as np
import optax

import jaxgmm

ALGORITHMS = {
    "EM": jaxgmm.EM(),
    "SQUAREM": jaxgmm.SQUAREM(),
    "L-BFGS": jaxgmm.Gradient(optax.lbfgs),
}
MOST_STEPS = 3000


def drawn(n, d, k, separation=2.0):
    found = jaxgmm.simulate(jax.random.key(0), n, d, k, separation=separation)
    return np.asarray(found.x)


def passes(observed, k):
    """The passes of each algorithm from one start, and what EM leaves to gain, in nats."""
    start = jaxgmm.initialize(jax.random.key(1), observed, k)
    fits = {
        name: jaxgmm.fit(observed, start, algorithm, max_steps=MOST_STEPS)
        for name, algorithm in ALGORITHMS.items()
    }
    best = max(float(fit.objective) for fit in fits.values())
    counts = {
        name: f"{float(fit.passes):.0f}" + ("" if fit.converged else " (not converged)")
        for name, fit in fits.items()
    }
    return counts | {"EM's gap": f"{best - float(fits['EM'].objective):.0e}"}


def study(n):
    with jax.enable_x64(True):
        table, rng = jaxgmm.Table(), np.random.default_rng(0)
        x = drawn(n, 5, 3)
        for fraction in (0.0, 0.1, 0.3, 0.5, 0.6):
            gaps = np.where(rng.random(x.shape) < fraction, np.nan, x)
            gaps = gaps[~np.isnan(gaps).all(axis=1)]
            problem = {"problem": f"{fraction:.0%} missing, d = 5"}
            table.append(problem | passes(jaxgmm.Observed(gaps), 3))
            print(table[-1], flush=True)
        x = drawn(n, 3, 3)
        for deviation in (0.3, 0.5, 1.0, 2.0):
            noisy = x + deviation * rng.normal(size=x.shape)
            problem = {"problem": f"noise of deviation {deviation}, d = 3"}
            table.append(problem | passes(jaxgmm.Observed(noisy, noise=deviation**2), 3))
            print(table[-1], flush=True)
        print(jaxgmm.Table(table))


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
        x = drawn(n, d, k)
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
    arguments = parser.parse_args()
    if arguments.times:
        times(arguments.n or 10_000)
    else:
        study(arguments.n or 1000)
