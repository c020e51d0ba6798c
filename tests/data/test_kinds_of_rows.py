"""Every kind of rows gives the same sums and the same fit; and what is refused, in which words."""

import functools
import os
import re
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from conftest import ROOT
from kinds import KINDS, WEIGHT, D, K, N, X, pieces, same

import jaxgmm
from jaxgmm import EM, SQUAREM, Blocks, Gradient, Shards, Stream
from jaxgmm.data import devices, open_data, stream_passes
from jaxgmm.data.shards import ShardData


@pytest.fixture
def start(x64):
    return jaxgmm.initialize(jax.random.key(0), X, K)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
def test_every_kind_has_the_same_sums(kind, weight, start, monkeypatch):
    monkeypatch.setattr(stream_passes, "LEAST_CHUNK", 64)
    monkeypatch.setattr(stream_passes, "CHUNK_BYTES", 64 * 3 * 8)  # so that chunks are many
    if kind == "stream over devices":
        monkeypatch.setattr(devices, "SPREAD_ROWS", 100)
    rows = KINDS[kind]()
    one = jax.devices()[:1]
    same(
        jaxgmm.e_step(start, rows, weight=weight),
        jaxgmm.e_step(start, X, weight=weight, devices=one),
    )
    for function in (jaxgmm.log_likelihood, jaxgmm.icl):
        same(function(start, rows, weight=weight), function(start, X, weight=weight, devices=one))
    same(jaxgmm.Prior.from_data(rows, weight=weight), jaxgmm.Prior.from_data(X, weight=weight))


@pytest.mark.parametrize("kind", ["blocks", "shards", "stream of a function"])
def test_every_kind_has_the_same_fit(kind, start):
    run = functools.partial(jaxgmm.fit, mixture=start, max_steps=7, weight=WEIGHT)
    same(run(KINDS[kind]()), run(X))


@pytest.mark.parametrize("kind", ["shards", "stream of a function"])
def test_every_kind_has_the_same_gradient_and_start(kind, start):
    slope = lambda x: jax.grad(lambda m: jaxgmm.log_likelihood(m, x, weight=WEIGHT))(start)
    same(slope(KINDS[kind]()), slope(X), 1e-8)
    key = jax.random.key(5)
    found = jaxgmm.initialize(key, KINDS[kind](), K, weight=WEIGHT)
    same(found, jaxgmm.initialize(key, X, K, weight=WEIGHT))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("shards", SQUAREM()), ("stream of a function", Gradient(optax.lbfgs))],
    ids=["shards-squarem", "stream-lbfgs"],
)
def test_every_algorithm_climbs_every_kind(kind, algorithm, start):
    run = functools.partial(
        jaxgmm.fit, mixture=start, algorithm=algorithm, max_steps=6, tolerance=0
    )
    found, expected = run(KINDS[kind]()), run(X)
    assert found.passes == expected.passes
    same(found.history, expected.history)
    same(found.mixture, expected.mixture, 1e-7)


def test_a_stream_is_read_once_for_each_pass(start):
    reads = []

    def read():
        reads.append(1)
        return pieces()

    rows = Stream(read)
    fit = jaxgmm.fit(rows, start, max_steps=4, tolerance=0)
    # beside the fit's passes: the survey, as many blocks as hold K distinct rows, the prior's two
    assert len(reads) == fit.passes + 4
    jaxgmm.bic(fit.mixture, rows)
    assert len(reads) == fit.passes + 5  # surveyed once


@pytest.mark.parametrize("kind", ["shards", "stream of a function"])
def test_the_host_calls_back_once(kind, start):
    seen = []
    record = lambda step, *_: seen.append(int(step))
    jaxgmm.fit(KINDS[kind](), start, max_steps=3, tolerance=0, callback=record)
    jax.effects_barrier()
    assert seen == [1, 2, 3]


# ---- many devices ------------------------------------------------------------------------------


