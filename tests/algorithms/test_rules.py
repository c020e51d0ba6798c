"""Annealed and classification EM: EM with other responsibilities, against loops in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import jaxgmm
from jaxgmm import EM, SQUAREM, Annealed, Classification, GainBelow, Observed, Status, Then
from jaxgmm.algorithms.protocol import StoppingValues, stopping_values_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(240, 2)) + np.array([[0, 0], [3, 0], [0, 4]])[RANDOM.integers(3, size=240)]
STOPPED = StoppingValues(jnp.float32(0), jnp.float32(-10), jnp.float32(-10))


@pytest.fixture(scope="module")
def start():
    with jax.enable_x64(True):
        return jaxgmm.initialize(jax.random.key(0), X, 3, method="random-rows")


def log_joint(weights, means, covariances):
    of_component = lambda w, m, s: np.log(w) + multivariate_normal(m, s).logpdf(X)
    return np.stack([*map(of_component, weights, means, covariances)], axis=1)


def m_step(r):
    mass = r.sum(axis=0)
    means = (r.T @ X) / mass[:, None]
    moved = X[None] - means[:, None]
    second = np.einsum("nk,kni,knj->kij", r, moved, moved)
    return mass / len(X), means, second / mass[:, None, None]


def parameters(mixture):
    return mixture.weights, mixture.means, mixture.covariances


def same(mixture, expected):
    for one, other in zip(parameters(mixture), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


# ---- annealing ---------------------------------------------------------------------------------


def test_tempered_steps(start, x64):
    """Three steps at β = 1/2, each with responsibilities ∝ (π N)^½, then EM; the first move only
    looks; the history is that of ℓ; each move is a pass."""
    annealed = Annealed(schedule=(0.5, 1.0), steps=3)
    expected, history = parameters(start), []
    for beta in (0.5, 0.5, 0.5, 1.0, None):
        joint = log_joint(*expected)
        history.append(logsumexp(joint, axis=1).sum())
        flat = joint * (beta or 1)
        expected = m_step(np.exp(flat - logsumexp(flat, axis=1, keepdims=True)))
    fit = jaxgmm.fit(X, start, annealed, prior=None, max_steps=5, tolerance=0.0)
    np.testing.assert_allclose(fit.history, [history[0], *history], rtol=1e-10)
    np.testing.assert_array_equal(fit.history_passes, np.arange(1, 7))
    fit = jaxgmm.fit(X, start, annealed, prior=None, max_steps=6, tolerance=0.0)
    same(fit.mixture, expected)


def test_annealing_is_not_stopped(start, x64):
    """Not even at EM's own optimum, by any rule; and it ends there."""
    plain = jaxgmm.fit(X, start, tolerance=1e-12)
    annealed = Annealed(schedule=(0.5, 1.0), steps=3)
    fit = jaxgmm.fit(X, plain.mixture, annealed, tolerance=1e-3)
    assert (fit.status, fit.steps > 3) == (Status.CONVERGED, True)
    end = jaxgmm.fit(X, plain.mixture, annealed, tolerance=1e-12)
    assert abs(float(end.objective - plain.objective)) < 1e-6 * len(X)
    state = annealed.init(start, jaxgmm.Statistics.zero(start))
    for age, held in ((0, True), (3, True), (4, False)):
        for algorithm, own in (
            (annealed, state._replace(age=jnp.int32(age))),
            (Annealed(annealed, (1.0,)), None),
            (Then(annealed, SQUAREM(), GainBelow(0.0)), None),
        ):
            if own is None:
                own = algorithm.init(start, jaxgmm.Statistics.zero(start))
                name = "inner" if isinstance(algorithm, Annealed) else "first"
                own = own._replace(**{name: state._replace(age=jnp.int32(age))})
            read = stopping_values_of(algorithm, own, STOPPED)
            assert (np.isinf(read.gain), np.isinf(read.previous)) == (held, held)


def test_annealing_at_one_is_the_algorithm(start, x64):
    plain = jaxgmm.fit(X, start, tolerance=1e-9)
    same_fit = jaxgmm.fit(X, start, Annealed(EM(), schedule=[1]), tolerance=1e-9)
    np.testing.assert_array_equal(same_fit.history, plain.history)
    assert Annealed(SQUAREM()).name == "annealed SQUAREM"


