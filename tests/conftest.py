"""Every test runs with strict broadcasting, and warnings are errors (pyproject.toml)."""

import csv
import os
import pathlib

# Compiling is most of the time that the tests take; without its slowest passes a program is a little
# slower and computes the same.
os.environ.setdefault("XLA_FLAGS", "--xla_llvm_disable_expensive_passes=true")

import jax
import numpy as np
import pytest

import jaxgmm

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def _programs(request):
    """Compiles without optimising, except where rounding is the subject; and forgets the programs,
    thousands of which would exhaust the process's memory maps."""
    rounding = request.module.__name__ in ("test_precision", "test_statistics")
    jax.config.update("jax_disable_most_optimizations", not rounding)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


DATA = pathlib.Path(__file__).parent.parent / "examples" / "data"


@pytest.fixture(params=list(jaxgmm.FAMILIES))
def family(request):
    return request.param


@pytest.fixture(params=["whitened", "natural"])
def kernel(request):
    return request.param


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
