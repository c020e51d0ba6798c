# %% [markdown]
# # Thousands of small fits in one compiled program
#
# There are two thousand small data sets, called cells, with 20 to 60 measurements each, from two
# kinds of events. Each gets its own mixture. Rows of weight 0 pad the cells to the same length, so
# that they form one array, and `jax.vmap` of `fit` fits all of them.
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
# Each cell has its own fraction of events of the second kind, and its own length.

# %%
rng = np.random.default_rng(0)
lengths = rng.integers(20, LONGEST + 1, CELLS)
fraction = rng.uniform(0.2, 0.8, CELLS)
second = rng.random((CELLS, LONGEST)) < fraction[:, None]
x = rng.normal(size=(CELLS, LONGEST, 2)) + np.where(second[..., None], [4.0, 2.0], 0.0)
x = x.astype(np.float32)
weight = (np.arange(LONGEST) < lengths[:, None]).astype(np.float32)

# %% [markdown]
# ## The fits
#
# Each cell has three starts, and the best of the three fits is the result. One program makes the
# starts, runs the fits and selects the best.


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
print(f"{3 * CELLS} fits: {first:.1f} s with compilation, {again:.1f} s without", end=" ")
print(f"({1e6 * again / (3 * CELLS):.0f} µs per fit)\n")

# %% [markdown]
# ## The results
#
# The component whose mean has the larger first coordinate is the second kind.

# %%
status = np.asarray(fits.status)
for member in Status:
    if (status == member).any():
        print(f"  {member.name:10} {np.sum(status == member):6d}")
right = jnp.argmax(fits.mixture.means[:, :, 0], axis=1)
weights = jax.vmap(lambda mixture: mixture.weights)(fits.mixture)
found = np.asarray(jnp.take_along_axis(weights, right[:, None], axis=1)[:, 0])
truth = np.sum(second * weight, axis=1) / weight.sum(axis=1)
print(f"\n  fraction of the second kind: median error {np.median(np.abs(found - truth)):.3f}")
