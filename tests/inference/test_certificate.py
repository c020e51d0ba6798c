"""Certificates: Hessian, EM's rate, and what kind of point a mixture is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import Mixture, Prior, certificate
from jaxgmm.data.arrays import _call_function
from jaxgmm.data.rows import Rows
from jaxgmm.inference.certificate import _certify
from jaxgmm.internal.compiling import jit_with_options
from jaxgmm.objective.curvature import RELATIVE

N, D, K = 60, 2, 2
RNG = np.random.default_rng(4)
X = np.concatenate(
    [RNG.normal(size=(N // 2, D)), RNG.normal(size=(N // 2, D)) * [0.6, 1.5] + [1.5, 1.0]]
)
X[:, 1] += 0.3 * X[:, 0] ** 2  # skewed
WEIGHT = RNG.uniform(0.3, 2.0, N)
MEAN = WEIGHT @ X / WEIGHT.sum()
SCATTER = (WEIGHT[:, None] * (X - MEAN)).T @ (X - MEAN) / WEIGHT.sum()
PRIOR = dict(
    strength=25.0, scatter=25.0 * SCATTER, concentration=8.0, mean=MEAN + 0.1, mean_strength=0.7
)
# None of the prior but what leaves a maximum of the likelihood where it is, in the same program.
FLAT = PRIOR | dict(strength=0.0, scatter=np.zeros((D, D)), concentration=1.0, mean_strength=1e-300)


def look(mixture, prior=PRIOR, x=X, weight=WEIGHT):
    return certificate(mixture, x, weight=weight, prior=Prior(**prior))


def climb(mixture, prior=PRIOR, **settings):
    return jaxgmm.fit(X, mixture, weight=WEIGHT, prior=Prior(**prior), **settings)


def a_mixture(family):
    return Mixture.from_parameters(*reference.random_mixture(3, K, D, family), family=family)


def twins(family):
    """The fit of one component, written as two equal ones."""
    parameters = [0.5, 0.5], np.stack([MEAN, MEAN]), np.eye(D)[None].repeat(2, axis=0)
    return Mixture.from_parameters(*parameters, family=family)


def naive(mixture):
    """The objective by dense covariances and plain autodiff, per unit of weight."""
    apart = X[:, None] - mixture.means[None]
    precision, log_weights = mixture.precisions, jax.nn.log_softmax(mixture.logits)
    volume = -jnp.linalg.slogdet(precision)[1]
    squared = jnp.einsum("nki,kij,nkj->nk", apart, precision, apart)
    joint = log_weights - volume / 2
    value = WEIGHT @ jax.nn.logsumexp(joint[None] - squared / 2, axis=1)
    held = 1 if mixture.family == "tied" else K
    pull = mixture.means - PRIOR["mean"][None]
    scale = PRIOR["strength"] * volume + jnp.einsum("kij,ij->k", precision, PRIOR["scatter"])
    value -= jnp.sum(scale[:held]) / 2 - (PRIOR["concentration"] - 1) * jnp.sum(log_weights)
    value -= PRIOR["mean_strength"] * jnp.einsum("ki,kij,kj->", pull, precision, pull) / 2
    return value / WEIGHT.sum()


def test_hessian_equals_that_of_a_naive_likelihood(family, x64):
    """With weights and every term of the prior, at a mixture that is no optimum."""
    mixture = a_mixture(family)
    prior = jax.tree.map(jnp.asarray, Prior(**PRIOR))
    rows = Rows.of(jnp.asarray(X), jnp.asarray(WEIGHT))
    covariance = jnp.eye(rows.x.shape[1])
    found, hessian = jax.jit(_certify)(rows, mixture, prior, jnp.asarray(1e-9), covariance)
    flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.zeros_like, mixture))

    def objective(offsets):
        return naive(RELATIVE.place(mixture, RELATIVE.local(mixture, unravel(offsets))))

    slope, expected = jax.jit(lambda o: (jax.grad(objective)(o), jax.hessian(objective)(o)))(flat)
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    # The weights' direction that changes nothing: both logits up.
    out = np.append(np.sqrt(np.asarray(mixture.weights)), np.zeros(len(flat) - K))
    basis = np.linalg.svd(np.eye(len(flat)) - np.outer(out, out))[0][:, :-1]
    values = np.linalg.eigvalsh(basis.T @ expected @ basis)
    np.testing.assert_allclose(found.smallest_eigenvalue, values[0], rtol=1e-9)
    np.testing.assert_allclose(found.largest_eigenvalue, values[-1], rtol=1e-7)
    np.testing.assert_allclose(found.gradient_norm, np.linalg.norm(slope), rtol=1e-9)
    np.testing.assert_allclose(
        found.log_likelihood,
        reference.log_likelihood(*reference.random_mixture(3, K, D, family), X, WEIGHT),
    )
    assert found.n_parameters == jaxgmm.n_parameters(mixture)
    assert found.verdict == "not stationary"
    assert found.predicted_steps > 0


def test_a_maximum_and_the_rate_of_em(family, x64):
    """D and the gradient vanish where EM stands still, and D falls by ρ² at each of its steps."""
    for prior in (PRIOR, FLAT):
        end = climb(a_mixture(family), prior, tolerance=1e-20, max_steps=20_000)
        found = look(end.mixture, prior)
        assert found.verdict == "maximum"
        assert found.em_gain < 1e-19
        assert found.gradient_norm < 1e-9
        assert found.predicted_steps == 0
        np.testing.assert_allclose(found.objective, end.objective, rtol=1e-12)
        last = int(end.steps)
        late = [
            climb(a_mixture(family), prior, tolerance=0.0, max_steps=last - back).em_gain
            for back in (10, 0)
        ]
        observed = float(late[1] / late[0]) ** (1 / 20)
        np.testing.assert_allclose(1 - found.rate, 1 - observed, rtol=1e-3)
    # Without a prior the complete information is the identity.
    np.testing.assert_allclose(found.largest_eigenvalue, found.rate - 1, rtol=1e-4)


def test_predictions_come_true(x64):
    """The steps left and the gain left, from the middle of EM's way."""
    start, end = a_mixture("full"), climb(a_mixture("full"), tolerance=1e-20, max_steps=20_000)
    middle = climb(start, tolerance=1e-7)
    found = look(middle.mixture)
    more = climb(middle.mixture, tolerance=1e-9)
    assert abs(float(found.predicted_steps) - int(more.steps)) <= 0.1 * int(more.steps) + 2
    np.testing.assert_allclose(found.gap, end.objective - middle.objective, rtol=0.2)
    assert "more steps" in str(found)


