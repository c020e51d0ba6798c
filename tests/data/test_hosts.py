"""Two processes over loopback; one of them is killed."""

import os
import re
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import ROOT

import jaxgmm
from jaxgmm import Shards

N = 3001  # does not divide by the processes
X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
START = X[:2], np.stack([np.eye(2, dtype=np.float32)] * 2)

WORKER = """
import sys, jax, numpy as np, jaxgmm
address, rank, checkpoint = sys.argv[1:]
jax.distributed.initialize(
    address, 2, int(rank), heartbeat_timeout_seconds=10, shutdown_timeout_seconds=10
)
from test_hosts import climb
climb(10**6, checkpoint)
"""


def climb(max_steps, checkpoint=None):
    """Each process reads its own rows."""
    start = jaxgmm.Mixture.from_parameters(np.full(2, 0.5, np.float32), *START)
    rows = Shards(lambda index: X[index], shape=X.shape)
    return jaxgmm.fit(
        rows, start, max_steps=max_steps, tolerance=0.0, checkpoint=checkpoint, checkpoint_every=50
    )


@pytest.mark.thorough
def test_a_killed_process_ends_the_others_and_the_fit_resumes(tmp_path):
    checkpoint = tmp_path / "fit.npz"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "data")])
    environment = os.environ | {"PYTHONPATH": paths, "JAX_NUM_CPU_DEVICES": "1"}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", WORKER, address, str(rank), str(checkpoint)],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) for rank in range(2)
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while steps_in(checkpoint) < 100:
            assert first.poll() is None, first.stderr.read()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.1)
        second.kill()
        assert first.wait(timeout=60) != 0  # within a minute
        last_words = first.stderr.read()
        assert re.search("heartbeat|connection|peer|closed|unhealthy", last_words, re.IGNORECASE)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()

    made = steps_in(checkpoint)
    resumed, alone = climb(made + 5, checkpoint), climb(made + 5)  # on this process's devices
    assert resumed.steps == alone.steps == made + 5
    np.testing.assert_allclose(resumed.objective, alone.objective, rtol=1e-5)
    np.testing.assert_allclose(resumed.history, alone.history, rtol=1e-5)
    assert len(jax.devices()) == 2


def steps_in(checkpoint):
    if not checkpoint.exists():
        return 0
    with np.load(checkpoint) as file:
        return len(file[sorted(file.files, key=lambda name: (len(name), name))[-1]]) - 1
