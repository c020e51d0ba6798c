"""Run the package in fresh processes that must end, and print a line for each.

    .venv/bin/python tests/hangs.py [--half]

Each process has 1, 2 or 4 CPU devices, a thread pool of the default size or a larger one, and one
or two cores. Processes on one core run two at a time. `--half` runs every other case, so that each
value of each setting still meets each value of the others. A process that waits forever uses no
processor time. That tells it from a slow one; a limit in seconds would not, on a busy machine.
"""

import concurrent.futures
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from flags import QUICK_TO_COMPILE

ROOT = pathlib.Path(__file__).parent.parent
IDLE_SECONDS, IDLE = 30, 0.2  # a process waits if it uses less than this in so many seconds
MOST_SECONDS = 1200
DEVICES, LARGER_POOL, CORES = (1, 2, 4), (False, True), (1, 2)
FEATURES = (4, 8, 13, 16, 32, 64)
COMPONENTS = (1, 3, 8, 16, 64)


# ---- in the fresh process -----------------------------------------------------------------------


def factorizations(turn: int):
    """Every factorization of stacks of every other size, on all devices at once and in several
    threads at once, as a user's threads would call them."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import PartitionSpec as P

    from jaxgmm.numerics import lapack, triangular

    def every(x):
        matrix = x + jnp.swapaxes(x, -1, -2)
        # Independent of one another, so that one device runs them at once.
        return [
            lapack.cholesky(jnp.eye(x.shape[-1])[None] + 0 * x),
            triangular.inverse(jnp.eye(x.shape[-1])[None] + jnp.tril(x, -1)),
            triangular.solve(jnp.eye(x.shape[-1])[None] + jnp.tril(x, -1), x[..., 0]),
            lapack.lower_root(x), lapack.svd(x), lapack.eigh(matrix), lapack.eigvalsh(matrix),
            lapack.orthogonal(x), lapack.polar(x),
        ]  # fmt: skip

    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.array(devices), ("devices",))
    spread = {"mesh": mesh, "in_specs": P("devices"), "out_specs": P("devices"), "check_vma": False}
    over_lanes = jax.jit(jax.shard_map(jax.vmap(every), **spread))
    for d in FEATURES[(turn + turn // 2 + turn // 4) % 2 :: 2]:
        shape = len(devices) * 8, min(64, 8192 // d**2 + 4), d, d
        x = np.random.default_rng(d).normal(size=shape).astype(np.float32) / d
        over_lanes.lower(x).compile()
        threads = [
            threading.Thread(target=lambda x=x: jax.block_until_ready(over_lanes(x)))
            for _ in range(1 if len(devices) > 1 else 4)  # several devices take turns
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def fits(turn: int):
    """fit, sweep, a transport plan, and in turn compare, certificate and the estimator.

    Each result is waited for: JAX may not wait for a running program when the process ends, which
    then crashes."""
    import jax
    import numpy as np

    import jaxgmm

    key, settings = jax.random.key(0), {"max_steps": 2, "tolerance": 0.0}

    def rows(place: int, n: int = 200):
        d, k = FEATURES[(turn + place) % 6], COMPONENTS[(turn + 2 * place) % 5]
        x = np.random.default_rng(turn).normal(size=(max(n, 2 * k), d)).astype(np.float32)
        print(f"turn {turn}.{place}: n = {len(x)}, d = {d}, K = {k}", flush=True)
        return x, k

    x, k = rows(0, n=33_000)  # enough to be spread over the devices
    start = jaxgmm.Mixture.from_parameters(
        np.full(k, 1 / k, np.float32), x[:k], np.stack([np.eye(x.shape[1], dtype=np.float32)] * k)
    )
    fit = jaxgmm.fit(x, start, kernel="whitened", **settings)
    jax.block_until_ready(jaxgmm.mw2(start, fit.mixture))  # calls the host inside a program
    x, k = rows(1)
    numbers = [1, 2, 3] if k == 3 else k
    found = jaxgmm.sweep(key, x, numbers, restarts=4, strategy="full", **settings)
    jax.block_until_ready(found)
    x, k = rows(2)
    if turn % 3 == 0:
        jaxgmm.compare(key, x, k, ["em"], restarts=2, **settings)
    elif turn % 3 == 1:
        x = x[:, :4] if k > 8 else x  # the Hessian has at most 1000 columns, and takes its time
        jax.block_until_ready(jaxgmm.certificate(jaxgmm.initialize(key, x, k), x))
    else:
        from jaxgmm.sklearn import GaussianMixture

        found = GaussianMixture(k, n_init=2, max_iter=2, tol=1e9, random_state=0).fit(x)
        found.predict(x)


def main_of_child(cores: list[int], turn: int):
    """Run all of it on these cores."""
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [available[core % len(available)] for core in cores])
    import jax

    jax.config.update("jax_disable_most_optimizations", True)  # compiling is most of the time
    factorizations(turn)
    fits(turn)
    print("ended", flush=True)


# ---- the processes, watched ---------------------------------------------------------------------


def processor_seconds(process: subprocess.Popen) -> float:
    """What a process has used so far."""
    numbers = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(number) for number in numbers[11:13]) / os.sysconf("SC_CLK_TCK")


def ended(command: list[str], environment: dict) -> tuple[bool, str]:
    """Whether a process ends well, and what it printed; one that waits without end is killed."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
        )
        began = looked = time.monotonic()
        used = 0.0
        while process.poll() is None:
            time.sleep(0.2)
            now = time.monotonic()
            if now - looked > IDLE_SECONDS and process.poll() is None:
                before, used, looked = used, processor_seconds(process), now
                if used - before < IDLE or now - began > MOST_SECONDS:
                    process.kill()
        process.wait()
        output.seek(0)
        return process.returncode == 0, output.read()