def test_a_step_has_one_all_reduce(start, monkeypatch):
    """In the compiled loop: one all-reduce, and no array of rows is gathered."""
    programs, compute = [], ShardData.compute

    def spy(self, function, *operands, quickly=False, **static):
        program = self._program(function, static).lower(self._rows, operands)
        programs.append(program.compile().as_text())
        return compute(self, function, *operands, **static)

    monkeypatch.setattr(ShardData, "compute", spy)
    jaxgmm.e_step(start, Shards(X))
    jaxgmm.fit(Shards(X), start, max_steps=2)
    reduces = lambda text: len(re.findall(r" all-reduce(?:-start)?\(", text))
    assert reduces(programs[0]) == 1
    bodies = set(re.findall(r"body=%?([\w.-]+)", programs[-1]))
    loops = [
        part for part in programs[-1].split("\n\n") if part.lstrip("%").split(" ")[0] in bodies
    ]
    assert len(loops) == len(bodies)
    assert sum(map(reduces, loops)) == 1
    assert not any("all-gather" in text for text in programs)


def test_many_rows_are_spread_by_themselves(start, monkeypatch):
    monkeypatch.setattr(devices, "SPREAD_ROWS", 100)
    run = functools.partial(jaxgmm.fit, X, start, max_steps=3)
    spread, compute = [], ShardData.compute
    spy = lambda *a, **k: (spread.append(1), compute(*a, **k))[1]
    monkeypatch.setattr(ShardData, "compute", spy)
    on_all = run()
    assert len(spread) == 2  # the prior, and the fit
    same(run(devices=jax.devices()[:1]), on_all)
    assert len(spread) == 2
    on_one = jaxgmm.log_likelihood(start, X, devices=jax.devices()[:1])
    same(jaxgmm.log_likelihood(start, X), on_one)
    assert len(spread) == 3
    assert open_data.open_data(Stream(pieces)).mesh.size == len(jax.devices())
    jax.jit(jaxgmm.log_likelihood)(start, X)
    jaxgmm.fit(jax.device_put(X, jax.devices()[0]), start, max_steps=3)
    assert len(spread) == 3  # never where there are tracers, or someone chose a device


@pytest.mark.parametrize("kind", [lambda x: x, Shards, lambda x: Stream([x])])
def test_mixtures_and_priors_may_be_on_one_device(kind, monkeypatch):
    """Their device is not one that all rows are on."""
    monkeypatch.setattr(devices, "SPREAD_ROWS", 100)
    start = jaxgmm.initialize(jax.random.key(0), X, 2)
    beside = start, jaxgmm.Prior.from_data(X)
    run = lambda start, prior: jaxgmm.fit(kind(X), start, prior=prior, max_steps=3).objective
    assert run(*jax.device_put(beside, jax.devices()[1])) == run(*beside)


HESSIAN = """
import jax, jaxgmm, numpy as np
jaxgmm.use_all_cores(2)
x = np.random.default_rng(0).normal(size=(40_000, 4)).astype(np.float32)
start = jaxgmm.initialize(jax.random.key(0), x, 3)
smallest = lambda found: float(found.smallest_eigenvalue)
of_two, of_one = (jaxgmm.certificate(start, x, devices=jax.devices()[:n]) for n in (2, 1))
np.testing.assert_allclose(smallest(of_two), smallest(of_one), rtol=1e-3)
print("ended")
"""


