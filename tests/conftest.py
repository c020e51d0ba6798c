"""Every test runs with strict broadcasting, and warnings are errors (pyproject.toml)."""

import csv
import pathlib

import jax
import numpy as np
import pytest

import jaxgmm

jax.config.update("jax_numpy_rank_promotion", "raise")

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
