"""What rounding leaves: float32 beside float64, scales, the floor of the residual."""

import jax
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import Mixture


def three_clusters(widths, offset):
    """150 rows of clusters of these widths a few units apart, in float32; and a start for them."""
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0, 1.0, 1.0], [2.5, 0.5, 0.0, 1.0], [-1.0, 2.5, 2.0, 0.0]])
    component = rng.permutation(np.repeat(np.arange(3), [70, 40, 40]))
    x = centres[component] + widths[component, None] * rng.normal(size=(150, 4)) + offset
    rows = np.array([np.flatnonzero(component == j)[0] for j in range(3)])
    return x.astype(np.float32), x[rows]


@pytest.mark.parametrize("steps", [1, 10, 200])
@pytest.mark.parametrize("case", ["iris", "offset", "widths"])
def test_float32_stays_near_float64(family, case, steps, iris, x64):
    if case == "iris":
        x = iris.astype(np.float32)
        first = reference.start(x.astype(np.float64), 3, family)
    else:
        widths = np.ones(3) if case == "offset" else np.array([1.0, 0.1, 0.01])
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
        assert 0 <= float(fit.residual) < floor
