# %% [markdown]
# # Thousands of small data sets, each with a mixture of its own, in one compiled program
#
# Two thousand "cells" of 20 to 60 measurements each, from two kinds of events. Data sets of
# different lengths are padded with rows of weight 0, so that they stack; `jax.vmap` of `fit` does
# the rest.
#
#     .venv/bin/python examples/thousands_of_small_fits.py

# %%
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm
from jaxgmm import Status

CELLS, LONGEST = 2000, 60

# %% [markdown]
# ## The cells
#
# Each has its own share of the second kind of event, and its own length.

# %%
rng = np.random.default_rng(0)
lengths = rng.integers(20, LONGEST + 1, CELLS)
share = rng.uniform(0.2, 0.8, CELLS)
second = rng.random((CELLS, LONGEST)) < share[:, None]
x = rng.normal(size=(CELLS, LONGEST, 2)) + np.where(second[..., None], [4.0, 2.0], 0.0)
x = x.astype(np.float32)
weight = (np.arange(LONGEST) < lengths[:, None]).astype(np.float32)

# %% [markdown]
# ## The fits
#
# Three starts for each cell, of which the best end is kept: starts, fits and choice are one
# program.


# %%
@jax.jit
@jax.vmap
def fit_each(key, x, weight):
    start = lambda key: jaxgmm.initialize(key, x, 2, weight=weight)
    fit = lambda key: jaxgmm.fit(x, start(key), weight=weight, max_steps=200, tolerance=1e-6)
    return jaxgmm.best(jax.vmap(fit)(jax.random.split(key, 3)))


keys = jax.random.split(jax.random.key(0), CELLS)
began = time.perf_counter()
fits = jax.block_until_ready(fit_each(keys, x, weight))
first = time.perf_counter() - began
began = time.perf_counter()
fits = jax.block_until_ready(fit_each(keys, x, weight))
again = time.perf_counter() - began
print(f"{3 * CELLS} fits: {first:.1f} s with compiling, {again:.1f} s again", end=" ")
print(f"({1e6 * again / (3 * CELLS):.0f} µs a fit)\n")

# %% [markdown]
# ## How they ended, and what they found
#
# The component whose mean lies further to the right is the second kind.

# %%
status = np.asarray(fits.status)
for member in Status:
    if (status == member).any():
        print(f"  {member.name:10} {np.sum(status == member):6d}")
right = jnp.argmax(fits.mixture.means[:, :, 0], axis=1)
weights = jax.vmap(lambda mixture: mixture.weights)(fits.mixture)
found = np.asarray(jnp.take_along_axis(weights, right[:, None], axis=1)[:, 0])
truth = np.sum(second * weight, axis=1) / weight.sum(axis=1)
print(f"\n  share of the second kind: median error {np.median(np.abs(found - truth)):.3f}")
