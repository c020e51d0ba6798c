"""What many rows need: minibatches, samples, shared programs, little memory."""

import functools

import jax
import numpy as np
import optax
import pytest
from kinds import KINDS, WEIGHT, D, K, N, X, pieces, same

import jaxgmm
from jaxgmm import EM, Blocks, Gradient, Shards, Stream
from jaxgmm.data import arrays, devices, open_data, stream_passes, stream_reader
from jaxgmm.data import row_counts as data_rows
from jaxgmm.internal.compiling import jit_with_options


@pytest.fixture
def start(x64):
    return jaxgmm.initialize(jax.random.key(0), X, K)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["blocks", "shards", "stream of a list", "stream over devices"])
def test_minibatches_of_every_kind_cover_the_rows(kind, start, monkeypatch):
    """Short steps of gradient ascent sum to a step along the whole gradient, if an epoch has every
    row once: here 480 rows count, in 15 minibatches (of a stream, two in each chunk but one)."""
    monkeypatch.setattr(stream_passes, "LEAST_CHUNK", 64)
    monkeypatch.setattr(stream_passes, "CHUNK_BYTES", 64 * D * 8)
    if kind == "stream over devices":
        monkeypatch.setattr(devices, "SPREAD_ROWS", 100)
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


@pytest.mark.thorough
def test_minibatches_are_the_same_wherever_rows_are(start):
    """An array, and a stream of a single chunk, draw the same: padding is not drawn."""
    algorithm = jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=100)
    run = functools.partial(
        jaxgmm.fit, mixture=start, algorithm=algorithm, max_steps=3, tolerance=0
    )
    found, expected = run(Stream(pieces)), jax.jit(run)(X)
    same(found.mixture, expected.mixture)
    for fit in (found, expected):
        np.testing.assert_allclose(fit.passes, 1 + 3 * (1 + 500 / N), rtol=1e-6)
    assert run(Shards(X)).objective > found.history[0]
    other = run(X, algorithm=jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=100, seed=1))
    assert abs(other.objective - found.objective) > 1e-6
    # one minibatch of everything is a step of the inner algorithm
    everything = run(X, algorithm=jaxgmm.Stochastic(jaxgmm.StepwiseEM(), batch_rows=10**6))
    same(everything.mixture, run(X, algorithm=jaxgmm.StepwiseEM()).mixture)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["shards", "stream of a function", "array"])
def test_a_start_from_a_sample(kind, start, monkeypatch):
    """Beyond SAMPLE_ROWS all kinds draw the same rows, weighted by the strata they stand for."""
    monkeypatch.setattr(data_rows, "SAMPLE_ROWS", 192)
    monkeypatch.setattr(data_rows, "BUCKETED_ROWS", 192)
    places, strata = data_rows.sample(N)
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
    jax.clear_caches()  # of programs made for a sample of 192


def test_a_sample_is_unbiased():
    """Over many sets of strata, each row counts once in expectation."""
    n = data_rows.SAMPLE_ROWS * 3 // 2
    places, strata = data_rows.sample(n)
    mean = np.average(places, weights=strata)
    assert abs(mean / (n - 1) - 0.5) < 1e-4
    assert strata.sum() == n
    assert set(strata) == {1, 2}


# ---- programs ----------------------------------------------------------------------------------


@pytest.mark.thorough
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
        jaxgmm.log_likelihood(fit.mixture, make(x), weight=weight)
        return fit, jaxgmm.initialize(jax.random.key(4), make(x), K, weight=weight)

    all_of(490)
    programs = arrays._call, jit_with_options(arrays._call_function, quickly=True)
    count = lambda: sum(program._cache_size() for program in programs)
    traced, compiled = len(traces), count()
    found = all_of(501, WEIGHT)[0], all_of(501)[1]
    all_of(483)
    assert len(traces) == traced > 0
    assert count() == compiled
    run = lambda x, weight: jaxgmm.fit(x, start, weight=weight, max_steps=4, tolerance=0)
    expected = jax.jit(run)(X, WEIGHT)
    same(found[0].mixture, expected.mixture)
    same(found[0].history, expected.history)
    same(found[1], jax.jit(lambda x: jaxgmm.initialize(jax.random.key(4), x, K))(X))


def test_buckets():
    for n in [*range(1, 300), 1000, 1025, 4095, 4097, 33_000, 65_535, 65_536, 65_537, 10**7]:
        padded = data_rows.bucket(n)
        assert n <= padded <= max(n * 9 / 8, n + 7)
        assert data_rows.bucket(padded) == padded
        assert (n <= 4096) == (padded <= 4096)  # where "auto" settles on a kernel
    assert data_rows.bucket(data_rows.SAMPLE_ROWS) == data_rows.SAMPLE_ROWS
    assert len({data_rows.bucket(n) for n in range(1025, 2049)}) == 8


def test_a_large_numpy_array_is_read_where_it_is(start, monkeypatch):
    monkeypatch.setattr(open_data, "COPIED_BYTES", 1000)
    assert isinstance(open_data.open_data(X), stream_passes.StreamData)
    run = functools.partial(jaxgmm.fit, mixture=start, weight=WEIGHT, max_steps=3, tolerance=0)
    same(run(X), run(jax.numpy.asarray(X)))
    same(jaxgmm.initialize(jax.random.key(1), X, K), jaxgmm.initialize(
        jax.random.key(1), jax.numpy.asarray(X), K
    ))  # fmt: skip
    jax.jit(lambda mixture: jaxgmm.log_likelihood(mixture, X))(start)  # a tracer beside it
    monkeypatch.setattr(stream_passes, "LEAST_CHUNK", 64)
    monkeypatch.setattr(stream_passes, "CHUNK_BYTES", 64 * D * 8)
    scattered = list(open_data.open_data(X, WEIGHT).interleaved_pieces())
    assert len(scattered) == 8
    for i, (part, weight) in enumerate(scattered):  # minibatches are drawn from all over
        np.testing.assert_array_equal(part, X[i::8])
        np.testing.assert_array_equal(weight, WEIGHT[i::8])
    with pytest.raises(ValueError, match="row 400 of x"):
        run(np.where(np.arange(N)[:, None] == 400, np.nan, X))


# ---- memory ------------------------------------------------------------------------------------


def test_a_stream_needs_little_memory(start, monkeypatch):
    """What is compiled for a chunk holds a block beside the chunk, not n×k."""
    monkeypatch.setattr(stream_passes, "CHUNK_BYTES", 1 << 22)
    add_chunk, calls = stream_reader._add_chunk, []
    monkeypatch.setattr(stream_reader, "_add_chunk", lambda *a: (calls.append(a), add_chunk(*a))[1])
    x = np.tile(X, (200, 1))
    jaxgmm.e_step(start, Stream(lambda: pieces(x, 5000)), devices=jax.devices()[:1])
    assert len(calls) == 1 + (len(x) - 1) // (1 << 17)
    memory = add_chunk.lower(*calls[0]).compile().memory_analysis()
    assert memory.temp_size_in_bytes < (1 << 17) * K * 8 / 2
