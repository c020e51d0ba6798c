"""What figures show is what the mixture says; they take axes, return them and open no window."""

import sys

import jax
import numpy as np
import pytest

import jaxgmm

pytest.importorskip("matplotlib")
from matplotlib.colors import same_color, to_rgba
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from jaxgmm import plot
from jaxgmm.plot.marginals import marginal
from jaxgmm.plot.style import color

COVARIANCES = np.array(
    [[[2, 1.2, 0.3], [1.2, 1, 0.2], [0.3, 0.2, 1]], np.diag([0.5, 1, 2]), np.eye(3)]
)


@pytest.fixture(scope="module")
def mixture():
    means = [[0, 0, 0], [6, 1, 2], [0, 9, 9]]
    return jaxgmm.Mixture.from_parameters([0.3, 0.7, 0.0], means, COVARIANCES)


@pytest.fixture(scope="module")
def rows(mixture):
    return np.asarray(jaxgmm.sample(jax.random.key(0), mixture, 4000)[0])


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.mark.thorough
def test_a_filled_ellipse_holds_the_mean_at_its_level(rows, ax):
    """Where `Uncertainty.draw` puts it."""
    one = jaxgmm.fit(rows, jaxgmm.initialize(jax.random.key(0), rows, 1)).mixture
    certain = jaxgmm.uncertainty(one, rows)
    plot.ellipses(one, ax, level=0.8, features=(0, 2), uncertainty=certain)
    filled = next(patch for patch in ax.patches if patch.get_fill())
    means = np.asarray(certain.draw(jax.random.key(0), 2000).means)[:, 0, [0, 2]]
    back = filled.get_patch_transform().inverted()
    inside = filled.get_path().contains_points(back.transform(means))
    assert inside.mean() == pytest.approx(0.8, abs=0.04)


def test_an_ellipse_holds_its_level(mixture, rows, ax):
    component = np.asarray(jaxgmm.sample(jax.random.key(0), mixture, 4000)[1])
    for level in (0.5, 0.9):
        one = Figure().subplots()
        assert plot.ellipses(mixture, one, level=level, features=(0, 2)) is one
        assert len(one.patches) == 2  # the absent component has none
        assert [text.get_text() for text in one.texts] == [f"{level:.0%}".replace("%", " %")]
        assert same_color(one.texts[0].get_color(), color(1))  # the heaviest is marked
        for k, patch in enumerate(one.patches):
            own = rows[component == k][:, [0, 2]]
            inside = patch.get_path().contains_points(
                patch.get_patch_transform().inverted().transform(own)
            )
            assert inside.mean() == pytest.approx(level, abs=0.03)
            assert same_color(patch.get_edgecolor(), color(k))
    with pytest.raises(ValueError, match="level is 95"):
        plot.ellipses(mixture, ax, level=95)
    with pytest.raises(ValueError, match="two features"):
        plot.ellipses(mixture, ax, features=(0,))
    with pytest.raises(ValueError, match="a feature to draw is 3"):
        plot.ellipses(mixture, ax, features=(0, 3))
    with pytest.raises(ValueError, match="ax is a ndarray, and ellipses are drawn of the mixture"):
        plot.ellipses(mixture, np.zeros((3, 2)))


def test_marginals_are_densities(mixture, rows):
    for features in ([0], [2, 0]):
        drawn = marginal(mixture, features)
        grid = np.meshgrid(*(np.linspace(*drawn.extent(i, 8), 300) for i in range(len(features))))
        points = np.stack(grid, axis=-1).reshape(-1, len(features))
        cell = np.prod([np.diff(np.unique(axis)[:2])[0] for axis in grid])
        np.testing.assert_allclose(
            drawn.component_densities(points).sum(axis=1) * cell, [0.3, 0.7], rtol=1e-2
        )
    whole = marginal(mixture, [0, 1, 2]).component_densities(rows[:5].astype(float)).sum(axis=0)
    np.testing.assert_allclose(np.log(whole), jaxgmm.log_prob(mixture, rows[:5]), rtol=1e-4)


def test_density_of_one_feature_is_a_curve_and_of_two_regions(mixture, ax):
    assert plot.density(mixture, ax, features=0) is ax
    *parts, total = ax.lines
    assert [line.get_color() for line in parts] == [color(0), color(1)]
    across, height = total.get_data()
    assert np.trapezoid(height, across) == pytest.approx(1, abs=0.01)
    with pytest.raises(ValueError, match="one or two features"):
        plot.density(mixture, features=(0, 1, 2))


