"""Seconds for one EM iteration, against scikit-learn, gmmx (where it is installed) and a floor.

    .venv/bin/python -m pip install -e '.[test]' gmmx
    .venv/bin/python examples/benchmarks/passes.py --csv examples/benchmarks/results/passes.csv

Everyone gets the same rows and the same start, in the same process, in turn. An iteration is the
difference between a longer and a shorter fit, so that starts, checks and compiling drop out. The
floor is what no pass can do without: the natural kernel's two matrix products and its exponentials,
in blocks that fit the cache. Medians over rounds; ratios are theirs to jaxgmm's.
"""

import argparse
import csv
import functools
import importlib.util
import os
import platform
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import jaxgmm

warnings.simplefilter("ignore", ConvergenceWarning)
CASES = [  # n, d, k, family, dtype
    (100_000, 16, 16, "full", "float32"),
    (100_000, 4, 8, "full", "float32"),
    (20_000, 64, 16, "full", "float32"),
    (100_000, 16, 16, "diagonal", "float32"),
    (100_000, 16, 16, "full", "float64"),
]
QUICK = [(4_000, 4, 4, "full", "float32")]
SHORT, LONG, LONGEST = 2, 8, 400  # iterations
WORTH_TIMING = 0.2  # seconds that the longer fit should take
TOO_LONG = 30.0  # seconds: whoever takes longer for the shorter fit is left out


def blobs(n: int, d: int, k: int, dtype: str) -> np.ndarray:
    """k round clusters as wide as their centres are apart, so that EM has work to do."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(k, d))
    return (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def ours(x, start, kernel):
    """A fit of so many iterations."""

    def run(steps):
        jax.block_until_ready(
            jaxgmm.fit(x, start, max_steps=steps, tolerance=0.0, kernel=kernel).objective
        )

    return run


def scikit_learn(x, start, family):
    """The same by scikit-learn, from the same parameters."""
    names = {"full": "full", "diagonal": "diag"}
    precisions = np.asarray(start.precisions, x.dtype)
    if family == "diagonal":
        precisions = np.diagonal(precisions, axis1=1, axis2=2)

    weights = np.asarray(start.weights, np.float64)

    def run(steps):
        GaussianMixture(
            start.n_components, covariance_type=names[family], tol=0.0, max_iter=steps,
            weights_init=weights / weights.sum(),
            means_init=np.asarray(start.means), precisions_init=precisions, init_params="random",
            random_state=0,
        ).fit(x)  # fmt: skip

    return run


def gmmx(x, start, family):
    """The same by gmmx, which compiles anew for each number of iterations."""
    import gmmx

    covariances = np.asarray(start.covariances)
    if family == "diagonal":
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    mixture = gmmx.GaussianMixtureModelJax.from_squeezed(
        means=start.means, covariances=jnp.asarray(covariances), weights=start.weights,
        covariance_type={"full": "full", "diagonal": "diag"}[family],
    )  # fmt: skip
    rows = jnp.asarray(x)

    def run(steps):
        jax.block_until_ready(gmmx.EMFitter(max_iter=steps, tol=0.0).fit(rows, mixture).gmm.means)

    return run


def floor(n: int, d: int, k: int, family: str, dtype: str):
    """The products and exponentials of so many passes."""
    features = (d + 1) * (d + 2) // 2 if family == "full" else 2 * d + 1
    size = np.dtype(dtype).itemsize
    block = 1 << min(max((1 << 20) // ((features + k) * size), 64), 4096).bit_length() - 1
    rng = np.random.default_rng(0)
    phi = jnp.asarray(rng.normal(size=(4, features, block)), dtype)
    eta = jnp.asarray(rng.normal(size=(k, features)) / features, dtype)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    @jax.jit
    def passes(count):
        def one(i, total):
            block_of = phi[i % 4]
            return total + product(jnp.exp(product(eta, block_of)), block_of.T)

        return jax.lax.fori_loop(0, count * -(-n // block), one, jnp.zeros_like(eta))

    return lambda steps: jax.block_until_ready(passes(steps))


def seconds(run, steps: int) -> float:
    """Of one fit of so many iterations."""
    began = time.perf_counter()
    run(steps)
    return time.perf_counter() - began


def per_iteration(contenders: dict, rounds: int) -> dict[str, float]:
    """Median seconds of an iteration of each, taken in turn."""
    longer = {}
    for name, run in contenders.items():
        run(SHORT)  # compiles
        if seconds(run, SHORT) < TOO_LONG:
            run(LONG)
            rough = max(seconds(run, LONG) / LONG, 1e-6)
            longer[name] = int(np.clip(WORTH_TIMING / rough, LONG, LONGEST))
            run(longer[name])
    took = {name: [] for name in longer}
    for _ in range(rounds):
        for name, steps in longer.items():
            difference = seconds(contenders[name], steps) - seconds(contenders[name], SHORT)
            took[name].append(difference / (steps - SHORT))
    return {name: float(np.median(values)) for name, values in took.items()}


def measure(case, rounds: int) -> dict:
    """One row of the table."""
    n, d, k, family, dtype = case
    with jax.enable_x64(dtype == "float64"):
        x = blobs(n, d, k, dtype)
        start = jaxgmm.initialize(jax.random.key(0), x, k, family=family)
        contenders = {
            "auto": ours(x, start, "auto"),
            "whitened": ours(x, start, "whitened"),
            "scikit-learn": scikit_learn(x, start, family),
            "floor": floor(n, d, k, family, dtype),
        }
        # gmmx is of float32, and with 64 features holds more than a workstation has.
        fits = dtype == "float32" and n * k * d * d < 1e9
        if importlib.util.find_spec("gmmx") and fits:
            contenders["gmmx"] = gmmx(x, start, family)
        took = per_iteration(contenders, rounds)
    ms = lambda name: 1e3 * took.get(name, np.nan)
    row = {"n": n, "d": d, "k": k, "family": family, "dtype": dtype}
    row |= {
        f"{name} ms": ms(name) for name in ("auto", "whitened", "scikit-learn", "gmmx", "floor")
    }
    return row | {
        "× scikit-learn": ms("scikit-learn") / ms("auto"),
        "whitened × scikit-learn": ms("scikit-learn") / ms("whitened"),
        "× gmmx": ms("gmmx") / ms("auto"),
        "of the floor": ms("auto") / ms("floor"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--csv", type=Path, help="where to write the table")
    given = parser.parse_args()
    print(
        f"JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{jax.device_count()} {jax.devices()[0].platform} device(s)"
    )
    table = jaxgmm.Table()
    for case in QUICK if given.quick else CASES:
        table.append(measure(case, given.rounds))
        print(jaxgmm.Table(table[-1:]), flush=True)
        if given.csv:  # what was measured is kept, whatever comes after
            write(given.csv, table)


def write(path: Path, table: jaxgmm.Table) -> None:
    """The table so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
