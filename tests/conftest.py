"""Every test runs with strict broadcasting, and warnings are errors (pyproject.toml)."""

import concurrent.futures
import csv
import gc
import os
import pathlib
import subprocess
import sys
import zlib

import jax
import numpy as np
import pytest
from flags import QUICK_TO_COMPILE

import jaxgmm

os.environ.setdefault("XLA_FLAGS", QUICK_TO_COMPILE)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # in the processes that tests start
# Some tests are about choices that are made for CPUs alone. JAX_PLATFORMS names another device.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxgmm.use_all_cores(2)
# Modules whose tests are about rounding errors, which optimized code has fewer of.
ROUNDING = {"test_precision", "test_statistics"}


@pytest.fixture(autouse=True, scope="module")
def _programs(request):
    """Compiles without optimizing, except where rounding is the subject; and forgets the programs,
    thousands of which would exhaust the process's memory maps."""
    rounding = request.module.__name__ in ROUNDING
    jax.config.update("jax_disable_most_optimizations", not rounding)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


ROOT = pathlib.Path(__file__).parent.parent
DATA = ROOT / "examples" / "data"
SCRIPTS = {
    path.stem: [str(path)]
    for path in sorted((ROOT / "examples").glob("*.py"))
    if "# %%" in path.read_text("utf-8")
} | {"README": [str(ROOT / "tests" / "readme.py")]}
SCRIPTS["em_versus_gradient"].append("--quick")
# Optimized programs do these much faster.
MUCH_TO_COMPUTE = {"thousands_of_small_fits", "digits_by_factors"}
RUNNING = {}


def _run(script):
    """What a script prints, as a newcomer runs it: in a process of its own, from elsewhere."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    if script in MUCH_TO_COMPUTE:
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"
    done = subprocess.run(
        [sys.executable, "-W", "error", *SCRIPTS[script]], capture_output=True, text=True, check=False,
        cwd=ROOT.parent, env=environment, timeout=600, encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def pytest_addoption(parser):
    parser.addoption(
        "--part", default="1/1", help="Run one part of the chosen tests, such as 1/2 for a half."
    )


def _part_of(item, parts: int) -> int:
    """The part (from 1) that a test is in. Those of one case share programs and stay together."""
    case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    name = f"{item.path.name} {item.name if case is None else case}"
    return zlib.crc32(name.encode()) % parts + 1


def _is_worker(config) -> bool:
    """Whether pytest-xdist shares the tests out (`-n auto --dist loadfile`)."""
    return hasattr(config, "workerinput")


def pytest_configure(config):
    """Keeps the files in the order of the tests. By default pytest-xdist begins with the files that
    have the most tests, so that the scripts, which are few and long, keep one worker to the end."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config, items):
    """Keeps the tests of one part. The scripts' results are asked for last, when they are there; by
    workers first, since they are the longest work of one worker."""
    part, parts = map(int, config.getoption("part").split("/"))
    others = [item for item in items if _part_of(item, parts) != part]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _part_of(item, parts) == part]
    last = not _is_worker(config)
    items.sort(key=lambda item: ("printed" in item.fixturenames) is last)


def pytest_collection_finish(session):
    """Lets Python look for garbage less often, a tenth of the time otherwise; and starts the scripts
    that will be asked for, beside the tests. If hardly anything else was asked for, two run at a
    time; otherwise one, on a core of its own."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if session.config.option.collectonly or _is_worker(session.config):
        return
    asked = {
        item.callspec.params["script"] for item in session.items if "script" in item.fixturenames
    }
    others = len(session.items) - len(asked)
    pool = concurrent.futures.ThreadPoolExecutor(2 if others < 10 else 1)
    RUNNING.update((name, pool.submit(_run, name)) for name in sorted(asked))


@pytest.fixture
def printed(script):
    """What the script printed; it must have ended well."""
    if script not in RUNNING:
        RUNNING[script] = concurrent.futures.Future()
        RUNNING[script].set_result(_run(script))
    code, out, error = RUNNING[script].result()
    assert code == 0, out[-3000:] + error[-3000:]
    return out


FAMILIES = ("full", "tied", "diagonal", "spherical")
QUICK_FAMILIES = ("full", "diagonal")  # one of each layout; with the other families, as `thorough`


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in QUICK_FAMILIES else pytest.mark.thorough)
        for name in FAMILIES
    ]
)
def family(request):
    """The families without constraints. The others have modules of their own, whose tests share
    their programs."""
    return request.param


@pytest.fixture(params=["whitened", "natural", "double"])
def kernel(request):
    return request.param


@pytest.fixture
def passes_taken(monkeypatch):
    """A list that grows each time a compiled program takes a pass (of those traced from now on)."""
    taken, take_pass = [], jaxgmm.objective.log_likelihood.statistics

    def counted(*arguments):
        jax.debug.callback(lambda: taken.append(1))
        return take_pass(*arguments)

    monkeypatch.setattr("jaxgmm.objective.log_likelihood.statistics", counted)
    return taken


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def iris():
    with open(DATA / "iris.csv") as file:
        return np.array([row[:4] for row in list(csv.reader(file))[1:]], float)


@pytest.fixture(scope="session")
def penguins():
    with open(DATA / "penguins.csv") as file:
        rows = [row[2:6] for row in list(csv.reader(file))[1:]]
    return np.array([row for row in rows if "NA" not in row], float)