def test_a_hessian_of_two_devices():
    """In a process whose programs are optimized: JAX 0.10 made a function of it that crashed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    environment["XLA_FLAGS"] = ""
    done = subprocess.run(
        [sys.executable, "-c", HESSIAN],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.stdout == "ended\n", (done.returncode, done.stderr[-2000:])


EIGHT = """
import jaxgmm
assert jaxgmm.use_all_cores() == 5  # what the environment says is kept
assert jaxgmm.use_all_cores(8) == 8
import jax, numpy as np
x = np.random.default_rng(0).normal(size=(1003, 2)).astype(np.float32)
start = jaxgmm.initialize(jax.random.key(0), x, 2)
found, expected = (jaxgmm.fit(rows, start, max_steps=5) for rows in (jaxgmm.Shards(x), x))
np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-6)
mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(2, 4), ("restarts", "rows"))
rows = jaxgmm.Shards(x, mesh, axis="rows")
keys = jax.random.split(jax.random.key(1), 6)
starts = jax.vmap(lambda key: jaxgmm.initialize(key, rows, 2))(keys)
climb = lambda rows: lambda start: jaxgmm.fit(rows, start, max_steps=20)
many = jax.vmap(climb(rows), spmd_axis_name="restarts")(starts)
assert many.objective.sharding.spec == jax.sharding.PartitionSpec("restarts")
assert len({shard.index[0].start for shard in many.objective.addressable_shards}) == 2
np.testing.assert_allclose(many.objective, jax.vmap(climb(x))(starts).objective, rtol=1e-5)
assert jaxgmm.use_all_cores(8) == 8
try:
    jaxgmm.use_all_cores(3)
except ValueError as error:
    print(error)
"""


@pytest.mark.thorough
def test_eight_devices():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "5"}
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], capture_output=True, text=True, check=False, env=environment
    )
    assert "already runs with 8 CPU devices" in done.stdout, done.stderr[-2000:]


# ---- what is refused ---------------------------------------------------------------------------


def spoiled():
    found = [np.array(block) for block in pieces(rows=20)]
    found[17][3, 1] = np.nan
    return found


EXHAUSTED = pieces()
REFUSED = {
    "NaN": (
        lambda: Stream(spoiled()),
        r"row 3 of block 17 of the stream \(row 343 of all\) contains NaN in column",
    ),
    "generator": (lambda: Stream(pieces()), "can be read only once"),
    "exhausted": (lambda: Stream(lambda: EXHAUSTED), "has 0 rows on this pass and had 501"),
    "more rows": (
        lambda: Stream(iter([[X], [X], [X, X]]).__next__),
        "has 1002 rows on this pass and had 501",
    ),
    "no block": (lambda: Stream([]), "no rows"),
    "empty block": (lambda: Stream([X, X[:0]]), "block 1 of the stream has shape .* empty"),
    "ragged block": (lambda: Stream([X, [[1.0, 2.0], [3.0]]]), "block 1 .* rectangular"),
    "other columns": (lambda: Stream([X, X[:, :2]]), "block 1 of the stream has 2 columns"),
    "one row": (lambda: Stream([X[0]]), r"block 0 of the stream has shape \(3,\)"),
    "not numbers": (lambda: Stream([X.astype(str)]), "block 0 of the stream holds text"),
    "not iterable": (lambda: Stream(lambda: 3), "returned a int"),
    "features": (lambda: Stream([X[:, :2]]), "x has 2 columns and the mixture 3"),
    "rows per block": (lambda: Blocks(X, 0), "block_rows is 0"),
    "NaN in a share": (lambda: Shards(np.where(X[400] == X, np.nan, X)), "row 400 of x"),
    "no shape": (lambda: Shards(lambda index: X[index]), "shape=\\(n, d\\)"),
    "another shape": (lambda: Shards(lambda i: X[i][:, :2], shape=(N, D)), r"asked for \(251, 3\)"),
    "no such axis": (lambda: Shards(X, axis="columns"), "unknown axis 'columns'"),
    "too few rows": (lambda: Stream([X[:2]]), "3 distinct rows, and x has 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_rows(case, start):
    make, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        jaxgmm.fit(make(), start, EM(), max_steps=1)


def test_bad_calls(start):
    rows = Stream(pieces)
    with pytest.raises(ValueError, match="outside jit and vmap"):
        jax.jit(lambda mixture: jaxgmm.log_likelihood(mixture, rows))(start)
    with pytest.raises(ValueError, match="weight has shape"):
        jaxgmm.fit(rows, start, weight=WEIGHT[:5])
    with pytest.raises(ValueError, match="devices is empty"):
        jaxgmm.fit(X, start, devices=[])
    with pytest.raises(ValueError, match="needs an array"):
        jaxgmm.log_prob(start, rows)
