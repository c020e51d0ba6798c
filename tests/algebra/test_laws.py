"""Laws of marginals, conditionals, regression, images, products and divergences, in every family.

All laws of one family are one compiled program of one shape."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm

K, D = 3, 4
KEPT = ("full", "tied", "diagonal", "spherical")  # families that every part of a mixture keeps
GIVEN, REST = (2, 0), (1, 3)
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, 2, 2))
WIDE = RANDOM.normal(size=(2, D))
OFFSET, SHIFT = RANDOM.normal(size=2), RANDOM.normal(size=D)
NOISE = np.cov(RANDOM.normal(size=(D, 20)))
X = 2 * RANDOM.normal(size=(7, D))


def random_member(seed, family, dtype=np.float64):
    """A mixture of any family: every value of every leaf is a member of it."""
    rng = np.random.default_rng(seed)
    member = jaxgmm.FAMILIES[family].identity(K, D, dtype)
    moved = lambda leaf: leaf + jnp.asarray(0.4 * rng.normal(size=leaf.shape), dtype)
    logits = np.log(rng.dirichlet(np.full(K, 5.0)))
    means = 2 * rng.normal(size=(K, D))
    arrays = (jnp.asarray(array, dtype) for array in (logits, means))
    return jaxgmm.Mixture(*arrays, jax.tree.map(moved, member))


def mixtures(family, absent=False, dtype=np.float64):
    """Two mixtures of a family and a full one; the first may have an absent component."""
    first, second = random_member(1, family, dtype), random_member(2, family, dtype)
    if absent:
        first = dataclasses.replace(first, logits=first.logits.at[1].set(-np.inf))
    return first, second, random_member(3, "full", dtype)


def density(mixture, x):
    return jaxgmm.log_prob(mixture, x)


def same(one, other):
    """How far two mixtures are apart: weights, means and covariances, component by component."""
    pairs = zip(
        (one.weights, one.means, one.covariances),
        (other.weights, other.means, other.covariances),
        strict=True,
    )
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in pairs]))


def laws_of_parts(a):
    given, rest = np.array(GIVEN), np.array(REST)
    some = jaxgmm.marginal(a, (3, 0, 2))
    conditional = jax.vmap(lambda row: jaxgmm.condition(a, GIVEN, row[given]))(jnp.asarray(X))
    of_rows = jax.vmap(lambda m, row: density(m, row[None])[0])
    found = jaxgmm.regress(a, GIVEN, X[:, given])
    mean, covariance = jax.vmap(jaxgmm.moments)(conditional)
    first = jaxgmm.condition(a, 2, X[0, 2:3])  # of the features 0, 1, 3
    return {
        "marginal is dense": same_as_dense(jaxgmm.marginal(a, GIVEN), a, given),
        "marginal of a marginal": same(jaxgmm.marginal(some, (1, 0)), jaxgmm.marginal(a, (0, 3))),
        "marginal of all": same(jaxgmm.marginal(a, range(D)), a),
        "p(a) p(b given a) = p(x)": jnp.max(
            jnp.abs(
                density(jaxgmm.marginal(a, GIVEN), X[:, given])
                + of_rows(conditional, jnp.asarray(X[:, rest]))
                - density(a, X)
            )
        ),
        "condition twice": same(
            jaxgmm.condition(first, 0, X[0, :1]), jaxgmm.condition(a, GIVEN, X[0, given])
        ),
        "regression mean": jnp.max(jnp.abs(found.mean - mean)),
        "regression covariance": jnp.max(jnp.abs(found.covariance - covariance)),
    }


def same_as_dense(marginal, a, features):
    covariances = a.covariances[:, features][:, :, features]
    apart = jnp.max(jnp.abs(marginal.covariances - covariances))
    return jnp.maximum(apart, jnp.max(jnp.abs(marginal.means - a.means[:, features])))


def apart(pair, other):
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in zip(pair, other, strict=True)]))


def laws_of_images(a, b, c):
    small = jaxgmm.affine(a, WIDE, OFFSET)
    both, log_integral = jaxgmm.product(a, b)
    density_of_both = density(a, X) + density(b, X) - log_integral
    join = jaxgmm.join([a, c], [0.3, 0.7])
    expected = jnp.logaddexp(density(a, X) + np.log(0.3), density(c, X) + np.log(0.7))
    reduced = jaxgmm.reduce(join, 2)
    mean, covariance = jaxgmm.moments(a)
    matrix = jnp.asarray(WIDE)
    return {
        "affine is dense": jnp.max(
            jnp.abs(small.covariances - WIDE @ a.covariances @ jnp.asarray(WIDE.T))
        ),
        "affine by identity": same(jaxgmm.affine(a, np.eye(D)), a),
        "affine twice": same(
            jaxgmm.affine(jaxgmm.affine(small, B), A), jaxgmm.affine(small, A @ B)
        ),
        "marginal is affine": same(
            jaxgmm.affine(a, np.eye(D)[list(GIVEN)]), jaxgmm.marginal(a, GIVEN)
        ),
        "moments move": apart(
            jaxgmm.moments(small),
            (matrix @ mean + OFFSET, matrix @ covariance @ matrix.T),
        ),
        "convolve by nothing": same(jaxgmm.convolve(a, np.zeros((D, D))), a),
        "convolve is dense": jnp.max(
            jnp.abs(jaxgmm.convolve(a, NOISE).covariances - a.covariances - NOISE[None])
        ),
        "product": jnp.max(jnp.abs(density(both, X) - density_of_both)),
        "product's integral": jnp.abs(log_integral - jaxgmm.log_inner(a, b)),
        "join": jnp.max(jnp.abs(density(join, X) - expected)),
        "reduce keeps the moments": apart(jaxgmm.moments(reduced), jaxgmm.moments(join)),
    }


def of_pair(one, other):
    """What is said of a pair of mixtures, in the family's own form."""
    return {
        "variational": jaxgmm.kl_variational(one, other),
        "l2": jaxgmm.l2(one, other),
        "cauchy_schwarz": jaxgmm.cauchy_schwarz(one, other),
        "inner": jnp.exp(jaxgmm.log_inner(one, other)),
        "mw2": jaxgmm.mw2(one, other),
    }


