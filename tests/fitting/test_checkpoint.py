"""A fit that was broken off and resumed is the fit."""

import functools

import chex
import jax
import numpy as np
import optax
import pytest

import jaxgmm
from jaxgmm import EM, SQUAREM, Gradient, Status, Stream
from jaxgmm.fitting import checkpoint


@pytest.fixture
def run(iris, x64):
    start = jaxgmm.initialize(jax.random.key(3), iris, 3)
    return functools.partial(jaxgmm.fit, iris, start, tolerance=1e-13)


def equal(a, b):
    chex.assert_trees_all_equal(a, b)


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "algorithm",
    [EM(), pytest.param(Gradient(optax.lbfgs), marks=pytest.mark.thorough)],
    ids=["em", "lbfgs"],
)
def test_a_resumed_fit_is_the_unbroken_one(algorithm, run, tmp_path, monkeypatch):
    run = functools.partial(run, algorithm=algorithm, checkpoint_every=4, max_steps=25)
    unbroken = run(checkpoint=tmp_path / "unbroken.npz")
    assert unbroken.steps > 8
    assert len(unbroken.history) == unbroken.steps + 1
    if algorithm == EM():
        np.testing.assert_allclose(unbroken.objective, run().objective, rtol=1e-12)

    write, written = checkpoint._write, []

    def killed_at_the_third(*arguments):
        written.append(int(arguments[-1].fit_state.steps))
        if len(written) == 3:
            raise Killed
        write(*arguments)

    monkeypatch.setattr(checkpoint, "_write", killed_at_the_third)
    path = tmp_path / "broken.npz"
    with pytest.raises(Killed):
        run(checkpoint=path)
    resumed = run(checkpoint=path)
    assert written[:4] == [0, 4, 8, 8]  # what was not written is done again
    equal(resumed, unbroken)
    equal(run(checkpoint=path), unbroken)  # ended: nothing is left to do
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.npz", "unbroken.npz"]


def test_a_stream_resumes_with_more_steps(run, iris, tmp_path):
    start = run.args[1]
    on_stream = functools.partial(
        jaxgmm.fit, Stream([iris[:80], iris[80:]]), start, tolerance=0, checkpoint=tmp_path / "fit"
    )
    first = on_stream(max_steps=3)
    assert first.status == Status.MAX_STEPS
    found = on_stream(max_steps=6)
    expected = jaxgmm.fit(iris, start, tolerance=0, max_steps=6)
    np.testing.assert_allclose(found.history, expected.history, rtol=1e-12)
    assert on_stream(max_steps=2).steps == 6  # what was done is not undone


def test_another_fit_is_refused(run, iris, tmp_path):
    path = tmp_path / "fit.npz"
    run(checkpoint=path, max_steps=2)
    other = jaxgmm.initialize(jax.random.key(4), iris, 3)
    x, start = run.args
    for arguments, words in (
        (dict(algorithm=SQUAREM()), r"another fit \(it differs in its algorithm: 'EM\(\)'"),
        (dict(tolerance=1e-3), "its tolerance: 1e-13, but here 0.001"),
        (dict(prior=None), "form of its state"),
        (dict(prior=jaxgmm.Prior.from_data(x, strength=1.0)), "its rows or its prior"),
    ):
        with pytest.raises(ValueError, match=words):
            run(checkpoint=path, **arguments)
    for rows, mixture, words in (
        (x, other, "its start"), (x + 1, start, "its rows"), (x[:100], start, "its rows: 150, but")
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            jaxgmm.fit(rows, mixture, tolerance=1e-13, checkpoint=path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="is not a checkpoint of a fit"):
        run(checkpoint=path)
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda x: jaxgmm.fit(x, start, checkpoint=path))(x)
    with pytest.raises(ValueError, match="checkpoint_every is 0"):
        run(checkpoint=path, checkpoint_every=0)
