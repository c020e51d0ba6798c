"""`profile_interval`: a confidence interval from the likelihood itself, not from its curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data.rows import Rows
from ..fitting.status import Status
from ..internal import checks
from ..internal.trees import where
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.eigenvalues import restrict
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.expected_derivatives import offsets_of
from ..objective.information import information, numbers_in_information
from ..objective.newton_system import evaluate_near, held_directions
from ..objective.prior import Prior, log_prior
from .intervals import check_level, normal_quantile

MOST_ITERATIONS, LONGEST = 25, 0.5


class ProfileInterval(NamedTuple):
    """The result of `profile_interval`.

    Attributes:
      low: () the lower end, or NaN.
      high: () the upper end, or NaN.
      status: (2,) a `Status` for each end: CONVERGED; MAX_STEPS where the iteration did not
        converge, as where a weight goes to 0; NONFINITE where the mixture is no maximum, or the
        iteration did not find the end on its side of the estimate.
    """

    low: jax.Array
    high: jax.Array
    status: jax.Array


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
    and it need not be symmetric.

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
      A `ProfileInterval` (low, high, status). An end takes three to five passes like those of
      `uncertainty`. float64 is recommended.

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
    goal = best - quantile**2 / 2
    zero, mixture_at = offsets_of(point)
    slope = jax.grad(lambda offsets: g(mixture_at(offsets)))(zero)
    direction = matmul(inverse, slope)
    error = jnp.sqrt(jnp.vdot(slope, direction, precision="highest"))
    noise = 100 * jnp.finfo(zero.dtype).eps * jnp.maximum(jnp.abs(goal), 1)

    def end(sign: jax.Array) -> tuple[jax.Array, jax.Array]:
        first = _shorten(sign * quantile * direction / error)
        begin = (
            jnp.int32(0),
            mixture_at(first),
            sign * quantile / error,
            jnp.array(jnp.inf, zero.dtype),
        )

        def unfinished(state: tuple[Any, ...]) -> jax.Array:
            return (state[0] < MOST_ITERATIONS) & (state[3] > noise)

        def iterate(state: tuple[Any, ...]) -> tuple[Any, ...]:
            number, here, multiplier, _ = state
            step, rise, missing = _newton(rows, here, prior, g, goal, multiplier)
            moved = offsets_of(here)[1](_shorten(step))
            good = jnp.isfinite(missing)
            return (
                number + 1,
                where(good, moved, here),
                multiplier + rise,
                jnp.where(good, missing, 0),
            )

        number, here, multiplier, missing = jax.lax.while_loop(unfinished, iterate, begin)
        value = g(here)
        # Where the objective is far from quadratic, Newton's method may find the other end.
        right = (sign * (value - g(point)) > 0) & (sign * multiplier > 0)
        status = jnp.where(number < MOST_ITERATIONS, Status.CONVERGED, Status.MAX_STEPS)
        status = jnp.where(jnp.isfinite(error) & (missing > 0) & right, status, Status.NONFINITE)
        return jnp.where(status == Status.CONVERGED, value, jnp.nan), status

    values, status = jax.lax.map(end, jnp.array([-1, 1], zero.dtype))
    return ProfileInterval(values[0], values[1], status.astype(jnp.int32))


def _newton(
    rows: Rows,
    here: Mixture,
    prior: Prior | None,
    g: Callable[..., Any],
    goal: jax.Array,
    multiplier: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return Newton's step for ∇objective = −λ∇g, objective = goal, and what is missing.

    The sign of the multiplier λ is such that it is positive at the upper end.
    """
    found = information(rows, here, prior, scores=False)
    zero, mixture_at = offsets_of(here)
    of_offsets = lambda offsets: g(mixture_at(offsets))
    slope, bend = jax.grad(of_offsets)(zero), jax.hessian(of_offsets)(zero)
    objective = found.sums.log_likelihood + log_prior(here, prior)
    held = held_directions(here, found.slopes)
    residue = found.gradient + multiplier * slope
    # A step δ + changes of λ solve A δ + ∇g dλ = −residue and ∇objective·δ = goal − objective.
    matrix = -found.observed + multiplier * bend
    size = jnp.trace(found.observed) / len(zero)
    values, vectors = (
        part[0] for part in lapack.eigh((restrict(matrix, held) - size * held.projector)[None])
    )
    solve = lambda vector: -matmul(vectors, matmul(vector, vectors) / values)
    by_residue, by_slope = solve(residue), solve(slope)
    inner = lambda a, b: jnp.vdot(a, b, precision="highest")
    gap = goal - objective - inner(found.gradient, by_residue)
    rise = gap / inner(found.gradient, by_slope)
    missing = jnp.append(residue, objective - goal)
    return by_residue + rise * by_slope, rise, jnp.linalg.norm(missing)


def _shorten(step: jax.Array) -> jax.Array:
    """Return a step (p,) of at most `LONGEST`."""
    return step * jnp.minimum(1, LONGEST / jnp.maximum(jnp.linalg.norm(step), 1e-30))
