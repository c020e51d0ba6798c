"""Time of one EM iteration, compared with other installed libraries and with a floor.

    .venv/bin/python -m pip install -e '.[test]' gmmx
    .venv/bin/python examples/benchmarks/passes.py --csv examples/benchmarks/results/passes.csv

All libraries fit the same rows from the same start, in turn, in the same process. The floor is the
time of the operations that every pass needs: the natural kernel's two matrix products and its
exponentials, with one core for each device and the fastest block size. Times are medians over
rounds, and a ratio is a library's time divided by jaxgmm's. One process measures with one CPU
device, and another with one device for each core.
"""

import importlib.metadata
import os
import subprocess
import sys

import jax
import numpy as np
from floor import floor
from peers import PEERS, installed
from timing import (
    CASES,
    Run,
    add_row,
    blobs,
    jaxgmm_run,
    machine,
    make_parser,
    per_iteration,
)

import jaxgmm

SEVERAL_DEVICES = CASES[:1]  # the cases that are measured with several devices
QUICK = [(4_000, 4, 4, "full", "float32")]


def contenders(case: tuple, x: np.ndarray, start: jaxgmm.Mixture) -> dict[str, Run]:
    """Return the contenders of a case by name."""
    n, d, k, family, dtype = case
    runs = {
        "auto": jaxgmm_run(x, start),
        "whitened": jaxgmm_run(x, start, "whitened"),
        "floor": floor(*case),
    }
    for name, peer in PEERS.items():
        # gmmx computes in float32, and needs more memory than a workstation has for 64 features.
        left_out = name == "gmmx" and (dtype != "float32" or n * k * d * d > 1e9)
        if installed(name) and not left_out and (name == "scikit-learn" or jax.device_count() == 1):
            runs[name] = peer(x, start, family)
    return runs


def measure(case: tuple, rounds: int) -> dict:
    """Return one row of the table."""
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
    """Measure all cases, in one process for each number of devices."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="measure only one small case")
    parser.add_argument(
        "--devices", type=int, help="number of CPU devices (default: 1, then all cores)"
    )
    arguments = parser.parse_args()
    if arguments.devices is None:
        if arguments.csv:
            arguments.csv.unlink(missing_ok=True)
        for devices in dict.fromkeys((1, os.cpu_count())):
            again = [sys.executable, *sys.argv, "--devices", str(devices)]
            subprocess.run(again, check=True)
        return
    jaxgmm.use_all_cores(arguments.devices)
    print(machine())
    for name in PEERS:
        if not installed(name):
            print(f"{name} is not installed and is left out")
    cases = CASES if arguments.devices == 1 else SEVERAL_DEVICES
    for case in QUICK if arguments.quick else cases:
        row = measure(case, arguments.rounds)
        print(jaxgmm.Table([row]), flush=True)
        if arguments.csv:  # after each case, so that a later failure loses nothing
            add_row(arguments.csv, row)


if __name__ == "__main__":
    main()
