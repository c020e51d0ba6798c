"""Laws of marginals, conditionals, regression, images, products and divergences, in every family.

All laws of one family are one compiled program of one shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import random_mixture

import jaxgmm

K, D = 3, 4
GIVEN, REST = (2, 0), (1, 3)
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, 2, 2))
WIDE = RANDOM.normal(size=(2, D))
OFFSET, SHIFT = RANDOM.normal(size=2), RANDOM.normal(size=D)
NOISE = np.cov(RANDOM.normal(size=(D, 20)))
X = 2 * RANDOM.normal(size=(7, D))


def mixtures(family, absent=False, dtype=np.float64):
    """Two mixtures of a family and a third of another one; the first may have an absent component."""
    made = []
    for seed, kind in ((1, family), (2, family), (3, "full")):
        weights, means, covariances = random_mixture(seed, K, D, kind)
        if absent and seed == 1:
            weights = np.array([0.4, 0.0, 0.6])
        made.append(jaxgmm.Mixture.from_parameters(weights, means.astype(dtype), covariances, kind))
    return made


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


def laws_of_images(a, b, c):
    small = jaxgmm.affine(a, WIDE, OFFSET)
    both, log_integral = jaxgmm.product(a, b)
    density_of_both = density(a, X) + density(b, X) - log_integral
    join = jaxgmm.join([a, c], [0.3, 0.7])
    expected = jnp.logaddexp(density(a, X) + np.log(0.3), density(c, X) + np.log(0.7))
    reduced = jaxgmm.reduce(join, 2)
    apart = lambda pair, other: jnp.maximum(*(jnp.max(jnp.abs(i - j)) for i, j in zip(pair, other, strict=True)))
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


def laws_of_divergences(a, b, c):
    moved = a.translate(jnp.asarray(SHIFT))
    plan = jaxgmm.mw2_plan(a, b)
    key, between = jax.random.key(0), jaxgmm.mw2(a, b)
    low, high = jaxgmm.entropy_bounds(a)
    entropy = jaxgmm.entropy(key, a, 2000)
    inside = (low - entropy.value) / entropy.standard_error < 4
    return {
        "variational of itself": jnp.abs(jaxgmm.kl_variational(a, a)),
        "l2 of itself": jnp.abs(jaxgmm.l2(a, a)),
        "l2 is not negative": jnp.maximum(-jaxgmm.l2(a, b), 0),
        "l2 by inner products": jnp.abs(
            jaxgmm.l2(a, b)
            - sum(sign * jnp.exp(jaxgmm.log_inner(*p)) for sign, p in ((1, (a, a)), (1, (b, b)), (-2, (a, b))))
        ),
        "cauchy_schwarz of itself": jnp.abs(jaxgmm.cauchy_schwarz(a, a)),
        "mw2 of itself": jaxgmm.mw2(a, a),
        "mw2 is symmetric": jnp.abs(between - jaxgmm.mw2(b, a)),
        "mw2 of a translation": jnp.abs(jaxgmm.mw2(a, moved) - np.linalg.norm(SHIFT)),
        "triangle": jnp.maximum(jaxgmm.mw2(a, c) - between - jaxgmm.mw2(b, c), 0),
        "geodesic": jnp.abs(jaxgmm.mw2(a, plan.mixture(0.3)) - 0.3 * between),
        "plan's sums": jnp.max(jnp.abs(jnp.sum(plan.plan, axis=0) - b.weights)),
        "plan's other sums": jnp.max(jnp.abs(jnp.sum(plan.plan, axis=1) - a.weights)),
        "end of the geodesic": jnp.max(jnp.abs(density(plan.mixture(1.0), X) - density(b, X))),
        "entropy bounds enclose": 1.0
        - (inside & ((entropy.value - high) / entropy.standard_error < 4)),
    }


def all_laws(a, b, c):
    return laws_of_parts(a) | laws_of_images(a, b, c) | laws_of_divergences(a, b, c)


@pytest.mark.parametrize("absent", [False, True])
def test_laws(family, absent, x64):
    check = jax.jit(all_laws)
    errors = check(*mixtures(family, absent))
    wrong = {name: float(error) for name, error in errors.items() if not error < 1e-10}
    assert not wrong


def test_families_are_kept_where_they_can_be(family):
    a = mixtures(family, dtype=np.float32)[0]
    kept = family if family in ("full", "tied", "diagonal", "spherical") else None
    for part in (jaxgmm.marginal(a, GIVEN), jaxgmm.condition(a, GIVEN, X[0, :2])):
        assert part.family == (kept or part.family)
        assert part.dtype == np.float32
    assert (jaxgmm.affine(a, WIDE).family == "tied") is a.frame.shared
    assert (jaxgmm.convolve(a, NOISE).family == "tied") is a.frame.shared


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


def test_derivatives_are_finite_where_a_component_is_absent(x64):
    a, b, _ = mixtures("full", absent=True)

    def everything(a):
        given = jaxgmm.condition(a, GIVEN, X[0, :2])
        found = jaxgmm.regress(a, (0, 1, 2), X[:, :3])
        parts = (
            jnp.sum(jnp.where(given.present, given.log_weights, 0)),
            jnp.sum(found.mean), jnp.sum(found.covariance), jnp.sum(found.quantile(0.3)),
            jnp.sum(density(jaxgmm.affine(a, WIDE), X[:, :2])),
            jnp.sum(density(jaxgmm.convolve(a, NOISE), X)),
            jaxgmm.product(a, b)[1],
            jnp.sum(density(jaxgmm.product(a, b)[0], X)),
            jnp.sum(density(jaxgmm.join([a, b], [0.5, 0.5]), X)),
            jnp.sum(density(jaxgmm.reduce(a, 1), X)),
            *(jnp.sum(part) for part in jaxgmm.moments(a)),
            jaxgmm.kl_variational(a, b), *jaxgmm.entropy_bounds(a), jaxgmm.l2(a, b),
            jaxgmm.cauchy_schwarz(a, b), jaxgmm.mw2(a, b), jnp.sum(jaxgmm.bures(a, b)),
            jnp.sum(jaxgmm.mw2_plan(a, b).map(X)),
            jnp.sum(density(jaxgmm.mw2_plan(a, b).mixture(0.5), X)),
            jaxgmm.kl(jax.random.key(0), a, b, 50).value,
            jaxgmm.js(jax.random.key(0), a, b, 50).value,
            jaxgmm.entropy(jax.random.key(0), a, 50).value,
            jnp.sum(jaxgmm.cdf(jaxgmm.marginal(a, 0), X[:, 0])),
            jnp.sum(jaxgmm.quantile(jaxgmm.marginal(a, 0), [0.2])),
        )  # fmt: skip
        return jnp.stack([jnp.reshape(part, ()) for part in parts])

    slopes = jax.jit(jax.jacrev(everything))(a)
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all()
    assert not np.asarray(slopes.logits)[:, 1].any()  # an absent component stays absent