def laws_of_divergences(a, b, c):
    moved = a.translate(jnp.asarray(SHIFT))
    firsts, seconds = (a, b, a, b, a, a, b), (a, b, b, a, moved, c, c)
    stack = lambda mixtures: jax.tree.map(lambda *leaves: jnp.stack(leaves), *mixtures)
    found = jax.vmap(of_pair)(stack(firsts), stack(seconds))
    aa, bb, ab, ba, shifted, ac, bc = range(7)
    inner, l2, mw2 = found["inner"], found["l2"], found["mw2"]
    plan = jaxgmm.mw2_plan(a, b)
    low, high = jaxgmm.entropy_bounds(a)
    entropy = jaxgmm.entropy(jax.random.key(0), a, 2000)
    within = 4 * entropy.standard_error
    enclosed = (low - within < entropy.value) & (entropy.value < high + within)
    itself = ("variational", "l2", "cauchy_schwarz", "mw2")
    return {f"{name} of itself": jnp.max(jnp.abs(found[name][:2])) for name in itself} | {
        "l2 is not negative": jnp.max(jnp.maximum(-l2, 0)),
        "l2 by inner products": jnp.abs(l2[ab] - inner[aa] - inner[bb] + 2 * inner[ab]),
        "mw2 is symmetric": jnp.abs(mw2[ab] - mw2[ba]),
        "mw2 of a translation": jnp.abs(mw2[shifted] - np.linalg.norm(SHIFT)),
        "triangle": jnp.maximum(mw2[ac] - mw2[ab] - mw2[bc], 0),
        "geodesic": jnp.abs(jaxgmm.mw2(a, plan.mixture(0.3)) - 0.3 * mw2[ab]),
        "plan's sums": jnp.max(jnp.abs(jnp.sum(plan.plan, axis=0) - b.weights)),
        "plan's other sums": jnp.max(jnp.abs(jnp.sum(plan.plan, axis=1) - a.weights)),
        "entropy bounds enclose": 1.0 - enclosed,
    }


def all_laws(a, b, c):
    moved = b.translate(a.means[0])
    return laws_of_parts(a) | laws_of_images(a, b, c) | laws_of_divergences(a, b, moved)


def laws_of_factors(a, b, c):
    """The laws of the factors of a family, from which everything else is computed."""
    given, rest = np.array(GIVEN), np.array(REST)
    conditional = jaxgmm.condition(a, GIVEN, X[0, given])
    parts = density(jaxgmm.marginal(a, GIVEN), X[:1, given]) + density(conditional, X[:1, rest])
    small = jaxgmm.affine(a, WIDE).covariances
    dense = jaxgmm.Mixture.from_parameters(a.weights, a.means, a.covariances)
    distances = jaxgmm.bures(a, b) - jaxgmm.bures(dense, b)
    return {
        "marginal is dense": same_as_dense(jaxgmm.marginal(a, GIVEN), a, given),
        "p(a) p(b given a) = p(x)": jnp.abs(parts - density(a, X[:1]))[0],
        "affine is dense": jnp.max(jnp.abs(small - WIDE @ a.covariances @ jnp.asarray(WIDE.T))),
        "divergence is dense": jnp.abs(
            jaxgmm.kl_variational(a, b) - jaxgmm.kl_variational(dense, b)
        ),
        "bures is dense": jnp.max(jnp.abs(distances)),
    }


every_family = pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name == "full" else pytest.mark.thorough)
        for name in jaxgmm.FAMILIES
    ],
)


@every_family
@pytest.mark.parametrize("absent", [False, True])
def test_laws(family, absent, x64):
    laws = all_laws if family in KEPT else laws_of_factors
    errors = jax.jit(laws)(*mixtures(family, absent))
    wrong = {name: float(error) for name, error in errors.items() if not error < 1e-10}
    assert not wrong


