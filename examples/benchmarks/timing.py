"""What the benchmarks share: rows, fits of so many iterations, and seconds for one of them."""

import argparse
import csv
import os
import platform
import time
from pathlib import Path

import jax
import numpy as np

import jaxgmm

CASES = [  # n, d, k, family, dtype
    (100_000, 16, 16, "full", "float32"),
    (100_000, 4, 8, "full", "float32"),
    (20_000, 64, 16, "full", "float32"),
    (100_000, 16, 16, "diagonal", "float32"),
    (100_000, 16, 16, "full", "float64"),
]
SHORT, LONG, LONGEST = 2, 8, 400  # iterations
WORTH_TIMING = 0.2  # seconds that the longer fit should take
TOO_LONG = 30.0  # seconds: whoever takes longer for the shorter fit is left out


def arguments(documentation: str) -> argparse.ArgumentParser:
    """What every benchmark takes."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="where to write the table")
    return parser


def machine() -> str:
    """What is measured on."""
    devices = jax.devices()
    return (
        f"JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{len(devices)} {devices[0].platform} device(s): {devices[0].device_kind}"
    )


def blobs(n: int, d: int, k: int, dtype: str) -> np.ndarray:
    """k round clusters as wide as their centers are apart, so that EM has work to do."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(k, d))
    return (centers[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def n_features(d: int, family: str) -> int:
    """Natural features of a row."""
    return (d + 1) * (d + 2) // 2 if family == "full" else 2 * d + 1


def ours(x, start, kernel="auto"):
    """run(steps): a fit of exactly so many iterations, which returns their number."""

    def run(steps):
        fit = jaxgmm.fit(x, start, max_steps=steps, tolerance=0.0, kernel=kernel)
        return int(jax.block_until_ready(fit).steps)

    return run


def seconds(run, steps: int) -> tuple[float, int]:
    """Of one fit of so many iterations, and how many it made."""
    began = time.perf_counter()
    made = run(steps)
    return time.perf_counter() - began, made


def per_iteration(contenders: dict, rounds: int) -> dict[str, float]:
    """Median seconds of an iteration of each, taken in turn: the difference between a longer and a
    shorter fit, so that starts, checks and compiling drop out."""
    longer = {}
    for name, run in contenders.items():
        run(SHORT)  # compiles
        if seconds(run, SHORT)[0] < TOO_LONG:
            run(LONG)
            rough = max(seconds(run, LONG)[0] / LONG, 1e-6)
            longer[name] = int(np.clip(WORTH_TIMING / rough, LONG, LONGEST))
            run(longer[name])
    took = {name: [] for name in longer}
    for _ in range(rounds):
        for name, steps in longer.items():
            (long, most), (short, least) = (seconds(contenders[name], s) for s in (steps, SHORT))
            took[name].append((long - short) / max(most - least, 1))
    return {name: float(np.median(values)) for name, values in took.items()}


def add_row(path: Path, row: dict) -> None:
    """Adds a row, and what it was measured on, to a table of comma-separated values, with its
    header if there is none."""
    row = row | {"measured on": machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
