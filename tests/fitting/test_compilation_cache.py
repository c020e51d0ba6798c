"""JAX's compilation cache: a second process compiles nothing."""

import ast
import os
import subprocess
import sys

import pytest

SCRIPT = """
import jax, jaxgmm, numpy as np
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.split("/")[-1]))
x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
start = jaxgmm.initialize(jax.random.key(0), x, 2)
fits = [jaxgmm.fit(x, start), jaxgmm.fit(jaxgmm.Stream([x[:30], x[30:]]), start)]
print([events.count("cache_hits"), events.count("cache_misses"), *(float(f.objective) for f in fits)])
"""


@pytest.mark.thorough
def test_a_second_process_takes_all_programs_from_the_cache(tmp_path):
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def run():
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(
            command, env=os.environ | cache, capture_output=True, text=True, check=True
        )
        return ast.literal_eval(done.stdout)

    hits, misses, *first = run()
    assert hits == 0 and misses > 0
    assert run() == [misses, 0, *first]