@pytest.mark.parametrize("prior", [FLAT, PRIOR | dict(mean_strength=0.1)], ids=["flat", "prior"])
@pytest.mark.parametrize("family", ["full", "diagonal", "spherical"])
def test_a_saddle_is_recognized(family, prior, x64):
    """Equal components stay equal under EM, and stand where splitting them gains."""
    end = climb(twins(family), prior, tolerance=1e-20)
    found = look(end.mixture, prior)
    assert found.em_gain < 1e-20
    assert found.verdict == "saddle"
    assert found.rate > 1
    assert np.isinf(found.gap)
    assert "EM does not converge at a rate of 1 or more" in str(found)


def test_a_flat_point_is_recognized(x64):
    """Equal components of one shared covariance: splitting them gains nothing to second order, as
    the covariance is the data's already; nor does moving weight from one to the other."""
    end = climb(twins("tied"), FLAT, tolerance=1e-24)
    found = look(end.mixture, FLAT)
    assert found.verdict == "flat"
    np.testing.assert_allclose(found.rate, 1, atol=1e-7)
    np.testing.assert_allclose(found.largest_eigenvalue, 0, atol=1e-12)


def test_spurious_components_are_named(family, x64):
    covariances = np.stack([SCATTER, 1e-7 * SCATTER]) * (np.eye(D) if family != "full" else 1)
    if family == "spherical":
        covariances = np.stack([np.eye(D), 1e-7 * np.eye(D)])
    if family == "tied":
        covariances = np.stack([1e-7 * SCATTER] * 2)
    mixture = Mixture.from_parameters(
        [0.99, 0.01], np.stack([MEAN, X[0]]), covariances, family=family
    )
    found = look(mixture)
    if family == "tied":  # a covariance that all rows share is not on few of them
        assert list(found.spurious) == [0, 1]
        assert "component 1 (near-singular)" in str(found)
    else:
        assert list(found.spurious) == [1]
        assert "spurious         component 1 (few rows, near-singular)" in str(found)
    assert list(look(twins(family)).spurious) == []
    assert str(look(twins(family))).endswith("none")


