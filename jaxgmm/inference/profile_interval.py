"""`profile_interval`: a confidence interval from the likelihood itself, not from its curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data.rows import Rows
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.expected_derivatives import offsets_of
from ..objective.information import numbers_in_information
from ..objective.newton_system import evaluate_near
from ..objective.prior import Prior, log_prior
from .intervals import check_level, normal_quantile
from .profile_equations import Problem
from .profile_path import End, Tangent, find_end


class ProfileInterval(NamedTuple):
    """The result of `profile_interval`.

    Attributes:
      low: () the lower end, or NaN.
      high: () the upper end, or NaN.
      status: (2,) a `Status` for each end: CONVERGED; DEGENERATE where a component loses its rows
        before the objective has fallen by q/2, so that the interval has no end there; MAX_STEPS
        where the search did not reach the end; NONFINITE where the mixture is no maximum.
      passes: (2,) the passes over the rows that each end took.
      gain: (2,) by how much the objective rises above that of the mixture on the way to each end,
        or 0. If it does, the mixture is not the best maximum: fit it from more starts.
    """

    low: jax.Array
    high: jax.Array
    status: jax.Array
    passes: jax.Array
    gain: jax.Array


def profile_interval(
    g: Callable[[Mixture], Any],
    mixture: Mixture,
    x: Any,
    *,
    level: float = 0.95,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    devices: Sequence[jax.Device] | None = None,
) -> ProfileInterval:
    """Return the values of g for which the objective is within q/2 of its maximum.

    q is the quantile of χ² with one degree of freedom. All parameters that g does not determine
    are at their best for each value. Unlike Wald's interval it does not depend on how g is scaled,
    and it need not be symmetric. The interval may include further maxima, such as the same mixture
    with its components in another order, if the objective does not fall far enough before them.

    Args:
      g: a differentiable function of a mixture that returns a number ().
      mixture: a maximum of the objective.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      level: the probability with which the interval covers the true value.
      weight: (n,) row weights, or None for ones.
      prior: the prior with which the mixture was fitted, as in `fit`.
      devices: the devices over which an array of many rows is divided; all local devices by
        default.

    Returns:
      A `ProfileInterval`. An end takes about six passes like those of `uncertainty`, and up to 200
      where the objective is far from quadratic. float64 is recommended.

    Raises:
      ValueError: as in `fit`, or if the level is not between 0 and 1, or g returns no number.

    Source: Venzon & Moolgavkar 1988, Applied Statistics 37.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2), tolerance=1e-12)
    >>> ends = jaxgmm.profile_interval(lambda m: m.weights[0], found.mixture, x)
    >>> bool(ends.low < found.mixture.weights[0] < ends.high)
    True
    """
    check_level(level)
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    prior = priors.resolve_prior(prior, data)
    checks.one_mixture(mixture)
    shape = jax.eval_shape(g, mixture)
    if getattr(shape, "shape", None) != ():
        raise ValueError(f"g returns {shape}: it must return one number, such as m.weights[0].")
    half = jnp.asarray(np.asarray(normal_quantile(level), data.dtype))
    numbers = numbers_in_information(mixture, data.n)
    return data.compute_once(_profile, mixture, prior, half, numbers=numbers, g=g)


def _profile(
    rows: Rows, mixture: Mixture, prior: Prior | None, quantile: jax.Array, g: Callable[..., Any]
) -> ProfileInterval:
    point, found, _, inverse, _ = evaluate_near(rows, mixture, prior)
    best = found.sums.log_likelihood + log_prior(point, prior)
    zero, mixture_at = offsets_of(point)
    value, slope = jax.value_and_grad(lambda offsets: g(mixture_at(offsets)))(zero)
    direction = matmul(inverse, slope)
    error = jnp.sqrt(jnp.vdot(slope, direction, precision="highest"))
    noise = 100 * jnp.finfo(zero.dtype).eps * jnp.maximum(jnp.abs(best), 1)
    length = jnp.linalg.norm(direction)

    def end(sign: jax.Array) -> End:
        problem = Problem(rows, prior, g, sign, best, quantile, noise)
        start = Tangent(point, value, sign * direction / length)
        return find_end(problem, start, quantile * length / error)

    ends = jax.lax.map(end, jnp.array([-1, 1], zero.dtype))
    low, high = ends.value
    return ProfileInterval(low, high, ends.status, ends.passes, ends.gain)
