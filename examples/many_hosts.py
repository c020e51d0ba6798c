# %% [markdown]
# # One fit on many hosts
#
# The processes communicate through JAX's distributed runtime, and each of them reads only its own
# rows. On a cluster, start this script once for each process; JAX finds the other processes:
#
#     srun python examples/many_hosts.py --join          (Slurm; likewise Kubernetes, Cloud TPU)
#
# Without arguments, or as a notebook, the script starts two processes on this machine.

# %%
import socket
import subprocess
import sys
import time

import jax
import load
import numpy as np

import jaxgmm

N, D, K = 100_003, 4, 3
CENTERS = np.array([[0, 0, 0, 0], [4, 0, 0, 2], [0, 5, 0, -2]], np.float32)

# %% [markdown]
# ## The rows
#
# A function returns the rows that a process needs, for example from a file that every host can
# open. Here the rows are random numbers whose seed is the number of their block.


# %%
def read(index):
    """Return the rows of `index`, a tuple of slices."""
    first, last, _ = index[0].indices(N)
    blocks = range(first // 1000, -(-last // 1000))
    rows = np.concatenate([block_of_rows(block) for block in blocks])
    return rows[first - 1000 * (first // 1000) :][: last - first]


def block_of_rows(number: int) -> np.ndarray:
    """Return block `number` of 1000 rows."""
    random = np.random.default_rng(number)
    return random.normal(size=(1000, D)) + CENTERS[random.integers(0, K, 1000)]


# %% [markdown]
# ## The program of every process
#
# All processes make the same calls. Each device stores its own rows, and a pass ends in one
# all-reduce.


# %%
def main() -> None:
    """Fit the mixture and print the result of this process."""
    x = jaxgmm.Shards(read, shape=(N, D))
    start = jaxgmm.initialize(jax.random.key(0), x, K)
    fit = jaxgmm.fit(x, start, tolerance=1e-7, kernel="whitened")
    here, everywhere = len(jax.local_devices()), len(jax.devices())
    print(
        f"process {jax.process_index()} of {jax.process_count()}: {here} of {everywhere} devices, "
        f"{-(-N // everywhere)} rows on each; {jaxgmm.Status(int(fit.status)).name} after "
        f"{int(fit.steps)} steps, log-likelihood {float(fit.log_likelihood):.1f}",
        flush=True,
    )
    if jax.process_index() == 0:
        order = np.argsort(fit.mixture.means[:, 0])
        print("means\n", np.round(np.asarray(fit.mixture.means)[order], 2), flush=True)


# %% [markdown]
# ## Starting the processes


# %%
def start_two() -> None:
    """Start this script twice, as a cluster's launcher starts it once for each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    began = time.perf_counter()
    started = [
        subprocess.Popen(
            [sys.executable, load.EXAMPLES / "many_hosts.py", "--join", address, "2", str(rank)]
        )
        for rank in range(2)
    ]
    try:
        codes = [process.wait(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    if any(codes):
        sys.exit(f"the processes ended with {codes}")
    print(f"{time.perf_counter() - began:.0f} seconds, including start and compilation")


def join(address: str | None = None, processes: str = "", rank: str = "") -> None:
    """Connect this process to the others and run `main`.

    Without an address, JAX reads the environment variables of the cluster.
    """
    # If one process dies, the others end with an error within half a minute. With JAX's defaults
    # they would wait for minutes. A fit with checkpoint= can then be resumed.
    timeouts = dict(heartbeat_timeout_seconds=10, shutdown_timeout_seconds=10)
    if address is None:
        jax.distributed.initialize(**timeouts)
    else:
        jax.distributed.initialize(address, int(processes), int(rank), **timeouts)
    main()
    jax.distributed.shutdown()


# %%
if __name__ == "__main__":
    if "--join" in sys.argv:
        join(*sys.argv[sys.argv.index("--join") + 1 :])
    else:
        start_two()
