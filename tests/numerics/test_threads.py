"""Nothing waits without end: neither calls of LAPACK for one another, nor JAX after a fork.
`hangs.py` runs many more processes."""

import os
import sys

import hangs
import pytest
from conftest import ROOT

needs_linux = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="processes are watched through Linux's /proc"
)


def run(code, environment=None):
    """What a fresh process prints; one that waits without end fails."""
    good, output = hangs.ended([sys.executable, "-c", code], environment or dict(os.environ))
    assert good, output[-3000:]
    return output


# What hung: 200 rows of 16 features on two devices with a pool of two threads.
SWEEP = """
import jax, numpy as np, jaxgmm
jax.config.update("jax_disable_most_optimizations", True)
assert len(jax.devices()) == 2
x = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
jaxgmm.sweep(jax.random.key(0), x, [1, 2, 3], restarts=16, max_steps=3, strategy="full")
"""


@needs_linux
def test_a_sweep_on_a_user_s_own_devices_ends():
    run(SWEEP, hangs.environment_of(devices=2, larger_pool=False) | {"PJRT_NPROC": "2"})


POOL = """
import os, sys, jax, jaxgmm
from jaxgmm.numerics import lapack
lapack.CALLS_WAIT = True
jaxgmm.use_all_cores(2)
print(os.environ.get("PJRT_NPROC"))
"""


@pytest.mark.thorough
@needs_linux
@pytest.mark.parametrize(
    ("given", "expected"), [({"PJRT_NPROC": "2"}, "3"), ({"NPROC": "1"}, "3"), ({"PJRT_NPROC": "7"}, "7"), ({"NPROC": "7"}, "None")],
)  # fmt: skip
def test_the_pool_has_more_threads_than_devices(given, expected):
    environment = hangs.environment_of(devices=2, larger_pool=False) | given
    assert run(POOL, environment).split() == [expected]


# ---- after a fork -------------------------------------------------------------------------------

FORKED = """
import os, subprocess, sys, warnings
import jax, numpy as np, jaxgmm
from jaxgmm.sklearn import GaussianMixture, from_sklearn
warnings.filterwarnings("ignore", message="os.fork")
x = np.array([[0.0], [0.1], [0.2], [4.0], [4.1], [4.2]], np.float32)
labels = np.array([0, 0, 0, 1, 1, 1])

def work(how):
    try:
        how()
    except RuntimeError as error:
        assert "spawn" in str(error) and "loky" in str(error), error
        return "refused"
    return "done"

def in_child(how):
    "What a forked process says, without a pool, which would pickle."
    there, here = os.pipe()
    if os.fork() == 0:
        os.write(here, work(how).encode())
        os._exit(0)
    os.close(here)
    os.wait()
    return os.read(there, 100).decode()
"""

BEFORE = (
    FORKED
    + """
print(in_child(lambda: jaxgmm.fit(x, jaxgmm.from_labels(x, labels), max_steps=1)))
key = jax.random.key(0)
start = jaxgmm.from_labels(x, labels)
fits = jax.vmap(lambda _: jaxgmm.fit(x, start, max_steps=0))(np.arange(2))
estimator = GaussianMixture(2, random_state=0).fit(x)
statistics = jaxgmm.e_step(start, x)
jaxgmm.save(PATH, start)
doors = dict(
    fit=lambda: jaxgmm.fit(x, start), e_step=lambda: jaxgmm.e_step(start, x),
    m_step=lambda: jaxgmm.m_step(start, statistics), log_prob=lambda: jaxgmm.log_prob(start, x),
    log_joint=lambda: jaxgmm.log_joint(start, x),
    responsibilities=lambda: jaxgmm.responsibilities(start, x),
    log_likelihood=lambda: jaxgmm.log_likelihood(start, x),
    log_prior=lambda: jaxgmm.log_prior(start, None), bic=lambda: jaxgmm.bic(start, x),
    sample=lambda: jaxgmm.sample(key, start, 2), best=lambda: jaxgmm.best(fits),
    initialize=lambda: jaxgmm.initialize(key, x, 2), labels=lambda: jaxgmm.from_labels(x, labels),
    resp=lambda: jaxgmm.from_responsibilities(x, np.eye(2)[labels]),
    parameters=lambda: jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]]),
    prior=lambda: jaxgmm.Prior.from_data(x), certificate=lambda: jaxgmm.certificate(start, x),
    sweep=lambda: jaxgmm.sweep(key, x, 2), compare=lambda: jaxgmm.compare(key, x, 2, ["em"]),
    simulate=lambda: jaxgmm.simulate(key, 10, 2, 2, separation=1.0), load=lambda: jaxgmm.load(PATH),
    overlap=lambda: jaxgmm.overlap(start), separation=lambda: jaxgmm.separation(start),
    misassignment=lambda: jaxgmm.misassignment(start), summary=lambda: jaxgmm.summary(start),
    textbook=lambda: jaxgmm.textbook_em(x, start), n=lambda: jaxgmm.n_parameters(start),
    complete=lambda: jaxgmm.complete_log_likelihood(start, x, np.eye(2)[labels]),
    shards=lambda: jaxgmm.log_likelihood(start, jaxgmm.Shards(x)),
    stream=lambda: jaxgmm.Prior.from_data(jaxgmm.Stream(x)),
    estimator=lambda: GaussianMixture(2).fit(x), predict=lambda: estimator.predict(x),
    draw=lambda: estimator.sample(3), mixture=lambda: estimator.mixture_,
    score=lambda: estimator.score(x), conversion=lambda: from_sklearn(estimator),
)
for name, how in doors.items():
    print(name, in_child(how))
code = "import jaxgmm; jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]]); print('executed done')"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip())
"""
)


@pytest.mark.thorough
@needs_linux
def test_a_fork_before_jax_starts_works_and_one_after_is_refused_at_once(tmp_path):
    """At every door; and a new program is not a fork."""
    path = f"PATH = {str(tmp_path / 'start.npz')!r}\n"
    # From 3.12 on Python itself warns of a fork beside threads.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    first, *each, last = run(path + BEFORE, environment).splitlines()
    assert first == "done" and last == "executed done"
    assert len(each) > 30 and all(line.split()[1:] == ["refused"] for line in each), each
