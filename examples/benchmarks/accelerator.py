"""Throughput of one pass on an accelerator, compared with the throughput of the machine.

    .venv/bin/python examples/benchmarks/accelerator.py

Every pass needs the floating-point operations of the natural kernel's two matrix products, and
reads the rows at least once. The script divides these operations and bytes by the time of an EM
iteration. It compares the results with ceilings measured in the same run: a large matrix product of
the same precision, and a large copy. If JAX finds no accelerator, the script says so and measures
the CPU on fewer rows.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from timing import (
    CASES,
    add_row,
    blobs,
    jaxgmm_run,
    machine,
    make_parser,
    n_features,
    per_iteration,
    seconds,
)

import jaxgmm

MORE_ROWS = 20  # factor by which the cases have more rows than those of the CPU benchmark
LARGE = [
    # The shape of Flash-GMM (arXiv 2606.10896), which reports 30 iterations on one A100.
    (1_000_000, 128, 1024, "spherical", "float32"),
    (800_000, 64, 256, "diagonal", "float32"),
    (800_000, 64, 256, "spherical", "float32"),
    (800_000, 32, 128, "full", "float32"),
    (200_000, 256, 16, "full", "float32"),
    *((n * MORE_ROWS, *case) for n, *case in CASES),
    (10_000_000, 32, 64, "full", "float32"),
]
QUICK = [(40_000, 8, 8, "full", "float32"), (40_000, 8, 8, "spherical", "float32")]
PRODUCT, COPY = 8192, 1 << 28  # rows and columns of the matrices; numbers copied
SHRINK = {"cpu": 40}  # factor by which everything is smaller on a CPU


def shortest_seconds(function: Callable, *operands: jax.Array) -> float:
    """Return the seconds of one call of a compiled function, the shortest of several."""
    run = jax.jit(function)
    jax.block_until_ready(run(*operands))
    return min(seconds(lambda _: jax.block_until_ready(run(*operands)), 1)[0] for _ in range(5))


@functools.cache
def ceilings(dtype: str, shrink: int) -> tuple[float, float]:
    """Return operations per second of a matrix product, and bytes per second of a copy.

    The bytes count both the reads and the writes of the copy.
    """
    side = int(PRODUCT / shrink ** (1 / 3))
    a = jnp.full((side, side), 0.5, dtype)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    flops = 2 * side**3 / shortest_seconds(product, a, a)
    values = jnp.zeros(COPY // shrink, dtype)
    return flops, 2 * values.nbytes / shortest_seconds(lambda values: values + 1, values)


def measure(case: tuple, rounds: int, shrink: int) -> dict:
    """Return one row of the table."""
    n, d, k, family, dtype = case
    n //= shrink
    features = n_features(d, family)
    with jax.enable_x64(dtype == "float64"):
        flops, moved = ceilings(dtype, shrink)
        x = jnp.asarray(blobs(n, d, k, dtype))
        start = jaxgmm.initialize(jax.random.key(0), x, k, family=family)
        fits = {kernel: jaxgmm_run(x, start, kernel) for kernel in ("auto", "whitened")}
        took = per_iteration(fits, rounds)
    achieved, read = 4 * n * features * k / took["auto"], x.nbytes / took["auto"]
    return {
        "n": n, "d": d, "k": k, "family": family, "dtype": dtype,
        "auto ms": 1e3 * took["auto"], "whitened ms": 1e3 * took["whitened"],
        "GFLOP/s": achieved / 1e9, "of a product's": achieved / flops,
        "GB/s": read / 1e9, "of a copy's": read / moved,
        "product GFLOP/s": flops / 1e9, "copy GB/s": moved / 1e9,
    }  # fmt: skip


def main() -> None:
    """Measure all cases and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="measure only two small cases")
    arguments = parser.parse_args()
    print(machine())
    platform = jax.default_backend()
    if platform == "cpu":
        print("This is a CPU: no accelerator was found.")
    for case in QUICK if arguments.quick else LARGE:
        row = measure(case, arguments.rounds, SHRINK.get(platform, 1))
        print(jaxgmm.Table([row]), flush=True)
        if arguments.csv:
            add_row(arguments.csv, row)


if __name__ == "__main__":
    main()