@pytest.mark.thorough
def test_annealed_observed_rows(start, x64):
    """With gaps and noise, responsibilities ∝ (π p(what was seen))^β."""
    x = X.copy()
    x[::3, 0] = np.nan
    rows = Observed(x, noise=np.full(X.shape, 0.3))
    annealed = Annealed(schedule=(0.4, 1.0), steps=1)
    fit = jaxgmm.fit(rows, start, annealed, prior=None, max_steps=2, tolerance=0.0)
    flat = 0.4 * np.asarray(jaxgmm.log_joint(start, rows))
    r = np.exp(flat - logsumexp(flat, axis=1, keepdims=True))
    np.testing.assert_allclose(fit.mixture.weights, r.mean(axis=0), rtol=1e-9)
    end = jaxgmm.fit(rows, start, annealed, tolerance=1e-7)
    assert end.converged


# ---- classification ----------------------------------------------------------------------------


def classification_likelihood(mixture):
    labels = np.argmax(jaxgmm.log_joint(mixture, X), axis=1)
    return float(jaxgmm.complete_log_likelihood(mixture, X, np.eye(3)[labels])), labels


def test_classification(start, x64):
    """The steps of Celeux & Govaert in NumPy; the classification likelihood never falls; the fit
    ends when assignments do not change, which is no fixed point of EM."""
    fit_after = lambda steps, tolerance=0.0: jaxgmm.fit(
        X, start, Classification(), prior=None, max_steps=steps, tolerance=tolerance
    )
    end = fit_after(200, 1e-9)
    assert end.converged
    assert end.passes == end.steps + 1
    assert end.em_gain > 1e-4
    np.testing.assert_allclose(end.history[-1], jaxgmm.log_likelihood(end.mixture, X), rtol=1e-12)
    expected, values, labels = parameters(start), [], None
    for step in range(int(end.steps)):
        joint = log_joint(*expected)
        values.append(joint.max(axis=1).sum())
        unchanged = np.array_equal(labels, joint.argmax(axis=1))
        assert unchanged == (step == end.steps - 1 and step > 0)
        labels = joint.argmax(axis=1)
        same(fit_after(step + 1).mixture, expected)
        expected = m_step(np.eye(3)[labels])
    assert np.diff(values).min() >= 0
    assert classification_likelihood(end.mixture)[0] == pytest.approx(values[-1], rel=1e-10)
    same(fit_after(int(end.steps) + 5).mixture, parameters(end.mixture))


