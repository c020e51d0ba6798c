"""A power of two in the unit of the rows changes the unit of a fit, and nothing else."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import QUICK_FAMILIES

import jaxgmm
from jaxgmm.fitting import units
from jaxgmm.numerics.powers_of_two import add_logarithm_of_power

EXPONENTS = (-30, -12, 12, 30)  # each is large enough for another unit
N, D, K = 120, 2, 2
RANDOM = np.random.default_rng(2)
X = (RANDOM.normal(size=(N, D)) + 2.5 * (np.arange(N) % 2)[:, None]).astype(np.float32)
WEIGHT = RANDOM.uniform(0.5, 2, N).astype(np.float32)
NOISE = np.float32([0.1, 0.2])  # variances
PRIOR = jaxgmm.Prior(
    strength=0.5, scatter=0.5 * np.eye(D), concentration=1.5, mean=np.ones(D), mean_strength=0.2
)


def scale(exponent):
    return np.float32(2.0**exponent)


def start_of(family="full", exponent=0):
    rows = X * scale(exponent)
    return jaxgmm.from_labels(rows, (X.sum(1) > 3).astype(int), K, family=family, prior=None)


def prior_of(exponent):
    unit = scale(exponent)
    return dataclasses.replace(PRIOR, scatter=PRIOR.scatter * unit**2, mean=PRIOR.mean * unit)


def in_unit_of_x(mixture, exponent):
    """Weights, means and covariances for X, of a mixture for the rescaled rows."""
    unit = float(scale(exponent))
    return mixture.weights, mixture.means / unit, mixture.covariances / unit / unit


def close(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


each_family = pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name in QUICK_FAMILIES else pytest.mark.thorough)
        for name in (*jaxgmm.FAMILIES, "factors-1", "tied-ppca-1")
    ],
)


@each_family
def test_the_unit_changes_nothing_else(family):
    start = start_of(family)
    run = lambda exponent: jaxgmm.fit(
        X * scale(exponent), start.rescale(exponent), weight=WEIGHT, prior=prior_of(exponent),
        tolerance=1e-6, max_steps=100,
    )  # fmt: skip
    plain = run(0)
    covariances = len(plain.mixture.frame.log_determinant)
    for exponent in EXPONENTS:
        found = run(exponent)
        assert found.steps == plain.steps
        close(in_unit_of_x(found.mixture, exponent), in_unit_of_x(plain.mixture, 0), 5e-6)
        of_rows = -exponent * np.log(2) * D * WEIGHT.sum()
        of_prior = -exponent * np.log(2) * D * float(PRIOR.strength) * covariances
        np.testing.assert_allclose(found.history, plain.history + of_rows + of_prior, rtol=1e-6)
        np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood + of_rows, rtol=1e-6)


def test_tiny_rows_have_all_digits():
    """Stored logarithms near 21 would end EM 1e-5 standard deviations too early."""
    start = start_of()
    run = lambda exponent: jaxgmm.fit(
        X * scale(exponent), start.rescale(exponent), prior=None, tolerance=0.0, max_steps=300
    )
    close(in_unit_of_x(run(-30).mixture, -30)[1], run(0).mixture.means, 1e-6)


def test_incomplete_rows_with_noise_and_labels():
    x = np.where(RANDOM.uniform(size=X.shape) < 0.1, np.nan, X)
    noise = RANDOM.uniform(0, 0.3, size=X.shape).astype(np.float32)
    labels = np.where(np.arange(N) < 5, np.arange(N) % 2, -1)
    rows = lambda unit: jaxgmm.Observed(x * unit, noise=noise * unit**2, labels=labels)
    start = start_of()
    run = lambda exponent: jaxgmm.fit(
        rows(scale(exponent)), start.rescale(exponent), prior=None, tolerance=1e-6
    )
    plain, tiny = run(0), run(-30)
    assert tiny.steps == plain.steps
    close(in_unit_of_x(tiny.mixture, -30), in_unit_of_x(plain.mixture, 0), 5e-6)
    rise = 30 * np.log(2) * np.sum(~np.isnan(x))
    np.testing.assert_allclose(tiny.history, plain.history + rise, rtol=1e-6)


def blocks(unit):
    return (X[i : i + 50] * unit for i in range(0, N, 50))


@pytest.mark.parametrize(
    "of_kind",
    [
        pytest.param(lambda unit: jaxgmm.Stream(lambda: blocks(unit)), id="stream"),
        pytest.param(
            lambda unit: jaxgmm.Shards(X * unit), id="shards", marks=pytest.mark.thorough
        ),
        pytest.param(
            lambda unit: jaxgmm.Observed(jaxgmm.Stream(lambda: blocks(unit)), noise=NOISE * unit**2),
            id="stream with noise of all rows", marks=pytest.mark.thorough,
        ),
    ],
)  # fmt: skip
def test_other_kinds_of_rows(of_kind):
    runs = lambda exponent: jaxgmm.fit(
        of_kind(scale(exponent)), start_of().rescale(exponent), prior=None, max_steps=5
    )
    tiny, plain = runs(-30), runs(0)
    close(in_unit_of_x(tiny.mixture, -30), in_unit_of_x(plain.mixture, 0), 5e-6)
    np.testing.assert_allclose(tiny.history, plain.history + 30 * np.log(2) * X.size, rtol=1e-6)


def test_a_resumed_fit_a_callback_and_a_rule_in_the_unit_of_the_data(tmp_path):
    rows, values = X * scale(-30), []
    start = jaxgmm.from_labels(rows, (X[:, 0] > 3).astype(int), K, prior=None)
    run = lambda most, **other: jaxgmm.fit(
        rows, start, prior=None, tolerance=1.1e-5, stopping="relative", max_steps=most, **other
    )
    path = tmp_path / "fit.npz"
    run(4, checkpoint=path)
    resumed = run(100, checkpoint=path)
    unbroken = run(100, callback=lambda step, objective, gain: values.append(objective))
    assert resumed.converged and resumed.steps == unbroken.steps > 5
    close(in_unit_of_x(resumed.mixture, -30), in_unit_of_x(unbroken.mixture, -30), 5e-6)
    np.testing.assert_allclose(resumed.history, unbroken.history, rtol=1e-6)
    jax.effects_barrier()
    np.testing.assert_array_equal(np.float32(values), unbroken.history[1:])
    history = np.asarray(unbroken.history)
    changes = np.abs(np.diff(history) / history[1:])
    assert (changes[:-1] >= 1.1e-5).all() and changes[-1] < 1.1e-5
    value = jaxgmm.log_likelihood(unbroken.mixture, rows)
    np.testing.assert_allclose(unbroken.log_likelihood, value, rtol=1e-6)


@pytest.mark.thorough
def test_derivatives_of_tiny_rows():
    start = start_of().rescale(-30)
    mean = lambda shift: jaxgmm.fit(X * scale(-30) + shift, start).mixture.means[0, 0]
    np.testing.assert_allclose(jax.grad(mean)(np.float32(0)), 1, rtol=1e-4)


def test_the_unit_is_that_of_the_start():
    start = start_of()
    assert [units.choose_exponent(start.rescale(e)) for e in (-30, 0, 8, 30)] == [30, 0, 0, -30]
    tiny = start.rescale(-30)
    absent = dataclasses.replace(tiny, logits=tiny.logits.at[1].set(-np.inf))
    covariance = dataclasses.replace(
        tiny.covariance, log_diagonal=tiny.covariance.log_diagonal.at[1].set(0)
    )
    assert units.choose_exponent(dataclasses.replace(absent, covariance=covariance)) == 30
    traced = []
    jax.eval_shape(lambda mixture: traced.append(units.choose_exponent(mixture)), tiny)
    assert traced == [0]


def test_logarithms_of_powers_are_rounded_once():
    values = np.float32(RANDOM.normal(size=1000))
    for exponent in (-40, -7, 30):
        exact = values.astype(float) + exponent * np.log(2)
        found = add_logarithm_of_power(values, exponent)
        spacing = np.spacing(np.abs(np.float32(exact)))
        assert (np.abs(found - exact) <= 0.51 * spacing + 1e-7).all()
