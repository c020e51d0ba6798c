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

import jaxgmm
from jaxgmm import EM, SQUAREM, Blocks, Gradient, Shards, Stream
from jaxgmm import data as jaxgmm_data
from jaxgmm import reading as jaxgmm_reading
from jaxgmm import rows as jaxgmm_rows
from jaxgmm import shards as jaxgmm_shards
from jaxgmm.shards import ShardData

N, D, K = 501, 3, 3  # does not divide by the devices, nor by a block
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, D)) + 4 * RANDOM.integers(0, 3, N)[:, None]
WEIGHT = RANDOM.uniform(0.5, 2, N)


def pieces(x=X, rows=70):
    return (x[i : i + rows] for i in range(0, len(x), rows))


class Sliced:
    """As a memory map, a Zarr or an HDF5 array: a shape, and slices."""

    shape = X.shape

    def __getitem__(self, rows):
        return X[rows]


KINDS = {
    "blocks": lambda: Blocks(X, 64),
    "shards": lambda: Shards(X),
    "shards of a callback": lambda: Shards(lambda i: X[i], shape=X.shape, dtype=np.float64),
    "stream of a function": lambda: Stream(pieces),
    "stream of a list": lambda: Stream(list(pieces(rows=33))),
    "stream of slices": lambda: Stream(Sliced(), block_rows=100),
    "stream over devices": lambda: Stream(pieces),
}


@pytest.fixture
def start(x64):
    return jaxgmm.initialize(jax.random.key(0), X, K)


def same(found, expected, tolerance=1e-10):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
def test_every_kind_has_the_same_sums(kind, weight, start, monkeypatch):
    monkeypatch.setattr(jaxgmm_reading, "LEAST_CHUNK", 64)
    monkeypatch.setattr(jaxgmm_reading, "CHUNK_BYTES", 64 * 3 * 8)  # so that chunks are many
    if kind == "stream over devices":
        monkeypatch.setattr(jaxgmm_shards, "SPREAD_ROWS", 100)
    rows = KINDS[kind]()
    one = jax.devices()[:1]
    same(jaxgmm.e_step(start, rows, weight), jaxgmm.e_step(start, X, weight, devices=one))
    for function in (jaxgmm.log_likelihood, jaxgmm.icl):
        same(function(start, rows, weight), function(start, X, weight, devices=one))
    same(jaxgmm.Prior.from_data(rows, weight), jaxgmm.Prior.from_data(X, weight))


@pytest.mark.parametrize("kind", ["blocks", "shards", "stream of a function"])
def test_every_kind_has_the_same_fit(kind, start):
    run = functools.partial(jaxgmm.fit, mixture=start, max_steps=7, weight=WEIGHT)
    same(run(KINDS[kind]()), run(X))


@pytest.mark.parametrize("kind", ["shards", "stream of a function"])
def test_every_kind_has_the_same_gradient_and_start(kind, start):
    slope = jax.grad(jaxgmm.log_likelihood)
    same(slope(start, KINDS[kind](), WEIGHT), slope(start, X, WEIGHT), 1e-8)
    key = jax.random.key(5)
    found = jaxgmm.initialize(key, KINDS[kind](), K, weight=WEIGHT)
    same(found, jaxgmm.initialize(key, X, K, weight=WEIGHT))


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