def test_k_means_is_classification(start, x64):
    """One variance and equal weights: Lloyd's algorithm, step for step."""
    centers = np.asarray(start.means)
    prior = jaxgmm.Prior(concentration=1e12)
    round_start = jaxgmm.Mixture.from_parameters(np.full(3, 1 / 3), centers, 1.0, family="EII")
    rounds = 0
    while True:
        labels = np.argmin(((X[:, None] - centers[None]) ** 2).sum(axis=-1), axis=1)
        moved = np.stack([X[labels == k].mean(axis=0) for k in range(3)])
        if np.allclose(moved, centers, rtol=1e-14):
            break
        centers, rounds = moved, rounds + 1
    fit = jaxgmm.fit(X, round_start, Classification(), prior=prior)
    assert fit.converged
    assert fit.steps == rounds + 1  # and the first, which only assigns
    np.testing.assert_allclose(fit.mixture.means, centers, rtol=1e-9)
    np.testing.assert_allclose(fit.mixture.weights, 1 / 3, rtol=1e-6)
    within = ((X - centers[labels]) ** 2).sum() / X.size
    np.testing.assert_allclose(fit.mixture.covariances[0], within * np.eye(2), rtol=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("stopping", ["relative", "absolute"])
def test_classification_stops_by_its_own_objective(stopping, start, x64):
    by_gain = jaxgmm.fit(X, start, Classification())
    fit = jaxgmm.fit(X, start, Classification(), stopping=stopping, tolerance=1e-12)
    assert fit.converged
    assert abs(int(fit.steps - by_gain.steps)) <= 1


# ---- both --------------------------------------------------------------------------------------

BOTH = [Annealed(schedule=(0.6, 1.0), steps=2), Classification()]


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", BOTH, ids=["annealed", "classification"])
@pytest.mark.parametrize("family", ["VEV", "factors-1", "float32"])
def test_every_family_in_a_batch(algorithm, family, start, x64):
    """Under vmap, each lane as alone."""
    single = family == "float32"
    x, family = (X.astype(np.float32), "full") if single else (X, family)
    keys = jax.random.split(jax.random.key(1), 3)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, x, 3, family=family))(keys)
    run = lambda mixture, **kwargs: jaxgmm.fit(
        x, mixture, algorithm, max_steps=30, tolerance=1e-5 if single else 1e-9, **kwargs
    )
    batch = jax.jit(jax.vmap(run))(starts)
    for i in range(3):
        one = run(jax.tree.map(lambda leaf, i=i: leaf[i], starts))
        assert one.status in (Status.CONVERGED, Status.MAX_STEPS)
        assert one.status == batch.status[i]
        rtol = 1e-5 if single else 1e-9
        np.testing.assert_allclose(one.objective, batch.objective[i], rtol=rtol)
        assert one.passes == one.steps + 1


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", BOTH, ids=["annealed", "classification"])
def test_what_does_not_count(algorithm, start, x64):
    """Rows of weight 0, absent components, units, and where the rows are stored."""
    run = lambda x, start, **kwargs: jaxgmm.fit(
        x, start, algorithm, max_steps=8, tolerance=0.0, prior=None, **kwargs
    )
    plain = run(X, start)
    rows = np.concatenate([X, np.full((10, 2), 7.0)])
    weighted = run(rows, start, weight=np.repeat([1.0, 0.0], [240, 10]))
    np.testing.assert_allclose(weighted.history, plain.history, rtol=1e-10)
    padded = jaxgmm.Mixture(
        jnp.append(start.logits, -jnp.inf), jnp.append(start.means, start.means[:1], axis=0),
        jax.tree.map(lambda leaf: jnp.append(leaf, leaf[:1], axis=0), start.covariance),
    )  # fmt: skip
    np.testing.assert_allclose(run(X, padded).history, plain.history, rtol=1e-10)
    scaled = jaxgmm.Mixture.from_parameters(
        start.weights, start.means * 1e3, start.covariances * 1e6
    )
    volume = len(X) * 2 * np.log(1e3)
    np.testing.assert_allclose(run(1e3 * X, scaled).history + volume, plain.history, rtol=1e-9)
    stream = run(jaxgmm.Stream(lambda: (X[i : i + 100] for i in (0, 100, 200))), start)
    np.testing.assert_allclose(stream.history, plain.history, rtol=1e-10)
    shards = run(jaxgmm.Shards(X), start)
    np.testing.assert_allclose(shards.history, plain.history, rtol=1e-10)


def test_passes_of_the_source(start, x64):
    """Counted where the rows are read."""
    reads = []

    def read():
        reads.append(1)
        return iter([X[:120], X[120:]])

    stream = jaxgmm.Stream(read)
    counts = []
    for steps in (0, 3, 6):  # the rows are checked in the first fit
        reads.clear()
        fit = jaxgmm.fit(
            stream, start, Annealed(schedule=(0.5, 1.0), steps=2), prior=None, max_steps=steps,
            tolerance=0.0,
        )  # fmt: skip
        counts.append(len(reads) - int(fit.passes))
    assert counts[1] == counts[2] <= 2  # what is read to check the rows, and for the prior


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Annealed(schedule=(0.5, 0.9)), "pass positive numbers that end at 1"),
        (lambda: Annealed(schedule=(0.0, 1.0)), "pass positive numbers that end at 1"),
        (lambda: Annealed(schedule=0.5), "schedule is 0.5"),
        (lambda: Annealed(steps=0), "steps is 0"),
        (lambda: Annealed(EM), "pass an instance with init and move"),
    ],
)
def test_bad_settings(made, words):
    with pytest.raises(ValueError, match=words):
        made()
    assert dataclasses.replace(Annealed(), schedule=(0.5, 2.0, 1.0)).schedule[1] == 2
