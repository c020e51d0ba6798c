"""Newton's method within a trust region, safeguarded by EM."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..numerics.trust_region import TruncatedStep, symmetric_rank_one, truncated_step
from ..objective.objective_value import objective_value, rounding_error
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import em_step
from .newton_model import PASSES_PER_PRODUCT, EMCoordinates, passes_of_matrix, uses_matrix
from .protocol import Pass

# The largest number of products for one step if the Hessian is not computed as a matrix.
MOST_PRODUCTS = 50
# The relative residual at which conjugate gradients end, at most; and with a matrix.
LOOSEST, WITH_MATRIX = 0.1, 1e-5
# A step is accepted if the objective rises by at least this fraction of what the model predicts.
SUFFICIENT = 1e-4


@dataclasses.dataclass(frozen=True)
class Newton:
    """Newton's method on the exact Hessian, within a trust region.

    The objective's quadratic model is increased by conjugate gradients, in relative coordinates
    that are scaled by EM's metric, the complete-data information. A step is truncated at the
    boundary of the trust region, and follows directions in which the objective curves up to that
    boundary.

    A Hessian takes the time of several passes, so a move makes several steps with it. After each
    step the model is corrected by the change of the gradient, as in quasi-Newton methods: a
    symmetric matrix of rank one is added, such that the model predicts this change. The move ends
    after `steps` steps, or once the gradient is so small that the fit stops. If the move raises the
    objective by less than half of what EM's step is certain to raise it by, EM's step is taken
    instead, so the objective never decreases.

    Near an optimum the convergence is quadratic or better, however slow EM is there. Many steps
    with one Hessian pay where the objective is not close to quadratic yet, which is where EM is
    slow.

    A move makes one pass for each step, another one if it takes EM's step, and those for second
    derivatives, by one of two methods:

    - For up to 200 parameters, the Hessian is computed as a matrix. That is one reading of the rows
      (Louis' identity), but takes the time of more passes: it counts as 1 + p/6 passes for p
      parameters, as measured. (For low-rank families, p is the number of parameters of full
      covariances.)
    - Otherwise, and for rows that are not fully observed, a move is one step. Each step of
      conjugate gradients computes a product with the Hessian, which counts as 2 passes, as
      measured.

    Args:
      radius: the radius of the first trust region, in the metric of EM: a step of length s changes
        the expected complete-data log-likelihood by about s²/2 nats per unit of row weight.
      steps: the largest number of steps with one Hessian; 1 is Newton's method of the textbooks.

    Raises:
      ValueError: if `radius` is not positive, or `steps` is not a whole number, 1 or more.

    Source: Steihaug 1983, SIAM J. Numer. Anal. 20; for mixtures, Sembach, Burgard & Schulz 2021,
    arXiv 2104.14957; the Hessian, Louis 1982, J. Royal Stat. Soc. B 44; the corrections, Nocedal &
    Wright 2006, algorithm 6.2, which begins with the Hessian here.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.Newton())
    >>> bool(found.converged)
    True
    """

    radius: float = 0.5
    steps: int = 16

    def __post_init__(self) -> None:
        checks.positive(self.radius, "radius")
        object.__setattr__(self, "radius", float(self.radius))
        object.__setattr__(self, "steps", checks.whole(self.steps, "steps", 1))

    def init(self, mixture: Mixture, statistics: Statistics) -> jax.Array:
        """Return the radius of the trust region."""
        return jnp.full((), self.radius, mixture.dtype)

    def move(
        self,
        mixture: Mixture,
        state: jax.Array,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, jax.Array, Statistics, jax.Array]:
        """Make Newton's steps, or EM's."""
        if not isinstance(evaluate, Pass):
            raise ValueError("Newton() needs the rows themselves: pass a Pass as `evaluate`.")
        search = _Search(EMCoordinates.about(mixture, statistics, prior), evaluate)
        start = search.start(statistics, state)
        if uses_matrix(mixture, evaluate):
            end, passes = search.with_matrix(start, self.steps)
        else:
            end, passes = search.with_products(start)
        by_em = em_step(mixture, statistics, evaluate, prior)
        accepted = end.value - start.value >= by_em.em_gain / 2 - search.noise(start)

        def keep() -> tuple[Mixture, Statistics]:
            return search.coordinates.mixture_at(end.position), end.sums

        def take_em_step() -> tuple[Mixture, Statistics]:
            moved = by_em.after
            return moved, evaluate(moved)

        moved, sums = jax.lax.cond(accepted, keep, take_em_step)
        return moved, end.radius, sums, passes + jnp.where(accepted, 0.0, 1.0)


class _Point(NamedTuple):
    """The last accepted position (p,), with the objective and its gradient per unit of row weight.

    `sums` are the statistics there, and `radius` is that of the next step's trust region.
    """

    position: jax.Array
    value: jax.Array
    gradient: jax.Array
    sums: Statistics
    radius: jax.Array


class _Search(NamedTuple):
    """Steps within a trust region, in the coordinates about one mixture."""

    coordinates: EMCoordinates
    take_pass: Pass

    def start(self, sums: Statistics, radius: jax.Array) -> _Point:
        """Return the mixture itself."""
        zero = jnp.zeros_like(self.coordinates.scale)
        value = self._value(self.coordinates.base, sums)
        return _Point(zero, value, self.coordinates.gradient(zero, sums), sums, radius)

    def noise(self, point: _Point) -> jax.Array:
        """Return the rounding error of the objective, per unit of row weight."""
        return rounding_error(point.value, point.value.dtype)

    def with_matrix(self, start: _Point, most: int) -> tuple[_Point, jax.Array]:
        """Make up to `most` steps with one Hessian; return the end, and the passes made."""
        evaluate, coordinates = self.take_pass, self.coordinates
        threshold = 0.0 if evaluate.tolerance is None else evaluate.tolerance

        def unfinished(state: tuple[jax.Array, _Point, jax.Array]) -> jax.Array:
            made, point, _ = state
            # Half of the squared gradient is EM's gain, about.
            is_steep = jnp.sum(point.gradient**2) > threshold
            return (made < most) & (is_steep | (made == 0))

        def step(state: tuple[jax.Array, _Point, jax.Array]) -> tuple[jax.Array, _Point, jax.Array]:
            made, point, matrix = state
            tolerance = jnp.minimum(WITH_MATRIX, jnp.linalg.norm(point.gradient))
            times = coordinates.times_matrix(matrix)
            most_products = 2 * len(point.gradient)
            found = truncated_step(times, point.gradient, point.radius, tolerance, most_products)
            trial, after = self._try(point, found)
            fall = point.gradient - trial.gradient
            return made + 1, after, symmetric_rank_one(matrix, times, found.step, fall)

        matrix = coordinates.hessian(evaluate)
        made, end, _ = jax.lax.while_loop(unfinished, step, (jnp.int32(0), start, matrix))
        return end, passes_of_matrix(coordinates.base) + made.astype(jnp.float32)

    def with_products(self, start: _Point) -> tuple[_Point, jax.Array]:
        """Make one step, with products of the Hessian; return the end, and the passes made."""
        tolerance = jnp.minimum(LOOSEST, jnp.linalg.norm(start.gradient))
        times = self.coordinates.times_hessian(self.take_pass)
        most_products = min(MOST_PRODUCTS, len(start.gradient))
        found = truncated_step(times, start.gradient, start.radius, tolerance, most_products)
        passes = PASSES_PER_PRODUCT * found.products.astype(jnp.float32) + 1
        return self._try(start, found)[1], passes

    def _value(self, mixture: Mixture, sums: Statistics) -> jax.Array:
        total, prior = self.coordinates.total, self.coordinates.prior
        return objective_value(mixture, sums, prior) / total

    def _try(self, point: _Point, found: TruncatedStep) -> tuple[_Point, _Point]:
        """Return the trial, and the trial or the given point with the next radius."""
        position = point.position + found.step
        mixture = self.coordinates.mixture_at(position)
        sums = self.take_pass(mixture)
        gradient = self.coordinates.gradient(position, sums)
        trial = _Point(position, self._value(mixture, sums), gradient, sums, point.radius)
        noise, rise = self.noise(point), trial.value - point.value
        accepted = rise >= SUFFICIENT * found.gain - noise  # False for NaN
        radius = _next_radius(point.radius, found, rise, noise)
        return trial, where(accepted, trial, point)._replace(radius=radius)


def _next_radius(
    radius: jax.Array, found: TruncatedStep, rise: jax.Array, noise: jax.Array
) -> jax.Array:
    """Return the next radius, from the rise of the objective and its rounding error.

    Both are per unit of row weight. The rise is compared with the rise that the model predicted.
    """
    visible = found.gain > 10 * noise
    good = rise > 0.75 * found.gain
    poor = ~(rise >= 0.25 * found.gain) & (visible | ~(rise >= -noise))
    longer = jnp.where(good & visible & found.at_boundary, 2 * radius, radius)
    return jnp.where(poor, found.length / 4, longer)
