"""Waiting times of a user: first and later fits, the estimator with many starts, a gradient.

    .venv/bin/python examples/benchmarks/first_fit.py
    .venv/bin/python examples/benchmarks/first_fit.py --families   # the first fit of each family

A fit of three components to the irises is measured from `initialize` to the end of `fit`, apart
from the import. It runs in fresh processes without and with JAX's persistent compilation cache (in
a temporary folder). The gradient of the log-likelihood is compared with an EM step, and with the
gradient of a direct implementation, `jax.grad` of logsumexp over n×k log-densities.

The families are compared by the CPU time of `fit` alone, which is almost all compilation. Each
number is a median of fresh processes, in which the families take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import load

ROUNDS = 11
SHAPE = 100_000, 16, 16  # n, d and k for the gradient
LOW_RANK = ("factors-1", "factors-2", "ppca-2", "tied-factors-2", "tied-ppca-2")
FRESH_FITS = 3  # of each family


def measure_fresh() -> dict[str, float]:
    """Return the seconds of import and fits in this process, which must be new."""
    began = time.perf_counter()
    import jax

    import jaxgmm

    times = {"import": time.perf_counter() - began}
    x = load.iris()[0].astype(np.float32)

    def fit(seed):
        start = jaxgmm.initialize(jax.random.key(seed), x, 3)
        return int(jaxgmm.fit(x, start).steps)

    times["first fit"] = seconds(fit, 0)
    times["later fits"] = np.median([seconds(fit, seed) for seed in range(1, ROUNDS)])
    from jaxgmm.sklearn import GaussianMixture

    times["estimator"] = seconds(many_starts(GaussianMixture).fit, load.penguins()[0])
    return times


def many_starts(estimator):
    """Return an estimator of three components with 50 starts, for the penguins."""
    return estimator(3, n_init=50, random_state=0)


def seconds(function: Callable, *operands) -> float:
    """Return the seconds of one call that waits for its result."""
    began = time.perf_counter()
    function(*operands)
    return time.perf_counter() - began


def measure_family(family: str) -> float:
    """Return the CPU seconds of the first fit of a family in this process, which must be new."""
    import jax

    import jaxgmm

    x = load.iris()[0].astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 3, family=family)
    began = time.process_time()
    jax.block_until_ready(jaxgmm.fit(x, start))
    return time.process_time() - began


def compare_families() -> None:
    """Print the CPU seconds of the first fit of each family, and how many more than full's."""
    import jaxgmm

    times: dict[str, list[float]] = {family: [] for family in (*jaxgmm.FAMILIES, *LOW_RANK)}
    for _ in range(FRESH_FITS):
        for family, taken in times.items():
            taken.append(in_fresh_process(None, "--family", family))
    seconds_of = {family: float(np.median(taken)) for family, taken in times.items()}
    print("CPU seconds of a first fit (iris, 3 components), and how many more than of full")
    for family, taken in seconds_of.items():
        print(f"  {family:14} {taken:5.2f} {taken - seconds_of['full']:+6.2f}")


def in_fresh_process(cache: str | None, *arguments: str) -> Any:
    """Run this script in a new process with these arguments, with a compilation cache or None."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    if cache:
        least = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
        environment |= {"JAX_COMPILATION_CACHE_DIR": cache, least: "0"}
    command = [sys.executable, __file__, *(arguments or ("--fresh",))]
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def scikit_learn() -> tuple[float, float]:
    """Return scikit-learn's seconds for later fits of the same rows, and for the 50 starts."""
    from sklearn.mixture import GaussianMixture

    x = load.iris()[0].astype(np.float32)
    fit = lambda seed: GaussianMixture(3, random_state=seed).fit(x)
    one = float(np.median([seconds(fit, seed) for seed in range(ROUNDS)][1:]))
    return one, seconds(many_starts(GaussianMixture).fit, load.penguins()[0])


def gradients() -> dict[str, float]:
    """Return the median seconds of an EM step, jaxgmm's gradient and the naive one."""
    import jax
    import jax.numpy as jnp
    from timing import blobs

    import jaxgmm

    n, d, k = SHAPE
    x = jnp.asarray(blobs(n, d, k, "float32"))
    mixture = jaxgmm.initialize(jax.random.key(0), x, k)

    def naive(parameters, x):
        logits, means, covariances = parameters
        density = jax.vmap(jax.scipy.stats.multivariate_normal.logpdf, (None, 0, 0), 1)
        joint = jax.nn.log_softmax(logits)[None] + density(x, means, covariances)
        return jnp.sum(jax.nn.logsumexp(joint, axis=1))

    plain = mixture.logits, mixture.means, mixture.covariances
    contenders = {
        "EM step": (jax.jit(lambda m, x: jaxgmm.m_step(m, jaxgmm.e_step(m, x))), mixture),
        "value and gradient": (jax.jit(jax.value_and_grad(jaxgmm.log_likelihood)), mixture),
        "naive gradient": (jax.jit(jax.value_and_grad(naive)), plain),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (function, at) in contenders.items():
            times[name].append(seconds(lambda f=function, at=at: jax.block_until_ready(f(at, x))))
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def main() -> None:
    """Measure everything and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fresh", action="store_true", help="for internal use, in the fresh processes"
    )
    parser.add_argument("--family", help="likewise")
    parser.add_argument("--families", action="store_true", help="compare first fits of families")
    options = parser.parse_args()
    if options.fresh or options.family:
        print(json.dumps(measure_family(options.family) if options.family else measure_fresh()))
        return
    if options.families:
        compare_families()
        return
    print("Seconds: iris, 3 components; the estimator on the penguins, 3 components, n_init=50")
    with tempfile.TemporaryDirectory() as cache:
        in_fresh_process(cache)  # fills the cache
        for name, where in (("no cache", None), ("compilation cache", cache)):
            took = in_fresh_process(where)
            print(f"  {name}: " + ", ".join(f"{what} {took[what]:.3f}" for what in took))
    one_start, many = scikit_learn()
    print(f"  scikit-learn: later fits {one_start:.4f}, estimator on the penguins {many:.3f}")
    took = gradients()
    print("One gradient, n = {}, d = {}, k = {}: milliseconds".format(*SHAPE))
    print("  " + ", ".join(f"{name} {1e3 * took[name]:.1f}" for name in took))
    ours = took["value and gradient"]
    print(f"  = {ours / took['EM step']:.2f} EM steps; naive / ours = ", end="")
    print(f"{took['naive gradient'] / ours:.1f}")


if __name__ == "__main__":
    main()
