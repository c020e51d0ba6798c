"""Many restarts in one batch, compared with scikit-learn's loop over `n_init`.

The time is that of one iteration of one restart, from fits of the same number of iterations, with
the time of the starts included.

    .venv/bin/python -m pip install -e '.[test]'
    .venv/bin/python examples/benchmarks/restarts.py

The script prints a row for each case, with medians of several runs of both, measured in turn in
this process, and their ratio. The compilation time of jaxgmm has its own column. The last line is a
complete choice of K, including compilation.
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from timing import add_row, blobs, make_parser

import jaxgmm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import load

warnings.simplefilter("ignore", ConvergenceWarning)
STEPS = 50
CASES = {  # n, d, K, restarts, restarts of scikit-learn
    "n=1000 d=8 K=8": (1000, 8, 8, 64, 4),
    "n=5000 d=8 K=10": (5000, 8, 10, 32, 2),
    "iris K=3": (150, 4, 3, 64, 16),
}


def seconds(function: Callable) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began


def warm_seconds(function: Callable) -> float:
    """Return the seconds of the second of two calls.

    The first call lasts until the threads of the previous contender have gone to sleep.
    """
    function()
    return seconds(function)


def main() -> None:
    """Measure all cases and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--starts", default="kmeans", help="init_params of scikit-learn")
    arguments = parser.parse_args()
    jaxgmm.use_all_cores(2)
    devices = jax.local_devices()

    print("Microseconds for one iteration of one restart\n")
    names = ("case", "scikit-learn", "one device", "×", "two devices", "× on two", "compiling s")
    print("".join(f"{name:>16}" for name in names))
    if arguments.csv:
        arguments.csv.unlink(missing_ok=True)
    for case, (n, d, k, restarts, few) in CASES.items():
        x = blobs(n, d, k, "float32")
        if case.startswith("iris"):
            x = load.iris()[0].astype(np.float32)

        def ours(devices, steps, x=x, k=k, restarts=restarts):
            return jaxgmm.sweep(
                jax.random.key(0), x, k, restarts=restarts, strategy="full", tolerance=0.0,
                max_steps=steps, devices=devices,
            ).fits["full"]  # fmt: skip

        def peer(x=x, k=k, few=few):
            GaussianMixture(
                k, n_init=few, tol=0, max_iter=STEPS, init_params=arguments.starts, random_state=0
            ).fit(x)

        groups = devices[:1], devices[:2]
        first = [seconds(lambda group=group: ours(group, STEPS)) for group in groups]
        times = []
        for _ in range(arguments.rounds):
            times.append(
                [warm_seconds(peer) / few / STEPS]
                + [warm_seconds(lambda g=g: ours(g, STEPS)) / restarts / STEPS for g in groups]
            )
        theirs, one, two = 1e6 * np.median(times, axis=0)
        compiling = first[0] - one * 1e-6 * restarts * STEPS
        numbers = (theirs, one, theirs / one, two, theirs / two, compiling)
        row = dict(zip(names, (case, *(f"{number:.1f}" for number in numbers)), strict=True))
        print("".join(f"{cell:>16}" for cell in row.values()))
        if arguments.csv:
            add_row(arguments.csv, row)

    wide = load.penguins()[0]
    x = wide.astype(np.float32)  # scikit-learn gets float64, because its fit fails in float32
    ks, times = range(1, 11), []
    for _ in range(arguments.rounds):
        jax.clear_caches()
        ours_seconds = seconds(
            lambda: jaxgmm.sweep(jax.random.key(0), x, ks, restarts=64).fits["full"]
        )
        theirs = sum(seconds(lambda k=k: GaussianMixture(k, n_init=8).fit(wide)) for k in ks)
        times.append((ours_seconds, 8 * theirs))
    ours_seconds, theirs = np.median(times, axis=0)
    print(f"\npenguins, K = 1 … 10, 64 restarts, with compilation: {ours_seconds:.1f} s;", end=" ")
    print(f"scikit-learn {theirs:.1f} s (8 restarts, times 8); ratio {theirs / ours_seconds:.1f}")


if __name__ == "__main__":
    main()
