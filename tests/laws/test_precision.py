"""What rounding leaves: float32 beside float64, scales, the floor of the residual."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import FAMILIES, Mixture
from jaxgmm.numerics.logarithms import logarithm_and_excess


def three_clusters(widths, offset):
    """150 rows of clusters of these widths a few units apart, in float32; and a start for them."""
    rng = np.random.default_rng(1)
    centers = np.array([[0.0, 0.0, 1.0, 1.0], [2.5, 0.5, 0.0, 1.0], [-1.0, 2.5, 2.0, 0.0]])
    component = rng.permutation(np.repeat(np.arange(3), [70, 40, 40]))
    x = centers[component] + widths[component, None] * rng.normal(size=(150, 4)) + offset
    rows = np.array([np.flatnonzero(component == j)[0] for j in range(3)])
    return x.astype(np.float32), x[rows]


@pytest.mark.parametrize("steps", [1, 10, 200])
@pytest.mark.parametrize("case", ["iris", "offset", "widths", "narrow"])
def test_float32_stays_near_float64(family, case, steps, iris, x64):
    if case == "iris":
        x = iris.astype(np.float32)
        first = reference.start(x.astype(np.float64), 3, family)
    else:
        # Narrower ones still would move by the rounding of their means.
        widths = np.array([1.0, 0.1, 0.005 if case == "narrow" else 0.01])
        widths = np.ones(3) if case == "offset" else widths
        x, means = three_clusters(widths, 1e3 if case == "offset" else 0.0)
        shown = np.ones(3) if family == "tied" else widths
        first = np.full(3, 1 / 3), means, np.stack([np.eye(4) * w**2 for w in shown])
    first = [np.asarray(a, np.float32) for a in first]
    wide, narrow = (
        jaxgmm.fit(
            x.astype(dtype), Mixture.from_parameters(*[a.astype(dtype) for a in first], family=family),
            prior=None, tolerance=0.0, max_steps=steps,
        )
        for dtype in (np.float64, np.float32)
    )  # fmt: skip
    assert narrow.mixture.dtype == np.float32
    truth = wide.mixture.weights, wide.mixture.means, wide.mixture.covariances
    assert reference.distance(narrow.mixture, *map(np.asarray, truth)) < 1e-4
    assert abs(float(narrow.log_likelihood) - float(wide.log_likelihood)) < 1e-5 * len(x)


@pytest.mark.parametrize("scale", [2.0**-27, 2.0**27, np.array([2.0**-27, 1.0, 2.0**27, 1e3])])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_does_not_matter(scale, dtype, penguins, x64):
    x = (penguins - penguins.mean(axis=0)).astype(dtype)
    scale = np.broadcast_to(np.asarray(scale, dtype), 4)
    scaled = x * scale
    fits = [
        jaxgmm.fit(rows, jaxgmm.initialize(jax.random.key(0), rows, 3), tolerance=0.0, max_steps=30)
        for rows in (x, scaled)
    ]
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(fits[0].mixture.weights, fits[1].mixture.weights, atol=tolerance)
    back = np.asarray(fits[1].mixture.means) / scale
    widths = np.sqrt(np.diagonal(fits[0].mixture.covariances, axis1=1, axis2=2))
    assert (np.abs(back - fits[0].mixture.means) < tolerance * widths).all()


def test_residual_is_zero_at_a_fixed_point(family, iris, x64):
    for dtype, floor in ((np.float64, 1e-25), (np.float32, 1e-11)):
        x = iris.astype(dtype)
        first = [a.astype(dtype) for a in reference.start(iris, 3, family)]
        mixture = Mixture.from_parameters(*first, family=family)
        fit = jaxgmm.fit(x, mixture, prior=None, tolerance=0.0, max_steps=1000)
        assert 0 <= float(fit.em_gain) < floor


def excess_in_long_double(u):
    """u − log(1 + u) for |u| < 0.4: u²/2 − u³/3 + …, from its far end."""
    u, rest = u.astype(np.longdouble), 0.0
    for power in range(50, 1, -1):
        rest = 1 / np.longdouble(power) - u * rest
    return u * u * rest


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0.3, 1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_logarithm_near_one(dtype, size, compiled, x64):
    rng = np.random.default_rng(0)
    b = rng.uniform(1, 1000, 5000).astype(dtype)
    a = (b * (1 + size * rng.uniform(-1, 1, 5000))).astype(dtype)
    run = jax.jit(logarithm_and_excess) if compiled else logarithm_and_excess
    logarithm, excess = map(np.asarray, run(jnp.asarray(a), jnp.asarray(b)))
    assert logarithm.dtype == excess.dtype == dtype
    assert (excess >= 0).all()
    u = (a.astype(np.longdouble) - b) / b
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(excess, excess_in_long_double(u).astype(float), rtol=10 * eps)
    np.testing.assert_allclose(logarithm, np.log1p(u).astype(float), rtol=10 * eps)


def test_the_logarithm_far_from_one(x64):
    a = jnp.asarray([0.0, 1e-30, 1e-3, 0.49, 0.51, 1.49, 1.51, 1e3, 1e30, np.nan, -1.0])
    with np.errstate(all="ignore"):
        wanted = np.log(a), a - 1 - np.log(a)
    for found, true in zip(logarithm_and_excess(a), wanted, strict=True):
        np.testing.assert_allclose(found, true, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3), (1, 4095), (2, 2049), (2, 2600)])
def test_the_gain_of_a_covariance(family, dtype, shape, x64):
    """tr C − d − log|C| is a sum of squares for C near I. Its root is a length, which is right to
    the rounding of each entry, however many there are and however a compiler rounds them."""
    (k, d), kind = shape, FAMILIES[family]
    matrices = family in ("full", "tied")
    if matrices and d > 3:
        k, d = k * d // 16, 16
    rng = np.random.default_rng(0)
    mass = rng.uniform(100, 1000, 1 if family == "tied" else k).astype(dtype)
    identity = kind.identity(k, d, dtype)
    maximize = jax.jit(lambda moment, mass: identity.maximize(moment, mass, d)[1])
    for size in (1e-2, 1e-4, 1e-6, 1e-8):
        if matrices:
            noise = size * rng.normal(size=(len(mass), d, d)) / np.sqrt(d)
            whole = np.eye(d) * mass[:, None, None].astype(float)
            moment = (whole + (noise + noise.swapaxes(1, 2)) / 2 * mass[:, None, None]).astype(
                dtype
            )
            apart = np.linalg.eigvalsh((moment - whole) / mass[:, None, None])
        else:
            scales = kind.array_shape(1, d)[1:] or (1,)
            share = d // scales[0]
            whole = share * mass.astype(np.longdouble)[:, None]
            moment = (whole * (1 + size * rng.normal(size=(len(mass), *scales)))).astype(dtype)
            apart = np.repeat((moment - whole) / whole, share, axis=1)
        true = float(np.sum(excess_in_long_double(apart)))
        found = np.asarray(maximize(jnp.asarray(moment), jnp.asarray(mass)), float)
        assert (found >= 0).all()
        rounding = np.finfo(dtype).eps * np.sqrt(apart.size)
        assert abs(np.sqrt(found.sum()) - np.sqrt(true)) < 4e-6 * np.sqrt(true) + 2 * rounding
