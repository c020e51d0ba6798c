"""What a user waits for: the first fit in a fresh process, the second, the estimator with many
starts, and a gradient.

    .venv/bin/python examples/benchmarks/first_fit.py

Iris, three components, from `initialize` to the end of `fit`; importing is apart. Fresh processes
start without and with JAX's persistent compilation cache (in a folder that is thrown away). The
gradient of the log-likelihood is compared with an EM step, and with `jax.grad` of the likelihood as
one would write it: logsumexp over n×k log-densities.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import load

ROUNDS = 11
SHAPE = 100_000, 16, 16  # n, d, k of the gradient


def fresh() -> dict[str, float]:
    """Seconds in this process, which has done nothing yet."""
    began = time.perf_counter()
    import jax

    import jaxgmm

    took = {"import": time.perf_counter() - began}
    x = load.iris()[0].astype(np.float32)

    def fit(seed):
        start = jaxgmm.initialize(jax.random.key(seed), x, 3)
        return int(jaxgmm.fit(x, start).steps)

    took["first fit"] = seconds(fit, 0)
    took["later fits"] = np.median([seconds(fit, seed) for seed in range(1, ROUNDS)])
    from jaxgmm.sklearn import GaussianMixture

    took["estimator"] = seconds(many_starts(GaussianMixture).fit, load.penguins()[0])
    return took


def many_starts(estimator):
    """An estimator's penguins: three components, 50 starts."""
    return estimator(3, n_init=50, random_state=0)


def seconds(function, *operands) -> float:
    """Of one call that waits for its result."""
    began = time.perf_counter()
    function(*operands)
    return time.perf_counter() - began


def in_fresh_process(cache: str | None) -> dict[str, float]:
    """`fresh` in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    if cache:
        least = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
        environment |= {"JAX_COMPILATION_CACHE_DIR": cache, least: "0"}
    command = [sys.executable, __file__, "--fresh"]
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def scikit_learn() -> tuple[float, float]:
    """Seconds of its fit of the same rows, once warm, and of its 50 starts."""
    from sklearn.mixture import GaussianMixture

    x = load.iris()[0].astype(np.float32)
    fit = lambda seed: GaussianMixture(3, random_state=seed).fit(x)
    one = float(np.median([seconds(fit, seed) for seed in range(ROUNDS)][1:]))
    return one, seconds(many_starts(GaussianMixture).fit, load.penguins()[0])


def gradients() -> dict[str, float]:
    """Median seconds of an EM step, our gradient and the naive one, in turn."""
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
    took = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (function, at) in contenders.items():
            took[name].append(seconds(lambda f=function, at=at: jax.block_until_ready(f(at, x))))
    return {name: float(np.median(values[1:])) for name, values in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="what the fresh processes are told")
    if parser.parse_args().fresh:
        print(json.dumps(fresh()))
        return
    print("Seconds: Iris, 3 components; the estimator's penguins, 3 components, n_init=50")
    with tempfile.TemporaryDirectory() as cache:
        in_fresh_process(cache)  # fills it
        for name, where in (("no cache", None), ("compilation cache", cache)):
            took = in_fresh_process(where)
            print(f"  {name}: " + ", ".join(f"{what} {took[what]:.3f}" for what in took))
    once, often = scikit_learn()
    print(f"  scikit-learn, once warm: later fits {once:.4f}, its own penguins {often:.3f}")
    took = gradients()
    print("One gradient, n = {}, d = {}, k = {}: milliseconds".format(*SHAPE))
    print("  " + ", ".join(f"{name} {1e3 * took[name]:.1f}" for name in took))
    ours = took["value and gradient"]
    print(f"  = {ours / took['EM step']:.2f} EM steps; naive / ours = ", end="")
    print(f"{took['naive gradient'] / ours:.1f}")


if __name__ == "__main__":
    main()
