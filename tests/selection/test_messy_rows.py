"""Sweeps over rows as people have them: outliers, tied values, collinear columns, weights that are
shares. K is chosen as if the flaw were not there, and one warning says what was set aside."""

import re
import warnings

import jax
import numpy as np
import pytest

import jaxgmm

KEY = jax.random.key(0)
rng = lambda seed=0: np.random.default_rng(seed)


def incomes(far=(), seed=1):
    r = rng(seed)
    groups = r.normal(30000, 2700, 500), r.normal(59600, 5300, 500)
    return np.concatenate([*groups, np.ravel(far)])[:, None]


def giants():
    x, r = incomes(), rng(5)
    x[r.choice(1000, 5, replace=False), 0] = np.exp(r.normal(15, 2, 5))
    return x


OUTLIERS = {
    "none": incomes(),
    "one at 1e6": incomes([1e6]),
    "one at 1e7": incomes([1e7]),
    "one at 1e8": incomes([1e8]),
    "five": incomes([1e6, 2e6, 1.5e7, 3e6, 8e5]),
    "twenty alike": incomes([1e7] * 20),
    "twenty apart": incomes(rng(3).uniform(2e5, 1e7, 20)),
    "log-normal giants": giants(),
}


QUICK = "one at 1e7", "five", "twenty alike"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough) for name in OUTLIERS],
)
def test_outliers_do_not_hide_groups(name, x64):
    x = OUTLIERS[name]
    found = jaxgmm.sweep(KEY, x, range(1, 5), restarts=8, tolerance=1e-7)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        best = found.best("bic").mixture
    assert len(said) <= 1
    assert (best.n_components == 2) if name == "none" else best.n_components in (3, 4)
    order = np.argsort(best.means[:, 0])[:2]
    np.testing.assert_allclose(best.means[order, 0], [29900, 59400], rtol=0.02)
    widths = np.sqrt(np.asarray(best.covariances)[order, 0, 0])
    np.testing.assert_allclose(widths, [2700, 5300], rtol=0.15)
    if name.startswith("one"):
        assert best.n_components == 3
        assert f"describes 1 row (row 1001: {x[-1, 0]:.8g})" in str(said[0].message)
        assert said[0].filename == __file__
    if name == "twenty alike":
        assert "describes 20 rows with feature 1 = 1e+07" in str(said[0].message)
    if name == "none":
        assert not said


def answers():
    """Three groups of answers from 1 to 5 to eight questions."""
    r = rng()
    middle = np.array([[1.5] * 4 + [4] * 4, [4] * 8, [3] * 4 + [2] * 4])
    kind = r.integers(0, 3, 595)
    return np.clip(np.round(middle[kind] + r.normal(0, 0.9, (595, 8))), 1, 5)


def counts():
    """Two groups, and a count that is mostly zero."""
    r = rng()
    group = r.integers(0, 2, 600)
    count = r.poisson(np.where(group, 6, 2)) * (r.random(600) > 0.4)
    return np.c_[r.normal(4 * group, 1), count, r.normal(-3 * group, 1)].astype(float)


def saturated():
    r = rng()
    x = np.concatenate([r.normal(2, 1, (400, 2)), r.normal(6, 1, (200, 2))])
    return np.minimum(x, 6.5)


def percentages():
    """Two groups of three shares in steps of 0.1, whose sum is 99.9, 100 or 100.1."""
    r = rng()
    x = np.concatenate([r.dirichlet([8, 4, 2], 300), r.dirichlet([2, 5, 9], 300)])
    return np.round(100 * x, 1)


def prices():
    r = rng()
    x = np.exp(np.concatenate([r.normal(2.5, 0.4, 400), r.normal(4.5, 0.3, 300)]))
    return np.c_[np.floor(x) + 0.99, r.normal(size=700) + (np.arange(700) < 400)]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("x", "family", "most", "said"),
    [
        (answers(), "diagonal", 3, r"describes \d+ rows with q\d = [1-5]"),
        (counts(), "full", 3, r"describes \d+ rows with q2 = \d+"),
        (saturated(), "full", 3, r"describes \d+ rows with q[12] = 6.5"),
        (percentages(), "full", 3, r"that lie in a plane \(q3 = .* − q1 − q2\)"),
        (prices(), "full", 3, None),
    ],
    ids=["answers", "counts", "saturated", "percentages", "prices"],
)
def test_spikes_on_tied_values_are_set_aside(x, family, most, said, x64):
    names = [f"q{i + 1}" for i in range(x.shape[1])]
    found = jaxgmm.sweep(
        KEY, x, range(1, 6), restarts=8, families=family, features=names, tolerance=1e-7
    )
    if said is None:
        assert found.best().mixture.n_components <= most
        return
    with pytest.warns(UserWarning, match="BIC lower by") as warned:
        best = found.best()
    assert best.mixture.n_components <= most
    assert len(warned) == 1
    assert re.search(said, str(warned[0].message)), warned[0].message


def collinear(noise=0.0):
    r = rng()
    x = np.concatenate([r.normal([1, 2], 1, (300, 2)), r.normal([5, 7], 0.7, (200, 2))])
    x = np.c_[x, x.sum(axis=1)]
    return x + r.normal(0, noise, x.shape)


@pytest.mark.thorough
def test_collinear_columns_are_named(x64):
    x, names = collinear(), ["a", "b", "total"]
    found = jaxgmm.sweep(KEY, x, (1, 2), restarts=4, features=names)
    with pytest.warns(UserWarning, match=r"every fit failed.*since total = a \+ b"):
        found.best()
    for row in found.table():
        assert row["failed"] >= 4
        assert np.isnan([row[name] for name in ("log-likelihood", "AIC", "BIC", "ICL")]).all()
    prior = jaxgmm.Prior.from_data(x, ridge=1e-6)
    ridged = jaxgmm.sweep(KEY, x, (1, 2, 3), restarts=4, prior=prior)
    assert ridged.best().mixture.n_components == 2
    assert jaxgmm.sweep(KEY, x, (1, 2), restarts=4, families="diagonal").best().converged

    nearly = jaxgmm.sweep(KEY, collinear(1e-9), (1, 2), restarts=4, features=names)
    with pytest.warns(UserWarning, match=r"K = (1, )?2 failed, since total = a \+ b"):
        nearly.best()


@pytest.mark.thorough
def test_a_comparison_of_failed_fits_says_why(x64):
    with pytest.warns(UserWarning, match=r"Every fit failed, since c = a \+ b"):
        jaxgmm.compare(KEY, collinear(), 2, ["em"], restarts=2, features=["a", "b", "c"])


@pytest.mark.thorough
def test_weights_that_sum_to_one(x64):
    v = np.linspace(-3, 9, 40)
    share = np.exp(-0.5 * v**2) + np.exp(-0.5 * (v - 6) ** 2)
    share /= share.sum()
    x, start = v[:, None], jaxgmm.from_labels(v[:, None], v > 3)
    with pytest.warns(UserWarning, match="they count rows") as warned:
        jaxgmm.fit(x, start, weight=share)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="they count rows"):
        jaxgmm.sweep(KEY, x, 2, restarts=2, weight=share)
    found = jaxgmm.fit(x, start, weight=1000 * share)
    np.testing.assert_allclose(np.sqrt(found.mixture.covariances).ravel(), 1, rtol=0.02)
    jaxgmm.fit(x, start, weight=share, prior=None)  # no prior: the weights' sum cancels
