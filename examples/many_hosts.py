# %% [markdown]
# # One fit on many hosts: JAX's own runtime, each process reading its own rows alone
#
# On a cluster this script is started once for each process, and JAX finds its peers by itself:
#
#     srun python examples/many_hosts.py --join          (Slurm; likewise Kubernetes, Cloud TPU)
#
# Without arguments, or as a notebook, it starts two processes of its own over this machine's
# loopback.

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
# A function gives the rows that a process asks for, from a file that every host can open, say. Here
# they are made from their number.


# %%
def read(index):
    """Rows first … last."""
    first, last, _ = index[0].indices(N)
    blocks = range(first // 1000, -(-last // 1000))
    rows = np.concatenate([block_of_rows(block) for block in blocks])
    return rows[first - 1000 * (first // 1000) :][: last - first]


def block_of_rows(number):
    random = np.random.default_rng(number)
    return random.normal(size=(1000, D)) + CENTERS[random.integers(0, K, 1000)]


# %% [markdown]
# ## What every process does
#
# All make the same calls. Each device holds its rows; a pass ends in one all-reduce.


# %%
def main() -> None:
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
# ## Starting


# %%
def start_two() -> None:
    """What a cluster's launcher does: the same script, once for each process."""
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
    print(f"{time.perf_counter() - began:.0f} seconds, starting and compiling included")


def join(address=None, processes=None, rank=None) -> None:
    # If one process dies, the others end with an error within half a minute; by JAX's own settings
    # they would wait for minutes. A fit with checkpoint= then goes on from where it was.
    patience = dict(heartbeat_timeout_seconds=10, shutdown_timeout_seconds=10)
    if address is None:  # a cluster's environment variables tell
        jax.distributed.initialize(**patience)
    else:  # the launcher tells
        jax.distributed.initialize(address, int(processes), int(rank), **patience)
    main()
    jax.distributed.shutdown()


# %%
if __name__ == "__main__":
    if "--join" in sys.argv:
        join(*sys.argv[sys.argv.index("--join") + 1 :])
    else:
        start_two()
