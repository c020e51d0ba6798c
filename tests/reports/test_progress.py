"""Progress is told as seldom as asked for, by a bar or by lines, and changes nothing."""

import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT

import jaxgmm

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def start():
    return jaxgmm.initialize(jax.random.key(0), X, 2)


@pytest.fixture
def lines(monkeypatch):
    """Without tqdm."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tqdm" else find(name)
    )


def climb(start, callback):
    found = jaxgmm.fit(X, start, tolerance=0.0, max_steps=120, callback=callback)
    jax.effects_barrier()
    return found


def test_a_fit_tells_every_so_many_steps(start, lines, capsys):
    with jaxgmm.progress(50) as report:
        told = climb(start, report)
    shown = capsys.readouterr()
    assert [line.split(":")[0] for line in shown.err.splitlines()] == ["step 50", "step 100"]
    assert "objective" in shown.err and not shown.out
    # Another program than without a callback: equal to rounding.
    np.testing.assert_allclose(told.objective, climb(start, None).objective, rtol=1e-6)


def test_the_host_is_asked_no_oftener(start):
    class Every:
        every, calls = 40, 0

        def __call__(self, step, objective, gain):
            self.calls += 1
            assert int(step) % 40 == 0

    counted = Every()
    climb(start, counted)
    assert counted.calls == 3


def test_the_same_settings_are_the_same_callback():
    assert jaxgmm.progress(10) is jaxgmm.progress(10)
    with pytest.raises(ValueError, match="every is 0"):
        jaxgmm.progress(0)


def test_a_sweep_tells_each_family_to_its_end(lines, capsys):
    with jaxgmm.progress() as report:
        for climbing in (5, 3, 0):
            report(jaxgmm.Progress("full", climbing, 5, 10.0))
        report(jaxgmm.Progress("tied", 0, 5, 20.0))
    shown = capsys.readouterr().err.splitlines()
    assert shown[-2].startswith("full: 5 of 5") and shown[-1].startswith("tied: 5 of 5")


def test_a_bar_where_tqdm_is(monkeypatch):
    bars = []

    class Bar:
        def __init__(self, **settings):
            self.n, self.closed, self.settings = 0, False, settings
            bars.append(self)

        def set_postfix_str(self, text, refresh):
            self.text = text

        def update(self, more):
            self.n += more

        def close(self):
            self.closed = True

    monkeypatch.setitem(
        sys.modules,
        "tqdm",
        type("tqdm", (), {"tqdm": Bar, "__spec__": importlib.util.find_spec("json")}),
    )
    with jaxgmm.progress() as report:
        for step in (50, 100, 50):  # the third belongs to another fit
            report(step, -1.0, 1e-3)
    assert [bar.n for bar in bars] == [100, 50] and all(bar.closed for bar in bars)
    assert bars[0].text == "objective -1, D 1.0e-03"


def test_importing_jaxgmm_imports_no_optional_package():
    code = (
        "import sys, jaxgmm; "
        "print(*[m for m in ('sklearn', 'matplotlib', 'pandas', 'tqdm', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""
