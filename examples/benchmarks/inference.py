"""What standard errors cost, and how often their intervals cover the truth.

    .venv/bin/python examples/benchmarks/inference.py [--coverage]

Times are CPU times of this process, the median of several calls after compilation, in float64. With
`--coverage` the script fits 300 data sets of 300 rows from a mixture of two components, and counts
how often 95 % intervals contain the true parameters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)


def milliseconds(function: Callable[[], object], rounds: int = 5) -> float:
    """Return the median CPU time of a call in milliseconds."""
    jax.block_until_ready(function())  # compiles
    times = []
    for _ in range(rounds):
        began = time.process_time()
        jax.block_until_ready(function())
        times.append(time.process_time() - began)
    return 1e3 * float(np.median(times))


def costs() -> None:
    """Print the cost of errors and certificates in E-steps."""
    print(
        f"{'n':>7} {'d':>3} {'K':>3} {'p':>5} {'E-step':>8} {'errors':>8} {'certificate':>12}  ms"
    )
    for n, d, k in ((10_000, 4, 5), (20_000, 8, 8)):
        x = jaxgmm.simulate(jax.random.key(0), n, d, k, separation=2.0).x.astype(float)
        mixture = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, k), max_steps=200).mixture
        e_step = milliseconds(lambda x=x, m=mixture: jaxgmm.e_step(m, x))
        errors = milliseconds(lambda x=x, m=mixture: jaxgmm.uncertainty(m, x).covariance)
        point = milliseconds(lambda x=x, m=mixture: jaxgmm.certificate(m, x).rate)
        p = jaxgmm.n_parameters(mixture)
        print(f"{n:7} {d:3} {k:3} {p:5} {e_step:8.1f} {errors:8.1f} {point:12.1f}")


WEIGHTS, MEANS = [0.4, 0.6], [[0.0, 0.0], [2.5, 1.0]]
COVARIANCES = [[[1.0, 0.3], [0.3, 1.0]], [[0.5, 0.0], [0.0, 1.5]]]


def parameters(mixture: jaxgmm.Mixture) -> jax.Array:
    """Return a weight, the means and the variances, as (9,)."""
    variances = jnp.diagonal(mixture.covariances, axis1=1, axis2=2)
    return jnp.concatenate([mixture.weights[:1], mixture.means.ravel(), variances.ravel()])


SCALES = ["logit"] + ["plain"] * 4 + ["log"] * 4


def coverage(data_sets: int = 300, rows: int = 300) -> None:
    """Print how often 95 % intervals cover the truth."""
    truth = jaxgmm.Mixture.from_parameters(*map(np.array, (WEIGHTS, MEANS, COVARIANCES)))
    goal = parameters(truth)
    keys = jax.random.split(jax.random.key(0), data_sets)

    @jax.jit
    def wald(key: jax.Array) -> jax.Array:
        x = jaxgmm.sample(key, truth, rows)[0]
        found = jaxgmm.fit(x, truth).mixture
        covers = []
        for method in ("observed", "sandwich"):
            errors = jaxgmm.uncertainty(found, x, method=method)
            ends = {scale: errors.interval(parameters, scale=scale) for scale in set(SCALES)}
            pick = [(ends[s][0][i], ends[s][1][i]) for i, s in enumerate(SCALES)]
            covers.append(
                jnp.array([(lo < t) & (t < hi) for (lo, hi), t in zip(pick, goal, strict=True)])
            )
        return jnp.stack(covers)

    covered = np.stack([np.asarray(wald(key)) for key in keys]).mean(axis=0)
    resampled = []
    for key in keys:
        x = jaxgmm.sample(key, truth, rows)[0]
        found = jaxgmm.fit(x, truth).mixture
        low, high = jaxgmm.bootstrap(key, x, found, replicates=399).interval(parameters)
        resampled.append(np.asarray((low < goal) & (goal < high)))
    rates = {"observed": covered[0], "sandwich": covered[1], "BCa": np.mean(resampled, axis=0)}
    print(f"{'':10} weight  means  variances")
    for name, rate in rates.items():
        parts = rate[0], rate[1:5].mean(), rate[5:].mean()
        print(f"{name:10} " + "  ".join(f"{part:6.1%}" for part in parts))


if __name__ == "__main__":
    coverage() if "--coverage" in sys.argv else costs()
