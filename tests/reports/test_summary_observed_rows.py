"""What a summary says of rows that are not fully observed."""

import numpy as np
import pytest

import jaxgmm

ROWS = np.random.default_rng(0).normal(size=(20, 2))


@pytest.fixture(scope="module")
def mixture():
    covariances = [np.eye(2), np.diag([1.0, 1e-5])]
    return jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0, 0], [1, 0]], covariances)


def test_missing_values_and_labels_are_counted(mixture):
    gaps = np.where(np.arange(40).reshape(20, 2) % 7 == 3, np.nan, ROWS)
    labels = np.where(np.arange(20) < 4, 1, -1)
    observed = jaxgmm.Observed(gaps, labels=labels)
    text = jaxgmm.summary(mixture, observed, features=["width", "height"])
    missing = np.isnan(gaps).sum(axis=0)
    assert f"{missing.sum()} of 40 values are missing" in text
    assert f"width {missing[0]}" in text and f"height {missing[1]}" in text
    assert "4 of 20 rows have a known component" in text


@pytest.mark.parametrize("shape", [(), (2,), (20, 2), (2, 2), (20, 2, 2)])
def test_components_that_the_noise_explains_are_named(mixture, shape):
    matrix = 0.9 * np.eye(2) - 0.1 * np.eye(2)[::-1]
    noise = 0.04 * (np.broadcast_to(matrix, shape) if shape[-2:] == (2, 2) else np.ones(shape))
    text = jaxgmm.summary(mixture, jaxgmm.Observed(ROWS, noise=noise))
    assert "component 2 is not resolved: noise explains its spread" in text
    assert "component 1 is not resolved" not in text
    size = "0.19" if shape[-2:] == (2, 2) else "0.2"
    assert f"(median standard deviations: feature 1 {size}, feature 2 {size})" in text
    fine = jaxgmm.summary(mixture, jaxgmm.Observed(ROWS, noise=1e-3 * noise))
    assert "not resolved" not in fine
