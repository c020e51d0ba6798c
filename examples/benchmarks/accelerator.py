"""What one pass achieves on an accelerator, beside what the machine itself can do.

    .venv/bin/python examples/benchmarks/accelerator.py

Floating-point operations and bytes that a pass cannot do without (the natural kernel's two matrix
products; the rows read once), for each second of an EM iteration, as shares of ceilings measured in
the same run: a large matrix product of the same precision, and a large copy. Where JAX finds no
accelerator it says so and measures the CPU, on fewer rows.
"""

import functools

import jax
import jax.numpy as jnp
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

MORE_ROWS = 20  # than the CPU benchmark's cases have
LARGE = [(n * MORE_ROWS, *case) for n, *case in CASES] + [(10_000_000, 32, 64, "full", "float32")]
PRODUCT, COPY = 8192, 1 << 28  # a side of the matrices; numbers copied
SHRINK = {"cpu": 40}


def often(function, *operands) -> float:
    """Seconds of one call of a compiled function, the least of several."""
    run = jax.jit(function)
    jax.block_until_ready(run(*operands))
    return min(seconds(lambda _: jax.block_until_ready(run(*operands)), 1)[0] for _ in range(5))


@functools.cache
def ceilings(dtype: str, shrink: int) -> tuple[float, float]:
    """Operations and bytes in a second: of a matrix product, and of a copy (read and written)."""
    side = int(PRODUCT / shrink ** (1 / 3))
    a = jnp.full((side, side), 0.5, dtype)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    flops = 2 * side**3 / often(product, a, a)
    values = jnp.zeros(COPY // shrink, dtype)
    return flops, 2 * values.nbytes / often(lambda values: values + 1, values)


def measure(case, rounds: int, shrink: int) -> dict:
    """One row of the table."""
    n, d, k, family, dtype = case
    n //= shrink
    features = n_features(d, family)
    with jax.enable_x64(dtype == "float64"):
        flops, moved = ceilings(dtype, shrink)
        x = jnp.asarray(blobs(n, d, k, dtype))
        start = jaxgmm.initialize(jax.random.key(0), x, k, family=family)
        fits = {kernel: ours(x, start, kernel) for kernel in ("auto", "whitened")}
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
    given = arguments(__doc__).parse_args()
    print(machine())
    platform = jax.default_backend()
    if platform == "cpu":
        print("This is a CPU: no accelerator was found.")
    for case in LARGE:
        row = measure(case, given.rounds, SHRINK.get(platform, 1))
        print(jaxgmm.Table([row]), flush=True)
        if given.csv:
            add_row(given.csv, row)


if __name__ == "__main__":
    main()
