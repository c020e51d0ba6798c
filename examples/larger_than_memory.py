# %% [markdown]
# # A fit of rows on disk that is interrupted and resumed
#
# The file of this example is small, but a file of any size needs no more memory. Every pass reads
# it block by block, and at most three chunks of 4 MB are in memory at a time. Parquet files are as
# easy to read,
#
#     jaxgmm.Stream(lambda: pyarrow.dataset.dataset("rows/").to_batches())
#
# and so is any other function that returns blocks (n_i, d) each time it is called.
#
#     .venv/bin/python examples/larger_than_memory.py

# %%
import pathlib
import tempfile
import time

import jax
import numpy as np

import jaxgmm

jaxgmm.use_all_cores()  # one CPU device per core; must come before any other use of JAX
N, D, K = 300_000, 4, 3
CENTERS = np.array([[0, 0, 0, 0], [4, 0, 0, 2], [0, 5, 0, -2]], np.float32)

# %% [markdown]
# ## Rows on disk

# %%
folder = tempfile.TemporaryDirectory()
path, checkpoint = pathlib.Path(folder.name, "rows.npy"), pathlib.Path(folder.name, "fit.npz")
rows = np.lib.format.open_memmap(path, "w+", np.float32, (N, D))
random = np.random.default_rng(0)
for first in range(0, N, 50_000):
    component = random.integers(0, K, 50_000)
    rows[first : first + 50_000] = random.normal(size=(50_000, D)) + CENTERS[component]
del rows
print(f"{path.name}: {N} rows, {path.stat().st_size / 2**20:.1f} MB on disk")

# %% [markdown]
# ## A fit that is interrupted
#
# The start is made from a weighted sample of 65536 rows. The fit writes a checkpoint every five
# steps, and then a read fails.

# %%
stream = jaxgmm.Stream(np.load(path, mmap_mode="r"))
start = jaxgmm.initialize(jax.random.key(0), stream, K)
settings = dict(tolerance=1e-11, kernel="whitened")
checkpoints = dict(checkpoint=checkpoint, checkpoint_every=5)
reads = []


def read_until_failure():
    """Return the blocks of the stream, but fail at the fourteenth call."""
    reads.append(1)
    if len(reads) == 14:
        raise OSError("the disk is gone")
    return stream.blocks()


try:
    jaxgmm.fit(jaxgmm.Stream(read_until_failure), start, **settings, **checkpoints)
except OSError as error:
    print(f"interrupted: {error}; {checkpoint.name} is {checkpoint.stat().st_size} bytes")

# %% [markdown]
# ## The same call resumes from the checkpoint

# %%
began, steps = time.perf_counter(), []
record = lambda step, objective, em_gain: steps.append(int(step))
fit = jaxgmm.fit(stream, start, callback=record, **settings, **checkpoints)
jax.effects_barrier()
print(
    f"resumed at step {steps[0]}: {jaxgmm.Status(int(fit.status)).name} after "
    f"{int(fit.steps)} steps, {time.perf_counter() - began:.1f} s; "
    f"log-likelihood {float(fit.log_likelihood):.0f}"
)

# %% [markdown]
# ## An uninterrupted fit from memory ends at the same mixture

# %%
whole = jaxgmm.fit(np.load(path), start, **settings)
print(
    f"uninterrupted, from memory: {int(whole.steps)} steps, "
    f"log-likelihood {float(whole.log_likelihood):.0f}"
)
assert abs(fit.log_likelihood / whole.log_likelihood - 1) < 1e-6
print("weights", np.round(np.sort(np.asarray(fit.mixture.weights)), 3))
folder.cleanup()