@pytest.mark.parametrize("kind", ["blocks", "shards", "stream of a list", "stream over devices"])
def test_minibatches_of_every_kind_cover_the_rows(kind, start, monkeypatch):
    """Short steps of gradient ascent sum to a step along the whole gradient, if an epoch has every
    row once: here 480 rows count, in 15 minibatches (of a stream, two in each chunk but one)."""
    monkeypatch.setattr(jaxgmm_reading, "LEAST_CHUNK", 64)
    monkeypatch.setattr(jaxgmm_reading, "CHUNK_BYTES", 64 * D * 8)
    if kind == "stream over devices":
        monkeypatch.setattr(jaxgmm_shards, "SPREAD_ROWS", 100)
    weight = np.ones(N)
    weight[np.linspace(0, N - 1, 21).astype(int) if kind == "shards" else slice(480, N)] = 0
    ascent = functools.partial(Gradient, optax.sgd, coordinates="leaves")
    run = functools.partial(jaxgmm.fit, mixture=start, weight=weight, max_steps=1, tolerance=0)
    whole = run(X, algorithm=ascent(learning_rate=1e-7))
    minibatches = jaxgmm.Stochastic(ascent(learning_rate=1e-7 / 15), batch_rows=32)
    epoch = run(KINDS[kind](), algorithm=minibatches)
    assert epoch.passes == 3
    moved = lambda fit: (np.asarray(fit.mixture.means) - start.means) / 1e-7
    np.testing.assert_allclose(moved(epoch), moved(whole), rtol=1e-4, atol=1e-6)


def test_minibatches_are_the_same_wherever_rows_are(start):
    """An array, and a stream of a single chunk, draw the same: padding is not drawn."""
    algorithm = jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=100)
    run = functools.partial(
        jaxgmm.fit, mixture=start, algorithm=algorithm, max_steps=3, tolerance=0
    )
    found, expected = run(Stream(pieces)), jax.jit(run)(X)
    same(found.mixture, expected.mixture)
    assert found.passes == expected.passes == np.float32(1 + 3 * (1 + 500 / N))
    assert run(Shards(X)).objective > found.history[0]
    other = run(X, algorithm=jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=100, seed=1))
    assert abs(other.objective - found.objective) > 1e-6
    # one minibatch of everything is a step of the inner algorithm
    everything = run(X, algorithm=jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=10**6))
    same(everything.mixture, run(X, algorithm=jaxgmm.StepwiseEM()).mixture)


@pytest.mark.parametrize("kind", ["shards", "stream of a function", "array"])
def test_a_start_from_a_sample(kind, start, monkeypatch):
    """Beyond SAMPLE_ROWS all kinds draw the same rows, weighted by the strata they stand for."""
    monkeypatch.setattr(jaxgmm_rows, "SAMPLE_ROWS", 192)
    monkeypatch.setattr(jaxgmm_rows, "BUCKETED_ROWS", 192)
    places, strata = jaxgmm_rows.sample(N)
    assert len(set(places)) == 192
    assert strata.sum() == N
    assert (np.diff(places) > 0).all()
    key = jax.random.key(1)
    rows = X if kind == "array" else KINDS[kind]()
    found = jaxgmm.initialize(key, rows, K, weight=WEIGHT)
    same(found, jax.jit(lambda x: jaxgmm.initialize(key, x, K, weight=WEIGHT))(X))
    # k-means++ gives every row drawn to a component: masses are those of the weighted sample
    mass = (strata * WEIGHT[places]).sum() * found.weights
    labels = ((X[places][:, None] - found.means[None]) ** 2).sum(axis=2).argmin(axis=1)
    expected = np.bincount(labels, weights=strata * WEIGHT[places], minlength=K)
    np.testing.assert_allclose(mass, expected, rtol=0.05)


def test_a_sample_is_unbiased():
    """Over many sets of strata, each row counts once in expectation."""
    n = jaxgmm_rows.SAMPLE_ROWS * 3 // 2
    places, strata = jaxgmm_rows.sample(n)
    mean = np.average(places, weights=strata)
    assert abs(mean / (n - 1) - 0.5) < 1e-4
    assert strata.sum() == n
    assert set(strata) == {1, 2}


