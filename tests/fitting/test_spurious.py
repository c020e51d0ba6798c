"""Which components are artifacts, and which are outliers."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.fitting.spurious import doubts, spacing_of

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(300, 3))
NO_STEPS = np.zeros(3)
PRIOR = jaxgmm.Prior.from_data


def found(x, labels, family="full", prior="default", steps=NO_STEPS):
    """The doubts about components made of labeled rows."""
    prior = PRIOR(x) if prior == "default" else prior
    mixture = jaxgmm.from_labels(x, labels, family=family, prior=prior)
    sums = jaxgmm.e_step(mixture, x)
    return doubts(mixture, sums, jnp.cov(CLOUD.T, bias=True), prior, jnp.asarray(steps))


def with_rows(rows):
    """The cloud, and rows of a component of their own."""
    rows = np.atleast_2d(rows)
    return np.concatenate([CLOUD, rows]), np.repeat([0, 1], [len(CLOUD), len(rows)])


def test_a_sound_component_is_in_no_doubt(family, x64):
    x, labels = with_rows(CLOUD[:100] * 0.2 + 4)
    for doubt in found(x, labels, family):
        assert not doubt.any()


@pytest.mark.parametrize(
    ("one_family", "few", "enough"),
    [
        ("VII", 1, 2), ("VEI", 1, 2), ("VVI", 2, 4), ("VEV", 3, 4),
        *(pytest.param(*case, marks=pytest.mark.thorough) for case in (("VEE", 1, 2), ("VVE", 2, 4))),
    ],
)  # fmt: skip
def test_a_narrow_component_needs_rows_for_its_own_parameters(one_family, few, enough, x64):
    """Without a prior: volume, shape and axes, where they are not common, must follow from rows."""
    spot = CLOUD[0]
    narrow = jaxgmm.Mixture.from_parameters(
        [0.98, 0.02], [CLOUD.mean(axis=0), spot], np.stack([np.eye(3), 1e-4 * np.eye(3)]),
        family=one_family,
    )  # fmt: skip
    for rows in (few, enough):
        x = np.concatenate([CLOUD[1:], np.repeat(spot[None], rows, axis=0)])
        sums = jaxgmm.e_step(narrow, x)
        np.testing.assert_allclose(sums.mass[1], rows, rtol=0.05)
        doubt = doubts(narrow, sums, jnp.cov(CLOUD.T, bias=True), None, jnp.asarray(NO_STEPS))
        assert list(doubt.artifact) == [False, rows == few]


@pytest.mark.parametrize("far", [1, 1e2, 1e6])
def test_few_rows_are_outliers_where_they_are_far(far, x64):
    x, labels = with_rows(np.full(3, float(far)))
    doubt = found(x, labels)
    assert list(doubt.outlier) == [False, far > 1]
    assert list(doubt.artifact) == [False, far == 1]


def test_a_spike_far_away_is_no_outlier(x64):
    x, labels = with_rows(np.full(3, 1e3))
    weak = PRIOR(x, strength=1e-7)
    doubt = found(x, labels, prior=weak)
    assert list(doubt.artifact) == [False, True] and not doubt.outlier.any()


@pytest.mark.parametrize("one_family", ["full", "diagonal"])
def test_rows_of_one_value_are_held_up_by_the_prior(one_family, x64):
    rows = CLOUD[:60] * 0.5 + 1
    tied = np.c_[rows[:, :2], np.ones(60)]
    assert list(found(*with_rows(rows), one_family).artifact) == [False, False]
    assert list(found(*with_rows(tied), one_family).near_singular) == [False, True]
    # A stronger prior is meant to hold them up; so is a ridge.
    x, labels = with_rows(tied)
    assert not found(x, labels, one_family, prior=PRIOR(x, strength=5.0)).artifact.any()


def test_rows_in_a_plane_are_held_up_by_the_prior(x64):
    rows = RNG.normal(size=(60, 3))
    flat = np.c_[rows[:, :2], rows[:, :2].sum(axis=1)] + 1
    assert list(found(*with_rows(flat)).near_singular) == [False, True]
    assert not found(*with_rows(flat), "diagonal").artifact.any()


def test_widths_below_a_step_are_rounding(x64):
    x, labels = with_rows(CLOUD[:60] * 0.1 + 1)
    width = (CLOUD[:60, 2] * 0.1).std()
    for ratio, expected in ((0.9, False), (1.2, True)):
        steps = np.array([0, 0, ratio * width * 12**0.5])
        assert list(found(x, labels, steps=steps).near_singular) == [False, expected]


def test_steps_are_gaps_between_values_that_rows_share():
    answers = RNG.integers(1, 6, 300).astype(float)
    percent = RNG.integers(0, 1000, 300) * 0.1
    few_ties = np.r_[CLOUD[:200, 0], CLOUD[:100, 0] + 1, 0, 0][:300]
    steps = spacing_of(np.c_[answers, np.round(CLOUD[:, 0]) * 0.1, percent, few_ties, np.ones(300)])
    np.testing.assert_allclose(steps[:2], [1, 0.1])
    assert steps[2] in (0, pytest.approx(0.1)) and list(steps[3:]) == [0, 0]