def test_units_do_not_matter(family, x64):
    mixture, scale, offset = a_mixture(family), 250.0, np.array([3e3, -1e4])
    moved = Mixture.from_parameters(
        mixture.weights,
        scale * np.asarray(mixture.means) + offset,
        scale**2 * mixture.covariances,
        family=family,
    )
    prior = PRIOR | dict(scatter=scale**2 * PRIOR["scatter"], mean=scale * PRIOR["mean"] + offset)
    program = jit_with_options(_call_function, quickly=True, runs_once=True)
    plain, compiled = look(mixture), program._cache_size()
    other = look(moved, prior, scale * X + offset)
    assert program._cache_size() == compiled > 0  # once for each shape
    for name in ("gradient_norm", "em_gain", "smallest_eigenvalue", "largest_eigenvalue", "rate"):
        np.testing.assert_allclose(getattr(plain, name), getattr(other, name), rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "rows",
    [jaxgmm.Blocks(X, 16), jaxgmm.Shards(X), jaxgmm.Stream([X[:20], X[20:]])],
    ids=["blocks", "shards", "stream"],
)
def test_every_kind_of_rows_has_the_same_certificate(rows, x64):
    mixture = a_mixture("full")
    found = certificate(mixture, rows, weight=WEIGHT)
    expected = certificate(mixture, X, weight=WEIGHT)
    for name in ("objective", "gradient_norm", "smallest_eigenvalue", "largest_eigenvalue", "rate"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-8)
    assert found.verdict == expected.verdict


def test_an_absent_component_counts_for_nothing(x64):
    end = climb(a_mixture("full"), tolerance=1e-14).mixture
    padded = Mixture.from_parameters(
        [*end.weights, 0.0], np.pad(end.means, ((0, 1), (0, 0))),
        np.concatenate([end.covariances, end.covariances[:1]]),
    )  # fmt: skip
    plain, found = look(end), look(padded)
    for field in dataclasses.fields(plain):
        if field.name not in ("rate_error", "gradient_norm", "em_gain"):
            a, b = getattr(plain, field.name), getattr(found, field.name)
            np.testing.assert_allclose(a, b[:K] if np.ndim(b) else b, rtol=1e-4, err_msg=field.name)
    assert found.verdict == "maximum"
    assert not found.few_rows[K]


def test_beyond_the_hessian_the_rate_decides(x64, monkeypatch):
    monkeypatch.setattr("jaxgmm.inference.certificate.MOST_PARAMETERS", 3)
    x, weight = X[:, :1], WEIGHT
    start = jaxgmm.initialize(jax.random.key(0), x, 2)
    end = jaxgmm.fit(x, start, weight=weight, prior=None, tolerance=1e-12, max_steps=9999)
    found = certificate(end.mixture, x, weight=weight, prior=None)
    assert np.isnan(found.largest_eigenvalue)
    assert found.verdict == "maximum"
    assert "not computed" in str(found)
    twin = Mixture.from_parameters(
        [0.5, 0.5], end.mixture.means * 0 + MEAN[0], SCATTER[None, :1, :1].repeat(2, 0)
    )
    assert certificate(twin, x, weight=weight, prior=None).verdict == "saddle"


@pytest.mark.thorough
def test_in_float32_under_vmap():
    """A batch has a batch of verdicts; numbers come in the dtype of the data; one compilation."""
    x = X.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 2, family="diagonal")
    ends = jaxgmm.fit(x, start, tolerance=1e-10, max_steps=5000).mixture
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), ends, start)
    found = jax.vmap(lambda mixture: certificate(mixture, x, tolerance=1e-6))(batch)
    assert list(found.verdict) == ["maximum", "not stationary"]
    assert {found.rate.dtype, found.largest_eigenvalue.dtype} == {np.dtype(np.float32)}
    assert "batch" in str(found)
    assert found.predicted_steps.shape == found.gap.shape == (2,)


def test_bad_input():
    mixture, x = a_mixture("full"), X.astype(np.float32)
    for arguments, words in (
        (dict(prior="flat"), "unknown prior 'flat'"),
        (dict(prior=3.0), "pass a Prior"),
        (dict(tolerance=-1.0), "tolerance is -1.0"),
        (dict(weight=np.ones(3)), "weight has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            certificate(mixture, x, **arguments)
    with pytest.raises(ValueError, match="columns and the mixture"):
        certificate(mixture, x[:, :1])