def test_a_stream_is_read_once_for_each_pass(start):
    reads = []

    def read():
        reads.append(1)
        return pieces()

    rows = Stream(read)
    fit = jaxgmm.fit(rows, start, max_steps=4, tolerance=0)
    # beside the fit's passes: the survey, as many blocks as hold K distinct rows, the prior's
    assert len(reads) == fit.passes + 3
    jaxgmm.bic(fit.mixture, rows)
    assert len(reads) == fit.passes + 4  # surveyed once


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

    def spy(self, function, *operands, **static):
        program = self._program(function, static).lower(self._rows, operands)
        programs.append(program.compile().as_text())
        return compute(self, function, *operands, **static)

    monkeypatch.setattr(ShardData, "compute", spy)
    jaxgmm.e_step(start, Shards(X))
    jaxgmm.fit(Shards(X), start, max_steps=2)
    reduces = lambda text: len(re.findall(r" all-reduce(?:-start)?\(", text))
    assert reduces(programs[0]) == 1
    bodies = set(re.findall(r"body=%?([\w.-]+)", programs[1]))
    loops = [part for part in programs[1].split("\n\n") if part.lstrip("%").split(" ")[0] in bodies]
    assert len(loops) == len(bodies)
    assert sum(map(reduces, loops)) == 1
    assert not any("all-gather" in text for text in programs)


def test_many_rows_are_spread_by_themselves(start, monkeypatch):
    monkeypatch.setattr(jaxgmm_shards, "SPREAD_ROWS", 100)
    run = functools.partial(jaxgmm.fit, X, start, max_steps=3)
    spread, compute = [], ShardData.compute
    spy = lambda *a, **k: (spread.append(1), compute(*a, **k))[1]
    monkeypatch.setattr(ShardData, "compute", spy)
    on_all = run()
    assert len(spread) == 1
    same(run(devices=jax.devices()[:1]), on_all)
    assert len(spread) == 1
    on_one = jaxgmm.log_likelihood(start, X, devices=jax.devices()[:1])
    same(jaxgmm.log_likelihood(start, X), on_one)
    assert len(spread) == 2
    assert jaxgmm_data.opened(Stream(pieces)).mesh.size == len(jax.devices())
    jax.jit(jaxgmm.log_likelihood)(start, X)
    jaxgmm.fit(jax.device_put(X, jax.devices()[0]), start, max_steps=3)
    assert len(spread) == 2  # never where there are tracers, or someone chose a device