def test_regions_of_the_density_hold_the_shares_they_are_marked_with(mixture, rows, ax):
    plot.density(mixture, ax, features=(1, 2), levels=(0.5, 0.9))
    (lines,) = (c for c in ax.collections if isinstance(c, QuadContourSet) and not c.filled)
    height = marginal(mixture, [1, 2]).component_densities(rows[:, 1:].astype(float)).sum(axis=0)
    held = [np.mean(height > level) for level in sorted(lines.levels, reverse=True)]
    np.testing.assert_allclose(held, [0.5, 0.9], atol=0.02)
    marks = {text.get_text() for text in lines.labelTexts}
    assert marks <= {"50 %", "90 %"} and marks
    assert lines.labelFmt == dict(zip(lines.levels, ("90 %", "50 %"), strict=True))


def test_rows_of_one_feature_are_seen_alone(mixture, rows):
    ax = plot.responsibilities(mixture, rows, features=1)
    low, high = ax.get_xlim()
    assert low <= rows[:, 1].min() and rows[:, 1].max() <= high
    assert high - low < 1.2 * np.ptp(rows[:, 1])


def test_color_tells_the_component_and_strength_the_certainty(mixture, ax):
    between = np.linspace([0, 0, 0], [6, 1, 2], 50)
    plot.responsibilities(mixture, between, ax)
    shares = np.asarray(jaxgmm.responsibilities(mixture, between))
    faces, at = ax.collections[0].get_facecolors(), ax.collections[0].get_offsets()
    order = np.argsort(at[:, 0])
    likeliest, strength = shares.argmax(axis=1), faces[order, 3]
    for face, k in zip(faces[order], likeliest, strict=True):
        np.testing.assert_allclose(face[:3], to_rgba(color(k))[:3])
    assert np.all(np.diff(strength[np.argsort(shares.max(axis=1))]) >= -1e-6)
    assert strength.max() > 3 * strength.min()


def test_pairs_of_one_two_and_three_features(mixture, rows):
    axes = plot.pairs(mixture, rows, names=["a", "b", "c"], weight=np.ones(4000))
    assert axes.shape == (3, 3)
    assert [one.get_xlabel() for one in axes[2]] == ["a", "b", "c"]
    assert [one.get_ylabel() for one in axes[:, 0]] == ["", "b", "c"]
    assert axes[1, 0].get_ylim() == axes[1, 1].get_xlim()
    assert not axes[0, 1].axison and len(axes[2, 1].patches) == 2
    one = Figure().subplots(1, 1, squeeze=False)
    assert plot.pairs(mixture, rows, one, features=[1])[0, 0] is one[0, 0]
    assert plot.pairs(mixture).shape == (3, 3)
    said = [
        plot.pairs(mixture, features=some)[0, -1].get_legend().get_title().get_text()
        for some in ([0, 2], None)
    ]
    assert said == ["2 of 3 features\nellipses contain 90 %", "ellipses contain 90 %"]
    with pytest.raises(ValueError, match="2 names for"):
        plot.pairs(mixture, rows, names=["a", "b"])


@pytest.mark.parametrize("features", [(0, 0), (0, 7), (0, 0.5)])
def test_features_that_there_are_not_are_refused(features, mixture, rows):
    draw = lambda mixture, features: plot.responsibilities(mixture, rows, features=features)
    for figure in (plot.ellipses, plot.density, draw):
        with pytest.raises(ValueError, match="feature"):
            figure(mixture, features=features)


def test_traces_fall_to_the_best(mixture, rows):
    fits = [
        jaxgmm.fit(rows[:200], jaxgmm.initialize(jax.random.key(i), rows[:200], 2), max_steps=30)
        for i in range(2)
    ]
    ax = plot.traces({"first": fits[0], "second": fits[1]})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first", "second"]
    *lines, rounding = ax.lines
    assert rounding.get_ydata()[0] < 1e-2
    for line, fit in zip(lines, fits, strict=True):
        assert len(line.get_xdata()) == int(fit.steps) + 1
        drawn = line.get_ydata()[np.isfinite(line.get_ydata())]
        assert drawn[0] > drawn[-1] > rounding.get_ydata()[0]
    ends = [fit.objective for fit in fits]
    assert np.isnan(lines[int(np.argmax(ends))].get_ydata()[-1])  # no gap to itself
    batch = jaxgmm.Fit(
        *(
            np.stack([np.asarray(a)] * 2) if name != "mixture" else None
            for name, a in vars(fits[0]).items()
        )
    )
    assert len(plot.traces(batch).lines) == 3


def test_no_window_is_ever_opened(mixture, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    for draw in (plot.pairs, plot.density, plot.ellipses):
        draw(mixture)
