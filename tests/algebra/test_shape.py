"""Quantiles, modes, mergers of components, and clusters of components."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from kinds import pieces
from reference import random_mixture

import jaxgmm


@pytest.fixture(scope="module")
def line():
    """A mixture in one dimension, with an absent component that lies far away."""
    with jax.enable_x64(True):
        return jaxgmm.Mixture.from_parameters(
            [0.3, 0.0, 0.7], [[0.0], [1e6], [4.0]], [[[1.0]], [[1.0]], [[0.04]]]
        )


def test_quantiles_undo_probabilities(line, x64):
    p = np.array([1e-9, 0.01, 0.2999, 0.5, 0.999999])
    x = jaxgmm.quantile(line, p)
    np.testing.assert_allclose(jaxgmm.cdf(line, x), p, rtol=1e-9)
    expected = 0.3 * scipy.stats.norm(0, 1).cdf(x) + 0.7 * scipy.stats.norm(4, 0.2).cdf(x)
    np.testing.assert_allclose(jaxgmm.cdf(line, x), expected, rtol=1e-12)
    assert jaxgmm.cdf(line, np.array(x)[:, None]).shape == (5,)
    assert jaxgmm.quantile(line, 0.5).shape == ()
    slope = jax.grad(lambda p: jaxgmm.quantile(line, p))(0.4)
    density = np.exp(jaxgmm.log_prob(line, jaxgmm.quantile(line, 0.4)[None, None]))[0]
    np.testing.assert_allclose(slope, 1 / density, rtol=1e-9)


def test_a_gaussian_has_its_own_quantiles(x64):
    one = jaxgmm.Mixture.from_parameters([1.0], [[5.0]], [[[4.0]]])
    p = np.array([0.025, 0.5, 0.9])
    np.testing.assert_allclose(jaxgmm.quantile(one, p), scipy.stats.norm(5, 2).ppf(p), rtol=1e-12)


def test_modes_are_maxima(x64):
    mixture = jaxgmm.Mixture.from_parameters(
        [0.2, 0.2, 0.0, 0.25, 0.35],
        [[-1.0, 0.0], [1.0, 0.0], [0.0, 50.0], [8.0, 0.0], [8.0, 9.0]],
        np.stack([np.eye(2)] * 5),
    )
    points, mode_of = jaxgmm.modes(mixture)
    # The first two have one mode between them, from which both means are equally far.
    assert points.shape == (3, 2)
    assert mode_of[0] == mode_of[1] and mode_of[2] == -1
    assert sorted(mode_of[[0, 3, 4]]) == [0, 1, 2]
    log_p = lambda x: jaxgmm.log_prob(mixture, x[None])[0]
    heights = jax.vmap(log_p)(points)
    assert (np.diff(heights) <= 0).all()
    slopes, curvatures = jax.vmap(jax.grad(log_p))(points), jax.vmap(jax.hessian(log_p))(points)
    np.testing.assert_allclose(slopes, 0, atol=1e-9)
    assert (np.linalg.eigvalsh(curvatures) < 0).all()
    np.testing.assert_allclose(points[mode_of[0]], [0, 0], atol=1e-3)


def test_a_mean_on_a_saddle_climbs_on(x64):
    """The middle component is the least dense point between two others."""
    mixture = jaxgmm.Mixture.from_parameters(
        [0.45, 0.1, 0.45], [[-2.0], [0.0], [2.0]], [[[1.0]], [[9.0]], [[1.0]]]
    )
    points, mode_of = jaxgmm.modes(mixture)
    assert len(points) == 2 and set(mode_of[[0, 2]]) == {0, 1}


def test_reduce_merges_what_is_near(x64):
    mixture = jaxgmm.Mixture.from_parameters(
        [0.25, 0.25, 0.0, 0.5],
        [[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [9.0, 9.0]],
        np.ones((4, 2)),
        "diagonal",
    )
    fewer = jaxgmm.reduce(mixture, 2)
    np.testing.assert_allclose(fewer.weights, [0.5, 0.5], rtol=1e-12)
    np.testing.assert_allclose(fewer.means, [[0.05, 0], [9, 9]], atol=1e-12)
    np.testing.assert_allclose(fewer.covariances[0], [[1.0025, 0], [0, 1]], atol=1e-12)
    same = jaxgmm.reduce(mixture, 3)
    assert same.family == "diagonal" and same.n_components == 3
    whole = jaxgmm.Mixture.from_parameters(*random_mixture(0, 12, 2, "full"))
    assert jaxgmm.reduce(whole, 12) is whole
    for n in (4, 1):
        for one, other in zip(
            jaxgmm.moments(jaxgmm.reduce(whole, n)), jaxgmm.moments(whole), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_reduce_chooses_the_pair_that_runnalls_chooses(seed, x64):
    _, means, covariances = random_mixture(seed, 5, 2, "full", spread=1.0)
    weights = np.random.default_rng(seed).dirichlet(np.ones(5))
    whole = jaxgmm.Mixture.from_parameters(weights, means, covariances)
    log_det = lambda c: np.linalg.slogdet(c)[1]
    costs = {}
    for i in range(5):
        for j in range(i):
            w = weights[i] + weights[j]
            apart = means[i] - means[j]
            joint = (weights[i] * covariances[i] + weights[j] * covariances[j]) / w
            joint = joint + weights[i] * weights[j] / w**2 * np.outer(apart, apart)
            own = sum(weights[a] * log_det(covariances[a]) for a in (i, j))
            costs[i, j] = w * log_det(joint) - own
    kept = set(range(5)) - set(min(costs, key=costs.get))
    found = np.asarray(jaxgmm.reduce(whole, 4).means)
    for i in kept:
        assert np.abs(found - means[i]).max(axis=1).min() < 1e-12


# ---- clusters of components -----------------------------------------------------------------------


def clusters_by_hand(r):
    """The textbook: columns of responsibilities are added, by the least entropy."""
    entropy = lambda r: -np.sum(r * np.log(np.where(r > 0, r, 1)))
    groups, curve = [[i] for i in range(r.shape[1])], {r.shape[1]: entropy(r)}
    merged = {r.shape[1]: [set(group) for group in groups]}
    while len(groups) > 1:
        options = []
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                joined = [g for a, g in enumerate(groups) if a not in (i, j)] + [
                    groups[i] + groups[j]
                ]
                columns = np.stack([r[:, g].sum(axis=1) for g in joined], axis=1)
                options.append((entropy(columns), joined))
        value, groups = min(options, key=lambda option: option[0])
        curve[len(groups)] = value
        merged[len(groups)] = [set(group) for group in groups]
    return merged, curve


@pytest.fixture(scope="module")
def crossing():
    """A cross of two long components, one elsewhere, and one that is absent."""
    with jax.enable_x64(True):
        mixture = jaxgmm.Mixture.from_parameters(
            [0.3, 0.3, 0.0, 0.25, 0.15],
            [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 9.0], [10.0, 11.0]],
            [np.diag([9.0, 0.2]), np.diag([0.2, 9.0]), np.eye(2), np.eye(2), np.eye(2)],
        )
        return mixture, np.asarray(jaxgmm.sample(jax.random.key(0), mixture, 501)[0])


def check_clusters(found, r, components):
    merged, curve = clusters_by_hand(r[:, components])
    assert sorted(found.groups) == list(range(1, len(components) + 1))
    for g, groups in found.groups.items():
        sets = [set(np.flatnonzero(groups[components] == i)) for i in range(g)]
        assert sorted(map(sorted, sets)) == sorted(map(sorted, merged[g]))
        assert found.entropy[g] == pytest.approx(curve[g], abs=1e-9)


def test_combine_is_the_textbook(crossing, x64):
    mixture, x = crossing
    found = jaxgmm.combine(mixture, x)
    r = np.asarray(jaxgmm.responsibilities(mixture, x))
    check_clusters(found, r, np.array([0, 1, 3, 4]))
    assert all(groups[2] == -1 for groups in found.groups.values())
    assert found.groups[2].tolist() == [0, 0, -1, 1, 1]
    labels = found.labels(2)
    np.testing.assert_array_equal(labels, r[:, 3:].sum(axis=1) > 0.5)
    np.testing.assert_array_equal(found.labels(2, x[:5]), labels[:5])
    assert "4 components" in repr(found)


@pytest.mark.parametrize("seed", range(4))
def test_combine_merges_the_pairs_that_lower_the_entropy_most(seed, x64):
    weights = np.random.default_rng(seed).dirichlet(np.ones(5))
    _, means, covariances = random_mixture(seed, 5, 2, "full", spread=1.5)
    mixture = jaxgmm.Mixture.from_parameters(weights, means, covariances)
    x = np.asarray(jaxgmm.sample(jax.random.key(seed), mixture, 501)[0])
    r = np.asarray(jaxgmm.responsibilities(mixture, x))
    check_clusters(jaxgmm.combine(mixture, x), r, np.arange(5))


def test_combine_takes_streams_and_weights(crossing, x64):
    mixture, x = crossing
    expected = jaxgmm.combine(mixture, x, weight=np.arange(501) % 3)
    repeated = jaxgmm.combine(mixture, np.repeat(x, np.arange(501) % 3, axis=0))
    stream = jaxgmm.combine(mixture, jaxgmm.Stream(lambda: pieces(x)))
    whole = jaxgmm.combine(mixture, x)
    for g in expected.groups:
        np.testing.assert_array_equal(expected.groups[g], repeated.groups[g])
        assert expected.entropy[g] == pytest.approx(repeated.entropy[g], abs=1e-9)
        assert stream.entropy[g] == pytest.approx(whole.entropy[g], abs=1e-9)
    np.testing.assert_array_equal(stream.labels(3), whole.labels(3))


# ---- bad input ------------------------------------------------------------------------------------

PLANE = lambda: jaxgmm.Mixture.from_parameters(
    [0.5, 0.5], np.zeros((2, 2)), np.ones(2), "spherical"
)
LINE = lambda: jaxgmm.Mixture.from_parameters([0.5, 0.5], np.zeros((2, 1)), np.ones(2), "spherical")
KEY = jax.random.key(0)
BAD = {
    "no features": (lambda: jaxgmm.marginal(PLANE(), []), "features is empty"),
    "features twice": (lambda: jaxgmm.marginal(PLANE(), [1, 1]), "each feature only once"),
    "feature out of range": (lambda: jaxgmm.marginal(PLANE(), [2]), "a feature is 2"),
    "feature below zero": (lambda: jaxgmm.condition(PLANE(), -1, [0.0]), "a feature is -1"),
    "feature of no name": (lambda: jaxgmm.marginal(PLANE(), "a"), "stores no names"),
    "unknown name": (lambda: jaxgmm.marginal(PLANE(), "a", names=["b", "c"]), "no feature"),
    "too few names": (lambda: jaxgmm.marginal(PLANE(), "a", names=["a"]), "1 names for 2"),
    "all features given": (lambda: jaxgmm.condition(PLANE(), [0, 1], [0.0, 0.0]), "lists all 2"),
    "all features regressed on": (lambda: jaxgmm.regress(PLANE(), [0, 1], [[0.0, 0.0]]), "lists all"),
    "too many values": (lambda: jaxgmm.condition(PLANE(), 0, [0.0, 1.0]), r"pass \(1,\)"),
    "a row for rows": (lambda: jaxgmm.regress(PLANE(), 0, [0.0]), r"pass \(n, 1\)"),
    "values not finite": (lambda: jaxgmm.condition(PLANE(), 0, [np.nan]), "NaN or infinity"),
    "rows not finite": (lambda: jaxgmm.regress(PLANE(), 0, [[0.0], [np.inf]]), "in row 1"),
    "quantiles of two": (
        lambda: jaxgmm.regress(jaxgmm.join([PLANE()], [1.0]), 0, [[0.0]]).quantile(2.0), "p is 2",
    ),
    "quantiles of several": (
        lambda: jaxgmm.regress(
            jaxgmm.Mixture.from_parameters([1.0], np.zeros((1, 3)), np.ones(1), "spherical"), 0, [[0.0]]
        ).quantile(0.5), "this regression has 2",
    ),
    "width of the matrix": (lambda: jaxgmm.affine(PLANE(), np.eye(3)), r"pass \(e, 2\)"),
    "rank of the matrix": (lambda: jaxgmm.affine(PLANE(), [[1, 2], [2, 4]]), "rank 1"),
    "matrix not finite": (lambda: jaxgmm.affine(PLANE(), [[np.nan, 2]]), "NaN or infinity"),
    "shape of the offset": (lambda: jaxgmm.affine(PLANE(), np.eye(2), [1, 2, 3]), "offset has shape"),
    "shape of the noise": (lambda: jaxgmm.convolve(PLANE(), np.eye(3)), "covariance has shape"),
    "noise not symmetric": (lambda: jaxgmm.convolve(PLANE(), [[1, 1], [0, 1]]), "not symmetric"),
    "negative noise": (lambda: jaxgmm.convolve(PLANE(), -np.eye(2)), "negative variance"),
    "unequal features": (lambda: jaxgmm.product(PLANE(), LINE()), "2 and 1 features"),
    "unequal features in l2": (lambda: jaxgmm.l2(PLANE(), LINE()), "2 and 1 features"),
    "unequal features in mw2": (lambda: jaxgmm.mw2(PLANE(), LINE()), "2 and 1 features"),
    "unequal features in kl": (lambda: jaxgmm.kl(KEY, PLANE(), LINE()), "2 and 1 features"),
    "unequal features in join": (lambda: jaxgmm.join([PLANE(), LINE()], [0.5, 0.5]), "2 and 1 features"),
    "no mixtures": (lambda: jaxgmm.join([], []), "mixtures is empty"),
    "weights of join": (lambda: jaxgmm.join([PLANE()], [0.5]), "sum to 1"),
    "one weight too many": (lambda: jaxgmm.join([PLANE()], [0.5, 0.5]), "weights has shape"),
    "cdf in the plane": (lambda: jaxgmm.cdf(PLANE(), [0.0]), "cdf is for one feature"),
    "quantile in the plane": (lambda: jaxgmm.quantile(PLANE(), 0.5), "marginal of one feature"),
    "cdf of NaN": (lambda: jaxgmm.cdf(LINE(), [np.nan]), "x contains NaN"),
    "quantile of 1": (lambda: jaxgmm.quantile(LINE(), [0.5, 1.0]), "above 0 and below 1"),
    "more than there are": (lambda: jaxgmm.reduce(PLANE(), 3), "pass at most 2"),
    "no components": (lambda: jaxgmm.reduce(PLANE(), 0), "n_components is 0"),
    "level of 1": (lambda: jaxgmm.level(KEY, PLANE(), 1.0), "mass is 1"),
    "one draw": (lambda: jaxgmm.entropy(KEY, PLANE(), 1), "n is 1"),
    "no key": (lambda: jaxgmm.kl(0, PLANE(), PLANE()), "not one JAX random key"),
    "beyond the end": (lambda: jaxgmm.mw2_plan(PLANE(), PLANE()).mixture(1.5), "t is 1.5"),
    "rows of another width": (lambda: jaxgmm.combine(PLANE(), np.zeros((3, 1))), "1 columns"),
    "too many clusters": (lambda: jaxgmm.combine(PLANE(), np.zeros((3, 2))).labels(3), "n_clusters is 3"),
    "no mixture": (lambda: jaxgmm.moments("mixture"), "pass a Mixture"),
    "modes under jit": (lambda: jax.jit(jaxgmm.modes)(PLANE()), "outside jit"),
    "combine under jit": (lambda: jax.jit(lambda m: jaxgmm.combine(m, np.zeros((3, 2))))(PLANE()), "outside jit"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_a_batch_is_no_mixture():
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PLANE())
    for function in (jaxgmm.moments, jaxgmm.modes, lambda m: jaxgmm.mw2(m, PLANE())):
        with pytest.raises(ValueError, match="batch of mixtures"):
            function(batch)
