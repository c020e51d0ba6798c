"""Conditionals, regression, products and divergences against SciPy, dense formulas and grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from reference import random_mixture

import jaxgmm

K, D = 3, 4


@pytest.fixture(scope="module")
def plain():
    """The parameters of two mixtures in the plane."""
    return [random_mixture(seed, 3, 2, "full", spread=1.5) for seed in (4, 5)]


@pytest.fixture(scope="module")
def grid():
    """Points on a square grid, and the area of a cell. The trapezoidal rule is exact to rounding."""
    axis = np.linspace(-14, 14, 561)
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), (axis[1] - axis[0]) ** 2


def made(parameters):
    return jaxgmm.Mixture.from_parameters(*parameters)


def on_grid(parameters, points):
    parts = zip(*parameters, strict=True)
    return sum(w * scipy.stats.multivariate_normal(m, c).pdf(points) for w, m, c in parts)


def test_conditionals_are_the_textbook_formulas(x64):
    weights, means, covariances = random_mixture(1, K, D, "full")
    x = np.random.default_rng(0).normal(size=(20, 3))
    given, rest = [3, 0, 2], [1]
    found = jaxgmm.regress(made((weights, means, covariances)), given, x)
    joint, mean, variance = [], [], []
    for w, m, c in zip(weights, means, covariances, strict=True):
        inside = c[np.ix_(given, given)]
        slope = c[np.ix_(rest, given)] @ np.linalg.inv(inside)
        joint.append(w * scipy.stats.multivariate_normal(m[given], inside).pdf(x))
        mean.append(m[rest] + (x - m[given]) @ slope.T)
        variance.append(c[np.ix_(rest, rest)] - slope @ c[np.ix_(given, rest)])
    r = np.array(joint) / np.sum(joint, axis=0)
    expected = np.sum(r[:, :, None] * mean, axis=0)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-10)
    second = np.sum(r * (np.array(variance)[:, 0] + np.array(mean)[..., 0] ** 2), axis=0)
    np.testing.assert_allclose(found.covariance[:, 0, 0], second - expected[:, 0] ** 2, rtol=1e-10)
    one = jaxgmm.condition(made((weights, means, covariances)), given, x[0])
    np.testing.assert_allclose(one.weights, r[:, 0], rtol=1e-10)
    np.testing.assert_allclose(one.means, np.array(mean)[:, 0], rtol=1e-10)


def test_regression_is_the_integral_over_a_grid(plain, x64):
    x, y = np.array([-1.0, 0.5, 2.0]), np.linspace(-20, 20, 4001)
    found = jaxgmm.regress(made(plain[0]), 1, x[:, None])
    for i, value in enumerate(x):
        p = on_grid(plain[0], np.stack([y, np.full_like(y, value)], axis=1))
        p /= p.sum()
        mean = p @ y
        np.testing.assert_allclose(found.mean[i, 0], mean, rtol=1e-10)
        np.testing.assert_allclose(found.covariance[i, 0, 0], p @ (y - mean) ** 2, rtol=1e-10)
        below = np.searchsorted(np.cumsum(p), [0.1, 0.9])
        np.testing.assert_allclose(found.quantile([0.1, 0.9])[i], y[below], atol=0.02)


def test_integrals_of_products_are_those_of_a_grid(plain, grid, x64):
    points, area = grid
    p, q = (on_grid(parameters, points) for parameters in plain)
    a, b = map(made, plain)
    np.testing.assert_allclose(jaxgmm.l2(a, b), np.sum((p - q) ** 2) * area, rtol=1e-10)
    inner = np.sum(p * q) * area
    np.testing.assert_allclose(jaxgmm.log_inner(a, b), np.log(inner), rtol=1e-10)
    cosine = inner / np.sqrt(np.sum(p**2) * np.sum(q**2)) / area
    np.testing.assert_allclose(jaxgmm.cauchy_schwarz(a, b), -np.log(cosine), rtol=1e-10)


def test_sampled_integrals_are_those_of_a_grid(plain, grid, x64):
    points, area = grid
    p, q = (on_grid(parameters, points) for parameters in plain)
    positive = p > 0  # where p underflows, it adds nothing
    p, q = p[positive], q[positive]
    a, b = map(made, plain)
    key = jax.random.key(1)
    middle = (p + q) / 2
    divergence = lambda p, q: area * np.sum(p * np.log(p / q), where=(p > 0) & (q > 0))
    expected = {
        "kl": divergence(p, q),
        "js": (divergence(p, middle) + divergence(q, middle)) / 2,
        "entropy": -area * np.sum(p * np.log(p)),
    }
    found = {
        "kl": jaxgmm.kl(key, a, b, 50_000),
        "js": jaxgmm.js(key, a, b, 50_000),
        "entropy": jaxgmm.entropy(key, a, 50_000),
    }
    for name, estimate in found.items():
        assert 0 < estimate.standard_error < 0.05
        assert abs(estimate.value - expected[name]) < 4 * estimate.standard_error, name
    low, high = jaxgmm.entropy_bounds(a)
    assert low < expected["entropy"] < high
    edge = jaxgmm.level(key, a, 0.9)
    assert np.sum(p, where=np.log(p) >= edge) * area == pytest.approx(0.9, abs=0.006)


def test_single_gaussians_are_the_textbook(x64):
    (_, means, covariances) = random_mixture(6, 2, D, "full")
    a, b = (made(([1.0], means[i : i + 1], covariances[i : i + 1])) for i in range(2))
    (m, n), (s, t) = means, covariances
    precision, apart = np.linalg.inv(t), m - n
    kl = np.trace(precision @ s) + apart @ precision @ apart - D
    kl = (kl + np.linalg.slogdet(t)[1] - np.linalg.slogdet(s)[1]) / 2
    np.testing.assert_allclose(jaxgmm.kl_variational(a, b), kl, rtol=1e-12)
    entropy = scipy.stats.multivariate_normal(m, s).entropy()
    np.testing.assert_allclose(jnp.stack(jaxgmm.entropy_bounds(a)), [entropy] * 2, rtol=1e-12)
    root = np.real(scipy.linalg.sqrtm(s))
    cross = np.trace(np.real(scipy.linalg.sqrtm(root @ t @ root)))
    square = apart @ apart + np.trace(s) + np.trace(t) - 2 * cross
    np.testing.assert_allclose(jaxgmm.bures(a, b), [[square]], rtol=1e-10)
    np.testing.assert_allclose(jaxgmm.mw2(a, b), np.sqrt(square), rtol=1e-10)
    # The optimal map of Gaussians moves a onto b: its linear part is symmetric.
    plan = jaxgmm.mw2_plan(a, b)
    images = np.asarray(plan.map(np.vstack([m, m + np.eye(D)])))
    linear = images[1:] - images[0]
    np.testing.assert_allclose(linear, linear.T, atol=1e-10)
    np.testing.assert_allclose(linear.T @ s @ linear, t, atol=1e-10)
    np.testing.assert_allclose(images[0], n, atol=1e-10)


def test_mw2_is_the_least_cost_of_all_plans(x64):
    """For equal weights the best plan is the best permutation."""
    import itertools

    even = np.full(4, 0.25)
    (_, means, covariances), (_, others, spreads) = (
        random_mixture(seed, 4, 3, "full") for seed in (7, 8)
    )
    a, b = made((even, means, covariances)), made((even, others, spreads))
    cost = np.asarray(jaxgmm.bures(a, b))
    best = min(sum(cost[range(4), order]) / 4 for order in itertools.permutations(range(4)))
    np.testing.assert_allclose(jaxgmm.mw2(a, b) ** 2, best, rtol=1e-10)
    plan = np.asarray(jaxgmm.mw2_plan(a, b).plan)
    assert np.sum(plan > 0) == 4 and plan.max() == pytest.approx(0.25)


def test_mw2_is_pots(x64):
    gmm = pytest.importorskip("ot.gmm")
    from jaxgmm.numerics import transport

    one, other = (random_mixture(seed, 5, 6, "full") for seed in (9, 10))
    expected = gmm.gmm_ot_loss(one[1], other[1], one[2], other[2], one[0], other[0])
    a, b = made(one), made(other)
    np.testing.assert_allclose(jaxgmm.mw2(a, b) ** 2, expected, rtol=1e-10)
    cost = np.asarray(jaxgmm.bures(a, b))
    values = [
        np.sum(solve(cost, one[0], other[0])[0] * cost)
        for solve in (transport._by_network_simplex, transport._by_linear_program)
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-10)


@pytest.mark.thorough
def test_slopes_are_those_of_differences(x64):
    """Transport by weights, means and covariances; quantiles; and all estimates on average."""
    a, b = (made(random_mixture(seed, 3, 2, "full")) for seed in (11, 12))
    leaves, tree = jax.tree.flatten(a)
    direction = jax.tree.unflatten(
        tree, [np.random.default_rng(0).normal(size=leaf.shape) for leaf in leaves]
    )

    def everything(t):
        moved = jax.tree.map(lambda leaf, slope: leaf + t * slope, a, direction)
        return jnp.stack([
            jaxgmm.mw2(moved, b), jaxgmm.mw2(b, moved), jnp.sum(jaxgmm.bures(moved, b)),
            jaxgmm.quantile(jaxgmm.marginal(moved, 0), 0.3),
            jnp.sum(jaxgmm.regress(moved, 0, [[0.3]]).quantile(0.8)),
            jaxgmm.kl_variational(moved, b), jaxgmm.l2(moved, b),
            jaxgmm.cauchy_schwarz(moved, b), *jaxgmm.entropy_bounds(moved),
        ])  # fmt: skip

    run = jax.jit(everything)
    slope = jax.jit(jax.jacfwd(everything))(0.0)
    step = 1e-4  # of a central difference with an error of the fourth order
    near, far = (run(h) - run(-h) for h in (step, 2 * step))
    np.testing.assert_allclose(slope, (8 * near - far) / (12 * step), rtol=1e-7, atol=1e-9)


def test_estimates_have_unbiased_slopes(x64):
    """By the weights too, from which rows are drawn. The slopes of many keys average to the truth,
    which a grid gives."""
    a = jaxgmm.Mixture.from_parameters([0.4, 0.6], [[0.0], [3.0]], [[[1.0]], [[0.5]]])
    b = jaxgmm.Mixture.from_parameters([1.0], [[1.0]], [[[2.0]]])
    x = np.linspace(-15, 15, 3001)[:, None]

    def exact(a):
        log_p, log_q = jaxgmm.log_prob(a, x), jaxgmm.log_prob(b, x)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q)) * 0.01

    keys = jax.random.split(jax.random.key(0), 400)
    slopes = jax.vmap(jax.grad(lambda key, a: jaxgmm.kl(key, a, b, 200).value, 1), (0, None))
    for found, expected in zip(
        jax.tree.leaves(slopes(keys, a)), jax.tree.leaves(jax.grad(exact)(a)), strict=True
    ):
        error = np.std(found, axis=0) / np.sqrt(len(keys))
        assert (np.abs(np.mean(found, axis=0) - expected) < 4.5 * error + 1e-9).all()


def test_second_derivatives_of_transport_are_refused(x64):
    a, b = (made(random_mixture(seed, 3, 2, "full")) for seed in (11, 12))
    with pytest.raises(ValueError, match="second derivatives of a transport cost"):
        jax.hessian(lambda t: jaxgmm.mw2(a.translate(t), b))(jnp.zeros(2))


def test_functions_work_under_vmap_and_trace_once_for_many_values(x64):
    a = made(random_mixture(1, K, D, "full"))
    x = np.random.default_rng(0).normal(size=(3, 2))
    traces = []

    @jax.jit
    def one(row):
        traces.append(1)
        return jaxgmm.condition(a, (0, 1), row)

    lanes = jax.vmap(one)(x)
    assert len(traces) == 1
    for i, row in enumerate(x):
        alone = jaxgmm.condition(a, (0, 1), row)
        np.testing.assert_allclose(lanes.means[i], alone.means, rtol=1e-12)
    assert lanes.covariances.shape == (3, K, D - 2, D - 2)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), a, a.translate(jnp.ones(D)))
    distances = jax.vmap(jaxgmm.mw2, in_axes=(0, None))(batch, a)
    np.testing.assert_allclose(distances, [0, 2], atol=1e-10)


def test_names_stand_for_numbers(x64):
    a = made(random_mixture(1, K, D, "full"))
    names = ["bill", "depth", "flipper", "mass"]
    by_name = jaxgmm.regress(a, ["mass", "bill"], [[1.0, 2.0]], names=names)
    by_number = jaxgmm.regress(a, [3, 0], [[1.0, 2.0]])
    np.testing.assert_array_equal(by_name.mean, by_number.mean)
    one = jaxgmm.condition(a, "mass", [1.0], names=names)
    np.testing.assert_array_equal(one.means, jaxgmm.condition(a, 3, [1.0]).means)
    np.testing.assert_array_equal(one.means, jaxgmm.condition(a, 3, 1.0).means)
    np.testing.assert_array_equal(
        jaxgmm.marginal(a, "depth", names=names).means, jaxgmm.marginal(a, 1).means
    )
