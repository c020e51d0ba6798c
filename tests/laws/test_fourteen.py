"""Fits of mclust's fourteen families: EM beside an independent one, and what is known of iris.

The ten families with constraints share one program each, of two components; the other four are in
every other test. The start is the mixture of labels of which three are wrong.
"""

import functools
import warnings

import fourteen
import jax
import numpy as np
import optax
import pytest
import reference

import jaxgmm
from jaxgmm import FAMILIES, Mixture, Prior
from jaxgmm.families.registry import FOURTEEN

NEW = [name for name in FOURTEEN if name in FAMILIES]
# −2ℓ + p log n, as mclust's up to their sign; mclust 6.0.0 stops short for VVE, at 605.2.
BIC = dict(zip(FOURTEEN, (1123.4, 1012.2, 1043.0, 956.3, 1007.3, 857.6, 688.1, 656.3, 657.2, 604.4,
                          644.6, 561.7, 658.3, 574.0), strict=True))  # fmt: skip
LABELS = (np.arange(150) >= 50).astype(int)
LABELS[[3, 90, 120]] = 1, 0, 0


@pytest.fixture(params=fourteen.each(NEW))
def name(request, x64):
    return request.param


@functools.cache
def first(name, k=2):
    """Weights, means, dense covariances and common axes of the labels' mixture."""
    x = rows()
    shares = np.eye(k)[LABELS if k == 2 else np.zeros(150, int)]
    mass = shares.sum(axis=0)
    means = shares.T @ x / mass[:, None]
    scatter = np.stack(
        [(r[:, None] * (x - m)).T @ (x - m) for r, m in zip(shares.T, means, strict=True)]
    )
    if name in ("EII", "EEI", "EEE"):
        scatter, counts = scatter.sum(axis=0)[None], mass.sum(keepdims=True)
    else:
        counts = mass
    covariances, axes = fourteen.covariances_of(scatter, counts, name)
    return mass / 150, means, np.broadcast_to(covariances, (k, 4, 4)), axes


@functools.cache
def rows():
    path = fourteen.IRIS
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(4))


def prior_of(strength):
    covariance = np.cov(rows().T, bias=True)
    return Prior(strength, strength * covariance, None, None, 0.0)


def fit(name, strength=0.0, dtype=np.float64, **settings):
    weights, means, covariances, _ = first(name)
    start = Mixture.from_parameters(weights, means.astype(dtype), covariances, family=name)
    return jaxgmm.fit(rows().astype(dtype), start, prior=prior_of(strength), **settings)


def test_em_equals_an_independent_one(name):
    """After 0, 1 and 10 steps, and at the end; without a prior, and with one."""
    weights, means, covariances, axes = first(name)
    for strength in (0.0, 2.0):
        for steps in (0, 1, 10):
            found = fit(name, strength, tolerance=0.0, max_steps=steps)
            expected = fourteen.em(weights, means, covariances, rows(), name, steps, strength, axes)
            assert reference.distance(found.mixture, *expected) < 1e-11, (strength, steps)
            truth = reference.log_likelihood(*expected, rows())
            assert abs(float(found.log_likelihood) - truth) < 1e-9 * 150


def test_fits_of_iris_have_the_known_criterion(name):
    found = fit(name, tolerance=1e-12)
    assert found.converged
    history = np.asarray(found.history)
    assert np.diff(history).min(initial=0) >= -1e-10 * abs(history[-1])
    count = int(jaxgmm.n_parameters(found.mixture))
    criterion = count * np.log(150) - 2 * float(found.log_likelihood)
    np.testing.assert_allclose(criterion, BIC[name], atol=0.06)


