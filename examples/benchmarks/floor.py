"""The time of the operations that every pass of the natural kernel needs, and of nothing else."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from timing import Run, n_features, seconds


def floor(n: int, d: int, k: int, family: str, dtype: str) -> Run:
    """Return a function that computes only the products and exponentials of passes.

    The rows are divided among the devices.
    """
    features = n_features(d, family)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    devices = jax.devices()
    start = jnp.full((features, k), 0.1 / features, dtype)

    def passes(block: int) -> Run:
        phi = jnp.asarray(np.random.default_rng(0).normal(size=(features, block)), dtype)

        @functools.partial(jax.pmap, in_axes=(None, 0), devices=devices)
        def run(count, parameters):
            def one(_, parameters):  # depends on the previous result, so that XLA cannot skip it
                sums = product(phi, jnp.exp(product(parameters.T, phi)).T)
                return parameters + 1e-12 * sums

            blocks = -(-n // (block * len(devices)))
            return jax.lax.fori_loop(0, count * blocks, one, parameters)

        def steps(count):
            jax.block_until_ready(run(count, jnp.stack([start] * len(devices))))
            return count

        return steps

    candidates = [passes(block) for block in (256, 512, 1024, 2048)]
    for candidate in candidates:
        candidate(1)
    return min(candidates, key=lambda run: min(seconds(run, 5)[0] for _ in range(3)))
