"""Seconds for one EM iteration, against the peers that are installed and a floor.

    .venv/bin/python -m pip install -e '.[test]' gmmx
    .venv/bin/python examples/benchmarks/passes.py --csv examples/benchmarks/results/passes.csv

Everyone gets the same rows and the same start, in the same process, in turn. The floor is what no
pass can do without: the natural kernel's two matrix products and its exponentials, one core for
each device, in blocks of the size that is fastest. Medians over rounds; ratios are theirs to
jaxgmm's. One process measures with one CPU device, another with one for each core.
"""

import functools
import importlib.metadata
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from peers import PEERS, installed
from timing import (
    CASES,
    add_row,
    arguments,
    blobs,
    machine,
    n_features,
    ours,
    per_iteration,
    seconds,
)

import jaxgmm

MANY = CASES[:1]  # of those, the ones measured with several devices
QUICK = [(4_000, 4, 4, "full", "float32")]


def floor(n: int, d: int, k: int, family: str, dtype: str):
    """run(steps): the products and exponentials of so many passes, each device its share of the
    rows."""
    features = n_features(d, family)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    devices = jax.devices()
    start = jnp.full((features, k), 0.1 / features, dtype)

    def passes(block):
        phi = jnp.asarray(np.random.default_rng(0).normal(size=(features, block)), dtype)

        @functools.partial(jax.pmap, in_axes=(None, 0), devices=devices)
        def run(count, parameters):
            def one(_, parameters):  # on what came before, so that it is done every time
                sums = product(phi, jnp.exp(product(parameters.T, phi)).T)
                return parameters + 1e-12 * sums

            blocks = -(-n // (block * len(devices)))
            return jax.lax.fori_loop(0, count * blocks, one, parameters)

        def steps(count):
            jax.block_until_ready(run(count, jnp.stack([start] * len(devices))))
            return count

        return steps

    candidates = [passes(block) for block in (256, 512, 1024, 2048)]
    for candidate in candidates:
        candidate(1)
    return min(candidates, key=lambda run: min(seconds(run, 5)[0] for _ in range(3)))


def contenders(case, x, start) -> dict:
    """Who takes part: by name, run(steps)."""
    n, d, k, family, dtype = case
    found = {
        "auto": ours(x, start),
        "whitened": ours(x, start, "whitened"),
        "floor": floor(*case),
    }
    for name, peer in PEERS.items():
        # gmmx is of float32, and with 64 features holds more than a workstation has.
        left_out = name == "gmmx" and (dtype != "float32" or n * k * d * d > 1e9)
        if installed(name) and not left_out and (name == "scikit-learn" or jax.device_count() == 1):
            found[name] = peer(x, start, family)
    return found


def measure(case, rounds: int) -> dict:
    """One row of the table."""
    n, d, k, family, dtype = case
    with jax.enable_x64(dtype == "float64"):
        x = blobs(n, d, k, dtype)
        start = jaxgmm.initialize(jax.random.key(0), x, k, family=family)
        took = per_iteration(contenders(case, x, start), rounds)
    ms = lambda name: 1e3 * took.get(name, np.nan)
    row = {"devices": jax.device_count(), "n": n, "d": d, "k": k, "family": family, "dtype": dtype}
    row |= {f"{name} ms": round(ms(name), 3) for name in ("auto", "whitened", "floor", *PEERS)}
    row |= {f"× {name}": round(ms(name) / ms("auto"), 2) for name in PEERS}
    return row | {
        "whitened × scikit-learn": round(ms("scikit-learn") / ms("whitened"), 2),
        "of the floor": round(ms("auto") / ms("floor"), 2),
        "versions": "; ".join(
            f"{name} {importlib.metadata.version(name)}" for name in PEERS if name in took
        ),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--devices", type=int, help="CPU devices; by default 1, then all cores")
    given = parser.parse_args()
    if given.devices is None:
        if given.csv:
            given.csv.unlink(missing_ok=True)
        for devices in dict.fromkeys((1, os.cpu_count())):
            again = [sys.executable, *sys.argv, "--devices", str(devices)]
            subprocess.run(again, check=True)
        return
    jaxgmm.use_all_cores(given.devices)
    print(machine())
    for name in PEERS:
        if not installed(name):
            print(f"{name} is not installed, and left out")
    cases = CASES if given.devices == 1 else MANY
    for case in QUICK if given.quick else cases:
        row = measure(case, given.rounds)
        print(jaxgmm.Table([row]), flush=True)
        if given.csv:  # what was measured is kept, whatever comes after
            add_row(given.csv, row)


if __name__ == "__main__":
    main()