def environment_of(devices: int, larger_pool: bool) -> dict:
    """A user's environment, with their own number of devices."""
    found = {
        name: value for name, value in os.environ.items() if name not in ("PJRT_NPROC", "NPROC")
    }
    found |= {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": str(devices)}
    found.setdefault("XLA_FLAGS", QUICK_TO_COMPILE)
    return found | ({"PJRT_NPROC": str(2 * devices + 2)} if larger_pool else {})


def run(devices: int, larger_pool: bool, cores: list[int], turn: int) -> bool:
    """Run one process, print how it ended, and return whether it ended well."""
    began = time.monotonic()
    command = [sys.executable, __file__, "--child", ",".join(map(str, cores)), str(turn)]
    good, output = ended(command, environment_of(devices, larger_pool))
    pool = "a larger" if larger_pool else "the default"
    print(
        f"{devices} devices, {pool} pool, {len(cores)} cores:",
        f"{'ended' if good else 'FAILED'} after {time.monotonic() - began:.0f} s",
        "" if good else output[-2000:], flush=True,
    )  # fmt: skip
    return good


def main(half: bool) -> int:
    """Run every case, or half of them; return the exit status."""
    cases = list(enumerate(itertools.product(DEVICES, LARGER_POOL, CORES)))
    if half:
        parity = lambda case: DEVICES.index(case[0]) + case[1] + CORES.index(case[2])
        cases = [(turn, case) for turn, case in cases if parity(case) % 2 == 0]
    good = [
        run(devices, pool, [0, 1], turn) for turn, (devices, pool, cores) in cases if cores == 2
    ]
    alone = [(turn, case) for turn, case in cases if case[2] == 1]
    with concurrent.futures.ThreadPoolExecutor(2) as two_at_a_time:
        started = [
            two_at_a_time.submit(run, devices, pool, [place % 2], turn)
            for place, (turn, (devices, pool, _)) in enumerate(alone)
        ]
        good += [process.result() for process in started]
    return int(not all(good))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        main_of_child([int(core) for core in sys.argv[2].split(",")], int(sys.argv[3]))
    else:
        sys.exit(main(half="--half" in sys.argv[1:]))
