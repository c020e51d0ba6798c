"""Shared parts of the benchmarks: rows, cases, and the time of one iteration."""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgmm

Run = Callable[[int], int]  # fits at most the given number of iterations, returns how many it made
Clock = Callable[[], Any]  # seconds since some moment, or an array of them by several clocks

# Threads of BLAS and OpenMP wait actively for a while after their last use, and would slow down
# what is measured next.
REST = 0.2

CASES = [  # n, d, k, family, dtype
    (100_000, 16, 16, "full", "float32"),
    (100_000, 4, 8, "full", "float32"),
    (20_000, 64, 16, "full", "float32"),
    (100_000, 16, 16, "diagonal", "float32"),
    (100_000, 16, 16, "full", "float64"),
]
SHORT, LONG, LONGEST = 2, 8, 400  # iterations
WORTH_TIMING = 0.2  # seconds that the longer fit should take
TOO_LONG = 30.0  # seconds: a contender that takes longer for the shorter fit is left out


def make_parser(documentation: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all benchmarks share."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="file for the table")
    return parser


def machine() -> str:
    """Return a description of this machine."""
    devices = jax.devices()
    return (
        f"JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{len(devices)} {devices[0].platform} device(s): {devices[0].device_kind}"
    )


def blobs(n: int, d: int, k: int, dtype: str) -> np.ndarray:
    """Return rows of k spherical clusters that overlap, so that EM needs many iterations."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(k, d))
    return (centers[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def n_features(d: int, family: str) -> int:
    """Return the number of features of a row in the natural kernel."""
    return {"full": (d + 1) * (d + 2) // 2, "diagonal": 2 * d + 1, "spherical": d + 2}[family]


def jaxgmm_run(x: jax.typing.ArrayLike, start: jaxgmm.Mixture, kernel: str = "auto") -> Run:
    """Return a function that fits exactly the given number of iterations by jaxgmm."""

    def run(steps: int) -> int:
        fit = jaxgmm.fit(x, start, max_steps=steps, tolerance=0.0, kernel=kernel)
        return int(jax.block_until_ready(fit).steps)

    return run


def wall_and_cpu() -> np.ndarray:
    """Return the seconds on the wall and those of all cores together, as a `Clock`."""
    return np.array([time.perf_counter(), time.process_time()])


def seconds(run: Run, steps: int, clock: Clock = time.perf_counter) -> tuple[Any, int]:
    """Return the seconds of one fit, and the number of iterations that it made."""
    began = clock()
    iterations = run(steps)
    return clock() - began, iterations


def per_iteration(
    contenders: dict[str, Run], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Return the median seconds of one iteration of each contender, by each clock.

    The contenders are measured in turn. The time of an iteration is the difference between a longer
    and a shorter fit, in which starts, checks and compilation cancel. With `time.process_time` as
    the clock, it is the time of all cores together, to which other programs add little.
    """
    longer = {}
    for name, run in contenders.items():
        run(SHORT)  # compiles
        if seconds(run, SHORT)[0] < TOO_LONG:
            run(LONG)
            rough = max(np.max(seconds(run, LONG, clock)[0]) / LONG, 1e-6)
            longer[name] = int(np.clip(WORTH_TIMING / rough, LONG, LONGEST))
            run(longer[name])
    times: dict[str, list[Any]] = {name: [] for name in longer}
    for _ in range(rounds):
        for name, steps in longer.items():
            run = contenders[name]
            time.sleep(REST)
            (long, most), (short, least) = (seconds(run, count, clock) for count in (steps, SHORT))
            times[name].append((long - short) / max(most - least, 1))
    return {name: np.median(values, axis=0) for name, values in times.items()}


def add_row(path: Path, row: dict) -> None:
    """Append a row and a description of this machine to a CSV file, with a header if it is new."""
    row = row | {"measured on": machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
