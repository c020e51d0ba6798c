"""The ten problems whose maxima are known to 30 digits: the answers are right, and jaxgmm's have the
digits that `examples/README.md` says."""

import json
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import certify
import load

PROBLEMS = load.certified()


@pytest.fixture(scope="module")
def example():
    before = jax.config.jax_enable_x64
    import certified_digits

    yield certified_digits
    jax.config.update("jax_enable_x64", before)


def log_likelihood(problem):
    """ℓ at the certified maximum, in float64 of NumPy, and the responsibilities (n, k)."""
    at = problem.maximum
    offset = problem.x[:, None] - at["means"]
    solved = np.linalg.solve(at["covariances"], offset[..., None])[..., 0]
    determinant = np.linalg.slogdet(2 * np.pi * at["covariances"])[1]
    joint = np.log(at["weights"]) - (determinant + (offset * solved).sum(-1)) / 2
    density = np.logaddexp.reduce(joint, axis=1)
    return density.sum(), np.exp(joint - density[:, None])


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_certified_values_are_a_fixed_point_of_em(name):
    problem = PROBLEMS[name]
    value, shares = log_likelihood(problem)
    np.testing.assert_allclose(value, problem.maximum["log_likelihood"], rtol=1e-6)
    mass = shares.sum(0)
    np.testing.assert_allclose(mass / len(shares), problem.maximum["weights"], rtol=1e-6)
    means = shares.T @ problem.x / mass[:, None]
    np.testing.assert_allclose(means, problem.maximum["means"], rtol=1e-6)


def test_gradients_at_the_maxima_are_below_1e_28():
    text = (load.DATA / "certified.json").read_text("utf-8")
    gradients = {name: float(p["maximum"]["gradient"]) for name, p in json.loads(text).items()}
    assert len(gradients) == 10 and max(gradients.values()) < 1e-28


def test_float32_represents_the_rows_with_a_far_offset():
    x = PROBLEMS["far offset"].x
    np.testing.assert_array_equal(x.astype(np.float32), x)
    np.testing.assert_array_equal(x, certify.problems()["far offset"][0])


@pytest.mark.thorough
def test_the_maker_makes_the_same_digits():
    pytest.importorskip("mpmath")
    name = "acidity-like"
    problem = PROBLEMS[name]
    x, _, _ = certify.problems()[name]
    np.testing.assert_array_equal(x, problem.x)

    class Near:  # what the maker reads of a mixture
        weights, means, covariances = (problem.maximum[key] for key in certify.ARRAYS)

    found = certify.certify(x, Near)
    stored = json.loads((load.DATA / "certified.json").read_text("utf-8"))[name]["maximum"]
    found.pop("gradient"), stored.pop("gradient")
    assert found == stored


@pytest.mark.thorough
def test_jaxgmm_finds_ten_digits_in_float64_and_eight_of_the_errors(example):
    for row in example.table("jaxgmm, float64"):
        assert min(row[key] for key in ("log-likelihood", *example.PARAMETERS)) >= 10, row
        assert row["standard errors"] >= 8, row


@pytest.mark.thorough
def test_float32_has_five_digits(example):
    """Of ℓ, the rows themselves have fewer where they are nearly singular."""
    rounded = example.table("jaxgmm, float64, of rows that are rounded to float32")
    for row, limit in zip(example.table("jaxgmm, float32"), rounded, strict=True):
        assert min(row[key] for key in example.PARAMETERS) >= 5, row
        assert row["log-likelihood"] >= min(5, limit["log-likelihood"] - 1), (row, limit)