@pytest.mark.parametrize("name", fourteen.each(["EEI", "VEI", "VEE", "EVV", "VVE", "VEV"]))
def test_float32_stays_near_float64(name, x64):
    """The same steps until D < 1e-9, the same mixture, and a floor of D far below."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wide, narrow = (
            fit(name, dtype=dtype, tolerance=1e-9) for dtype in (np.float64, np.float32)
        )
        end = fit(name, dtype=np.float32, tolerance=0.0, max_steps=300)
    assert narrow.mixture.dtype == np.float32
    assert narrow.steps == wide.steps
    truth = wide.mixture.weights, wide.mixture.means, wide.mixture.covariances
    assert reference.distance(narrow.mixture, *map(np.asarray, truth)) < 1e-4
    assert abs(float(narrow.log_likelihood) - float(wide.log_likelihood)) < 1e-6 * 150
    assert 0 <= float(end.em_gain) < 1e-12


@pytest.mark.parametrize("one", fourteen.each(FOURTEEN))
def test_one_component_is_known(one, x64):
    """The covariance of all rows in the family's form; E.. and V.. are the same then."""
    found = jaxgmm.from_labels(rows(), np.zeros(150, int), family=one)
    criterion = {"II": 1804.085, "EI": 1522.120, "VI": 1522.120}.get(one[1:], 829.978)
    likelihood = reference.log_likelihood(*(np.asarray(part) for part in (
        found.weights, found.means, found.covariances)), rows())  # fmt: skip
    count = jaxgmm.n_parameters(found)
    np.testing.assert_allclose(count * np.log(150) - 2 * likelihood, criterion, atol=1e-3)


@pytest.mark.parametrize("one", fourteen.each(FOURTEEN, quick=("VEV", "EVV", "VVE")))
def test_one_feature(one, x64):
    """All fourteen are two families in one dimension, which mclust calls E and V."""
    x = rows()[:, 2:3]
    start = jaxgmm.from_labels(x, LABELS, family=one)
    assert jaxgmm.n_parameters(start) == 3 + (2 if one[0] == "V" else 1)
    expected = x[LABELS == 0].var(), x[LABELS == 1].var()
    if one[0] == "E":
        expected = (np.average(expected, weights=np.bincount(LABELS)),) * 2
    np.testing.assert_allclose(start.covariances.ravel(), expected, rtol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("one", "algorithm"),
    [
        ("VEE", jaxgmm.SQUAREM()),
        ("VVE", jaxgmm.SQUAREM()),
        ("VEV", jaxgmm.OverrelaxedEM()),
    ],
)
def test_other_algorithms_end_where_em_does(one, algorithm, x64):
    end = fit(one, 2.0, tolerance=1e-14)
    found = fit(one, 2.0, algorithm=algorithm, tolerance=1e-12, max_steps=200)
    assert found.converged
    np.testing.assert_allclose(found.objective, end.objective, atol=1e-8)
    truth = end.mixture.weights, end.mixture.means, end.mixture.covariances
    assert reference.distance(found.mixture, *map(np.asarray, truth)) < 1e-4


@pytest.mark.thorough
@pytest.mark.parametrize("one", NEW)
def test_the_certificate_knows_curvature_and_rate(one, x64):
    """Of two overlapping clusters, at a maximum: the verdict, and how fast D falls."""
    x, labels = rows()[50:], np.repeat([0, 1], 50)
    x = x[:, :2]
    prior = Prior(2.0, 2.0 * np.cov(x.T))
    start = jaxgmm.from_labels(x, labels, family=one)
    climb = lambda **settings: jaxgmm.fit(x, start, prior=prior, **settings)
    end = climb(tolerance=1e-24, max_steps=10_000)
    found = jaxgmm.certificate(end.mixture, x, prior=prior)
    assert found.verdict == "maximum"
    assert found.n_parameters == jaxgmm.n_parameters(end.mixture)
    assert found.gradient_norm < 1e-9
    last = int(end.steps) - 5
    gains = [float(climb(tolerance=0.0, max_steps=n).em_gain) for n in (last - 10, last)]
    np.testing.assert_allclose(1 - found.rate, 1 - (gains[1] / gains[0]) ** (1 / 20), rtol=0.01)


