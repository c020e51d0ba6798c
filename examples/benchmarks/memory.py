"""Memory that a start and a fit need in addition to the rows, and the time of an iteration.

    .venv/bin/python examples/benchmarks/memory.py --csv examples/benchmarks/results/memory.csv

Each line is measured in its own process (Linux). The process loads the rows, makes a start and a
fit of 5000 other rows with the same d and k (so that JAX is loaded and its compiler has run), and
reads its resident memory. Then it makes a start, a fit of 3 steps and a likelihood of all rows.
"above" is the peak of resident memory after that point (VmHWM) minus the memory at that point. The
pages of a memory map count as resident as long as the system caches the file; they have their own
column and are not included in "above". The times are those of one CPU device without compilation. A
stream reads and copies a block while the previous block is computed.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from timing import add_row, jaxgmm_run, per_iteration

import jaxgmm

N, D, K, ROUNDS = 10_000_000, 8, 16, 3
KINDS = {
    "JAX array": lambda path: jnp.asarray(np.load(path)),
    "NumPy array": lambda path: np.load(path),
    "stream of a memory map": lambda path: jaxgmm.Stream(np.load(path, mmap_mode="r")),
}


def resident(field: str) -> float:
    """Return the MB in a field of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def write_rows(path: Path, n: int) -> None:
    """Write n random rows to a .npy file."""
    random, part = np.random.default_rng(0), 100_000
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, D))
    for first in range(0, n, part):
        count = min(part, n - first)
        rows[first : first + count] = random.normal(size=(count, D))
        rows[first : first + count] += 3 * random.integers(0, 4, (count, 1))


def fit(x) -> jaxgmm.Mixture:
    """Make a start, a fit of 3 steps and a likelihood; return the start."""
    start = jaxgmm.initialize(jax.random.key(0), x, K)
    found = jaxgmm.fit(x, start, max_steps=3, tolerance=0.0)
    jax.block_until_ready(jaxgmm.log_likelihood(found.mixture, x))
    return start


def measure(kind: str, path: Path) -> None:
    """Print one line of the table, for rows of this kind."""
    x = KINDS[kind](path)
    fit(np.random.default_rng(1).normal(size=(5000, D)).astype(np.float32))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, mapped = resident("VmRSS"), resident("RssFile")
    start = fit(x)
    mapped, peak = resident("RssFile") - mapped, resident("VmHWM")
    took = per_iteration({kind: jaxgmm_run(x, start)}, ROUNDS)[kind]
    print(f"{before:.0f},{peak - before - mapped:.0f},{mapped:.0f},{1e3 * took:.0f}")


def main() -> None:
    """Measure all kinds of rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--measure", choices=KINDS)
    parser.add_argument("--rows", type=Path)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.rows)
        return
    table = [("rows", "loaded MB", "above MB", "file's pages MB", "ms of an iteration")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        write_rows(path, arguments.n)
        for kind in KINDS:
            command = [sys.executable, __file__, "--measure", kind, "--rows", str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            table.append((kind, *done.stdout.split()[-1].split(",")))
    size = arguments.n * D * 4 / 2**20
    print(f"n = {arguments.n}, d = {D}, k = {K}, float32: {size:.0f} MB of rows")
    for name, *numbers in table:
        print(f"{name:24}" + "".join(f"{number:>20}" for number in numbers))
    if arguments.csv:
        arguments.csv.unlink(missing_ok=True)
        for row in table[1:]:
            add_row(arguments.csv, dict(zip(table[0], row, strict=True)))


if __name__ == "__main__":
    main()
