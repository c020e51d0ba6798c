"""What standard errors cost, and how often their intervals cover the truth.

    .venv/bin/python examples/benchmarks/inference.py [--coverage]

Times are CPU times of this process after compilation. An E-step, the errors and a certificate are
measured in turn, and a ratio is the median of the ratios of such rounds. Components are far apart,
touch, or overlap (a separation of 4, 2 and 1). The last column compares a certificate with its
Hessian from products with single directions, of three passes each. With `--coverage` the script
fits 300 data sets of 300 rows from a mixture of two components, and counts how often 95 % intervals
contain the true parameters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm
from jaxgmm.data.rows import Rows
from jaxgmm.objective.expected_derivatives import offsets_of
from jaxgmm.objective.information import gradient_along

SIZES = ((10_000, 4, 4), (10_000, 4, 10), (20_000, 8, 8))  # n, d, K
SEPARATIONS = (4.0, 2.0, 1.0)
ROUNDS = 11


def in_turn(*functions: Callable[[], object]) -> np.ndarray:
    """Return the CPU times (rounds, functions) of calls, in milliseconds."""
    times = np.zeros((ROUNDS + 1, len(functions)))  # the first round compiles
    for row in times:
        for i, function in enumerate(functions):
            began = time.process_time()
            jax.block_until_ready(function())
            row[i] = 1e3 * (time.process_time() - began)
    return times[1:]


def costs(dtype: str) -> None:
    """Print the cost of errors and certificates in E-steps."""
    for n, d, k in SIZES:
        for separation in SEPARATIONS:
            simulated = jaxgmm.simulate(jax.random.key(0), n, d, k, separation=separation)
            x = simulated.x.astype(dtype)
            found = jaxgmm.fit(x, simulated.mixture, algorithm="auto", max_steps=2000)
            mixture = found.mixture
            times = in_turn(
                lambda x=x, m=mixture: jaxgmm.e_step(m, x),
                lambda x=x, m=mixture: jaxgmm.uncertainty(m, x).covariance,
                lambda x=x, m=mixture: jaxgmm.certificate(m, x).rate,
                lambda x=x, m=mixture: product(x, m),
            )
            p, middle = jaxgmm.n_parameters(mixture), np.median(times, axis=0)
            ratios = np.median(times[:, 1:] / times[:, [0, 0, 2]], axis=0)
            print(
                f"{dtype} {n:6} {d:2} {k:3} {p:4} {separation:5} {middle[0]:7.2f} {middle[1]:7.1f} "
                f"{ratios[0]:4.0f} {middle[2]:7.1f} {ratios[1]:4.0f} {p * ratios[2]:6.0f}"
            )


@jax.jit
def product(x: jax.Array, mixture: jaxgmm.Mixture) -> jax.Array:
    """Return the Hessian's product with one direction."""
    zero = offsets_of(mixture)[0]
    return gradient_along(Rows.of(x, None), mixture, None, jnp.ones_like(zero))[1]


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
    if "--coverage" in sys.argv:
        with jax.enable_x64(True):
            coverage()
    else:
        print("dtype       n  d   K    p apart  E-step  errors    × certif.    × products")
        costs("float32")
        with jax.enable_x64(True):
            costs("float64")