@every_family
def test_families_are_kept_where_they_can_be(family):
    a = mixtures(family, dtype=np.float32)[0]
    other = "diagonal" if a.covariance.letters[2] == "I" else "full"
    for part in (jaxgmm.marginal(a, GIVEN), jaxgmm.condition(a, GIVEN, X[0, :2])):
        assert part.family == (family if family in KEPT else other)
        assert part.dtype == np.float32
    assert (jaxgmm.affine(a, WIDE).family == "tied") is a.frame.shared
    assert (jaxgmm.convolve(a, NOISE).family == "tied") is a.frame.shared


@pytest.mark.thorough
def test_far_from_zero_float32_keeps_its_digits():
    """At an offset of 1000, float32 agrees with float64 to 1e-4."""
    with jax.enable_x64(True):
        wide = mixtures("full")[0].translate(jnp.full(D, 1000.0))
        narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), wide)
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), narrow)

        def described(mixture):
            given = jnp.asarray(X + 1000, mixture.dtype)
            found = jaxgmm.regress(mixture, GIVEN, given[:, np.array(GIVEN)])
            one = jaxgmm.condition(mixture, GIVEN, given[0, np.array(GIVEN)])
            quantiles = jaxgmm.quantile(jaxgmm.marginal(mixture, 1), jnp.array([0.1, 0.9]))
            reduced = jaxgmm.moments(jaxgmm.reduce(mixture, 2))
            return found.mean, found.covariance, one.means, one.weights, quantiles, reduced

        exact = jax.jit(described)(wide)
        for found, expected in zip(
            jax.tree.leaves(jax.jit(described)(narrow)), jax.tree.leaves(exact), strict=True
        ):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(X).max())


@pytest.mark.thorough
def test_derivatives_are_finite_where_a_component_is_absent(x64):
    a, b, _ = mixtures("full", absent=True)

    def leaves(mixture):
        """A number that depends on every parameter of the components that are present."""
        log_weights = jnp.where(mixture.present, mixture.log_weights, 0)
        parts = (log_weights, mixture.means, *jax.tree.leaves(mixture.covariance))
        return sum(
            jnp.sum(part * jnp.cos(jnp.arange(part.size)).reshape(part.shape)) for part in parts
        )

    def everything(a):
        found, plan = jaxgmm.regress(a, (0, 1, 2), X[:, :3]), jaxgmm.mw2_plan(a, b)
        one = jaxgmm.marginal(a, 0)
        product, log_integral = jaxgmm.product(a, b)
        parts = (
            leaves(jaxgmm.condition(a, GIVEN, X[0, :2])), jnp.sum(found.mean) + jnp.sum(found.covariance), leaves(jaxgmm.affine(a, WIDE)),
            leaves(jaxgmm.convolve(a, NOISE)), leaves(product), log_integral,
            leaves(jaxgmm.join([a, b], [0.5, 0.5])), *(jnp.sum(part) for part in jaxgmm.moments(a)),
            jaxgmm.kl_variational(a, b), *jaxgmm.entropy_bounds(a), jaxgmm.cauchy_schwarz(a, b),
            plan.value, jnp.sum(plan.map(X)), leaves(plan.mixture(0.5)),
            jaxgmm.kl(jax.random.key(0), a, b, 50).value,
            jnp.sum(jaxgmm.cdf(one, X[:, 0])), jaxgmm.quantile(one, 0.2), leaves(jaxgmm.reduce(a, 1)),
        )  # fmt: skip
        return jnp.stack(parts)

    values, pull_back = jax.vjp(jax.jit(everything), a)
    assert np.isfinite(values).all()
    slopes = pull_back(jnp.asarray(RANDOM.normal(size=len(values))))[0]
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all()
    assert slopes.logits[1] == 0  # an absent component stays absent


@pytest.mark.parametrize("family", ["full", "EII", "VEE", "EEV"])  # each kind of factors
def test_quantiles_of_one_feature(family, x64):
    unit = jaxgmm.FAMILIES[family].identity(2, 1, np.float64)
    member = jax.tree.map(lambda leaf: leaf + 0.3, unit)
    m = jaxgmm.Mixture(jnp.log(jnp.array([0.2, 0.8])), jnp.array([[0.0], [3.0]]), member)
    p = np.array([0.01, 0.3, 0.9])
    np.testing.assert_allclose(jaxgmm.cdf(m, jaxgmm.quantile(m, p)), p, atol=1e-9)
    normal = jax.scipy.stats.norm.cdf(1.0, m.means[:, 0], jnp.sqrt(m.covariances[:, 0, 0]))
    np.testing.assert_allclose(jaxgmm.cdf(m, 1.0), m.weights @ normal, rtol=1e-12)


def test_a_mixture_does_not_diverge_from_itself():
    a = random_member(1, "full", np.float32)
    assert float(jaxgmm.kl(jax.random.key(0), a, a, 100).value) == 0