EIGHT = """
import jaxgmm
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


def test_eight_devices():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], capture_output=True, text=True, check=False, env=environment
    )
    assert "already runs with 8 CPU devices" in done.stdout, done.stderr[-2000:]


# ---- programs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "blocks", "shards", "stream"])
def test_nearby_n_share_a_program(kind, start):
    """Within a bucket a fit, a start and a likelihood compile once, weighted or not; and padding
    changes nothing but rounding."""
    make = {
        "array": lambda x: x,
        "blocks": lambda x: Blocks(x, 64),
        "shards": lambda x: Shards(x),
        "stream": lambda x: Stream([x]),
    }[kind]
    traces = []

    class Counted(EM):
        def move(self, *arguments):
            traces.append(1)
            return super().move(*arguments)

    algorithm = Counted()

    def all_of(n, weight=None):
        x = X[:n]
        fit = jaxgmm.fit(make(x), start, algorithm, weight=weight, max_steps=4, tolerance=0)
        jaxgmm.log_likelihood(fit.mixture, make(x), weight)
        return fit, jaxgmm.initialize(jax.random.key(4), make(x), K, weight=weight)

    all_of(490)
    traced, compiled = len(traces), jaxgmm_data._compiled._cache_size()
    found = all_of(501, WEIGHT)[0], all_of(501)[1]
    all_of(483)
    assert len(traces) == traced > 0
    assert jaxgmm_data._compiled._cache_size() == compiled
    run = lambda x, weight: jaxgmm.fit(x, start, weight=weight, max_steps=4, tolerance=0)
    expected = jax.jit(run)(X, WEIGHT)
    same(found[0].mixture, expected.mixture)
    same(found[0].history, expected.history)
    same(found[1], jax.jit(lambda x: jaxgmm.initialize(jax.random.key(4), x, K))(X))


def test_buckets():
    for n in [*range(1, 300), 1000, 1025, 4095, 4097, 33_000, 65_535, 65_536, 65_537, 10**7]:
        padded = jaxgmm_rows.bucket(n)
        assert n <= padded <= max(n * 9 / 8, n + 7)
        assert jaxgmm_rows.bucket(padded) == padded
        assert (n <= 4096) == (padded <= 4096)  # where "auto" settles on a kernel
    assert jaxgmm_rows.bucket(jaxgmm_rows.SAMPLE_ROWS) == jaxgmm_rows.SAMPLE_ROWS
    assert len({jaxgmm_rows.bucket(n) for n in range(1025, 2049)}) == 8


def test_a_large_numpy_array_is_read_where_it_is(start, monkeypatch):
    monkeypatch.setattr(jaxgmm_data, "COPIED_BYTES", 1000)
    assert isinstance(jaxgmm_data.opened(X), jaxgmm_reading.StreamData)
    run = functools.partial(jaxgmm.fit, mixture=start, weight=WEIGHT, max_steps=3, tolerance=0)
    same(run(X), run(jax.numpy.asarray(X)))
    same(jaxgmm.initialize(jax.random.key(1), X, K), jaxgmm.initialize(
        jax.random.key(1), jax.numpy.asarray(X), K
    ))  # fmt: skip
    jax.jit(lambda mixture: jaxgmm.log_likelihood(mixture, X))(start)  # a tracer beside it
    with pytest.raises(ValueError, match="row 400 of x"):
        run(np.where(np.arange(N)[:, None] == 400, np.nan, X))


# ---- memory ------------------------------------------------------------------------------------


def test_a_stream_needs_little_memory(start, monkeypatch):
    """What is compiled for a chunk holds a block beside the chunk, not n×k."""
    add_chunk, calls = jaxgmm_reading._add_chunk, []
    monkeypatch.setattr(
        jaxgmm_reading, "_add_chunk", lambda *a: (calls.append(a), add_chunk(*a))[1]
    )
    x = np.tile(X, (200, 1))
    jaxgmm.e_step(start, Stream(lambda: pieces(x, 5000)), devices=jax.devices()[:1])
    assert len(calls) == 1 + (len(x) - 1) // (1 << 17)
    memory = add_chunk.lower(*calls[0]).compile().memory_analysis()
    assert memory.temp_size_in_bytes < (1 << 17) * K * 8 / 2


# ---- what is refused ---------------------------------------------------------------------------


def spoiled():
    found = [np.array(block) for block in pieces(rows=20)]
    found[17][3, 1] = np.nan
    return found


EXHAUSTED = pieces()
REFUSED = {
    "NaN": (lambda: Stream(spoiled()), r"row 3 of block 17 of the stream \(row 343 of all\)"),
    "generator": (lambda: Stream(pieces()), "can be read only once"),
    "exhausted": (lambda: Stream(lambda: EXHAUSTED), "gave 0 rows on this pass and 501"),
    "more rows": (
        lambda: Stream(iter([[X], [X], [X, X]]).__next__),
        "gave 1002 rows on this pass and 501",
    ),
    "no block": (lambda: Stream([]), "no rows"),
    "empty block": (lambda: Stream([X, X[:0]]), "block 1 of the stream has shape .* empty"),
    "ragged block": (lambda: Stream([X, [[1.0, 2.0], [3.0]]]), "block 1 .* rectangular"),
    "other columns": (lambda: Stream([X, X[:, :2]]), "block 1 of the stream has 2 columns"),
    "one row": (lambda: Stream([X[0]]), r"block 0 of the stream has shape \(3,\)"),
    "not numbers": (lambda: Stream([X.astype(str)]), "block 0 of the stream holds values"),
    "not iterable": (lambda: Stream(lambda: 3), "gave a int"),
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