def test_what_is_not_of_the_family_is_explained(x64):
    turned = np.array([[2.0, 0.5], [0.5, 1.0]])
    wide, flat = np.diag([4.0, 1.0]), np.diag([1.0, 4.0])
    angle = (
        r"orientations of covariances\[0\] and covariances\[1\] differ by 0.39 rad, and {} needs"
    )
    volume = r"volumes \|Σ\|\^\(1/d\) differ by a factor of {}, and {} needs equal"
    along = (
        r"features 0 and 1 of covariances\[1\] have a correlation of 0.354, and {} needs axes al"
    )
    multiple = (
        r"one covariance is .* as large as a multiple of another in some direction, and {} nee"
    )
    shape = r"shapes differ by a factor of {} along an axis, and {} needs"
    for name, second, said in (
        ("EII", wide, "variances of a component differ by a factor of 4, and EII needs equal ones"),
        ("VII", wide, "variances of a component differ by a factor of 4, and VII needs equal ones"),
        ("EEI", flat, shape.format(4, "EEI")),
        ("EEI", 2 * wide, volume.format(2, "EEI")),
        ("VEI", flat, shape.format(4, "VEI")),
        ("EVI", 3 * flat, volume.format(3, "EVI")),
        ("VVI", turned, along.format("VVI")),
        ("EEE", flat, multiple.format("EEE")),
        ("EEE", 2 * wide, volume.format(2, "EEE")),
        ("VEE", turned, multiple.format("VEE")),
        ("EVE", 2 * wide, volume.format(2, "EVE")),
        ("VVE", turned, angle.format("VVE")),
        ("EEV", 2 * flat, volume.format(2, "EEV")),
        ("VEV", np.diag([9.0, 1.0]), shape.format(1.5, "VEV")),
        ("EVV", 3 * flat, volume.format(3, "EVV")),
    ):
        with pytest.raises(ValueError, match=f"not of family '{name}': .*{said}"):
            Mixture.from_parameters([0.5, 0.5], np.eye(2), np.stack([wide, second]), name)
    fine = Mixture.from_parameters([0.5, 0.5], np.eye(2), np.stack([wide, 3 * flat]), "VEV")
    np.testing.assert_allclose(fine.covariances, [wide, 3 * flat], rtol=1e-12)


def test_coordinates_of_factors_are_refused(x64):
    weights, means, covariances, _ = first("VVE")
    mixture = Mixture.from_parameters(weights, means, covariances, family="VVE")
    descent = jaxgmm.Gradient(optax.adam, learning_rate=0.1, coordinates="precision")
    with pytest.raises(ValueError, match="coordinates 'precision' describe a factor of the cov"):
        jaxgmm.fit(rows(), mixture, descent)
    em = jaxgmm.scale_by_em(150)
    with pytest.raises(ValueError, match="those of family 'VVE' do not follow from it"):
        em.update(mixture, em.init(mixture), mixture)


def test_files_and_estimators_take_them(tmp_path, x64):
    """Leaves come back to the bit, and scikit-learn's attributes make the same mixture."""
    pytest.importorskip("sklearn")
    from jaxgmm.sklearn import GaussianMixture, from_sklearn
    from jaxgmm.sklearn.convert import fitted_attributes

    for name in ("EII", "EEI", "VEI", "VEE", "VVE", "VEV"):
        weights, means, covariances, _ = first(name)
        mixture = Mixture.from_parameters(weights, means, covariances, family=name)
        jaxgmm.save(tmp_path / "model.npz", mixture)
        back = jaxgmm.load(tmp_path / "model.npz")
        assert back.family == name
        for leaf, other in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
            np.testing.assert_array_equal(leaf, other)
        model = GaussianMixture(2, covariance_type=name)
        for key, value in fitted_attributes(mixture).items():
            setattr(model, key, value)
        again = from_sklearn(model)
        np.testing.assert_allclose(again.covariances, covariances, rtol=1e-10, atol=1e-12)


def test_an_estimator_of_a_constrained_family():
    pytest.importorskip("sklearn")
    from jaxgmm.sklearn import GaussianMixture

    model = GaussianMixture(2, covariance_type="VEV", random_state=0, reg_covar=0).fit(rows())
    np.testing.assert_allclose(model.bic(rows()), BIC["VEV"], atol=0.1)
    assert model.precisions_cholesky_.shape == (2, 4, 4)
    np.testing.assert_allclose(np.tril(model.precisions_cholesky_, -1), 0)


@pytest.mark.thorough
def test_a_sweep_and_a_comparison_of_them(iris):
    found = jaxgmm.sweep(jax.random.key(0), iris, (1, 2), restarts=3, families=("VEV", "EEE"))
    assert list(found.fits) == ["VEV", "tied"]
    assert found.best("bic").mixture.family == "VEV"
    assert [round(row["BIC"]) for row in found.table()] == [830, 562, 830, 688]
    compared = jaxgmm.compare(
        jax.random.key(1), iris, 2, ["em", "squarem"], restarts=2, family="VVE"
    )
    assert len(compared.table()) == 2
