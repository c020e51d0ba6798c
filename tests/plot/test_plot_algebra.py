"""Figures of conditionals, modes, plans and clusters show what the functions return."""

import jax
import numpy as np
import pytest

import jaxgmm

pytest.importorskip("matplotlib")
from jaxgmm import plot

COVARIANCES = [[[1, 0.8], [0.8, 1]], [[1, -0.5], [-0.5, 0.8]], np.eye(2)]


@pytest.fixture(scope="module")
def mixture():
    return jaxgmm.Mixture.from_parameters([0.4, 0.6, 0.0], [[0, 0], [9, 3], [0, 50.0]], COVARIANCES)


def test_the_band_encloses_its_level_and_the_mean_is_that_of_regress(mixture):
    rows = np.asarray(jaxgmm.sample(jax.random.key(0), mixture, 500)[0])
    ax = plot.conditional(mixture, "a", "b", rows=rows, level=0.8, names=["a", "b"])
    dots, low, high, mean = ax.lines
    x = mean.get_xdata()
    np.testing.assert_allclose(
        mean.get_ydata(), jaxgmm.regress(mixture, 0, x[:, None]).mean[:, 0], rtol=1e-5
    )
    inside = np.interp(rows[:, 0], x, low.get_ydata()) < rows[:, 1]
    inside &= rows[:, 1] < np.interp(rows[:, 0], x, high.get_ydata())
    assert inside.mean() == pytest.approx(0.8, abs=0.06)
    np.testing.assert_array_equal(dots.get_ydata(), rows[:, 1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")
    with pytest.raises(ValueError, match="two different features"):
        plot.conditional(mixture, 0, 0)
    with pytest.raises(ValueError, match="one feature is drawn given another"):
        plot.conditional(mixture, [0, 1], 1)
    with pytest.raises(ValueError, match="level is 2"):
        plot.conditional(mixture, 0, 1, level=2)


def test_stars_are_the_modes_and_lines_lead_to_them(mixture):
    ax = plot.modes(mixture)
    stars = np.stack(ax.lines[-1].get_data(), axis=1)
    points, mode_of = jaxgmm.modes(mixture)
    np.testing.assert_allclose(stars, points, rtol=1e-6)
    line = np.stack(ax.lines[0].get_data(), axis=1)
    np.testing.assert_allclose(line, np.stack([mixture.means[0], points[mode_of[0]]]), rtol=1e-6)
    one = plot.modes(mixture, features=1)
    assert one.get_legend() is not None
    with pytest.raises(ValueError, match="features is empty"):
        plot.modes(mixture, features=[])


def test_arrows_are_the_plan(mixture):
    moved = mixture.translate(np.array([1.0, 8.0]))
    plan = jaxgmm.mw2_plan(mixture, moved)
    ax = plot.transport(plan)
    assert len(ax.patches) == 4  # absent components have none
    ends = sorted(tuple(text.xy) for text in ax.texts)
    np.testing.assert_allclose(ends, [[1, 8], [10, 11]], atol=1e-5)
    with pytest.raises(ValueError, match="two features"):
        plot.transport(plan, features=(0,))


def test_the_curve_is_the_entropy(mixture):
    x = jaxgmm.sample(jax.random.key(0), mixture, 100)[0]
    found = jaxgmm.combine(mixture, x)
    ax = found.plot()
    assert ax.lines[0].get_ydata().tolist() == [found.entropy[1], found.entropy[2]]
    assert found.plot(ax) is ax
