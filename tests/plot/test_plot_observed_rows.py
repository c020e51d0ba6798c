"""Figures of rows that are not fully observed: imputed values and error bars."""

import numpy as np
import pytest

import jaxgmm

pytest.importorskip("matplotlib")

from jaxgmm import plot

ROWS = np.array([[0.0, np.nan, 1.0], [1.0, 1.0, np.nan], [0.5, -1.0, 0.3], [0.2, 0.1, -0.4]])


@pytest.fixture(scope="module")
def mixture():
    covariance = [[[1.0, 0.5, 0.2], [0.5, 1.0, 0.1], [0.2, 0.1, 1.0]]]
    return jaxgmm.Mixture.from_parameters([1.0], np.zeros((1, 3)), covariance)


def panel_of(mixture, observed, features=(0, 2)):
    return plot.pairs(mixture, observed, features=list(features))[1, 0]


def test_imputed_values_are_marked(mixture):
    observed = jaxgmm.Observed(ROWS)
    panel = panel_of(mixture, observed)
    crosses = next(found for found in panel.collections if found.get_label() == "imputed")
    filled = np.asarray(jaxgmm.impute(mixture, observed))
    np.testing.assert_allclose(crosses.get_offsets(), filled[[1]][:, [0, 2]], rtol=1e-6)
    complete = panel_of(mixture, jaxgmm.Observed(np.nan_to_num(ROWS)))
    assert all(found.get_label() != "imputed" for found in complete.collections)


@pytest.mark.parametrize("kind", ["shared", "variances", "covariances"])
def test_error_bars_are_standard_deviations_of_the_noise(mixture, kind):
    """They reach as far to both sides, and imputed values have none."""
    variances = np.array([0.04, 1.0, 0.09])
    each = variances * np.arange(1, 5)[:, None]
    noise = {"shared": variances, "variances": each,
             "covariances": each[:, None] * np.eye(3) + 0.001 * (1 - np.eye(3))}[kind]  # fmt: skip
    panel = panel_of(mixture, jaxgmm.Observed(ROWS, noise=noise))
    bars = panel.containers[0].lines[2]
    deviations = np.sqrt(np.broadcast_to(variances if kind == "shared" else each, (4, 3)))
    for bar, feature in zip(bars, (0, 2), strict=True):
        ends = np.array(bar.get_segments())
        lengths = np.abs(ends[:, 1] - ends[:, 0]).max(axis=1)
        missing = np.isnan(ROWS[:, feature])
        np.testing.assert_allclose(
            lengths, 2 * np.where(missing, 0, deviations[:, feature]), rtol=1e-6
        )
