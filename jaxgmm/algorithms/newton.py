"""Newton's method within a trust region, safeguarded by EM."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.objective_value import objective_value, rounding_error
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import em_step
from .newton_step import NewtonStep, newton_step
from .protocol import Pass


@dataclasses.dataclass(frozen=True)
class Newton:
    """Newton's method on the exact Hessian, within a trust region.

    The objective's quadratic model is increased by conjugate gradients, in relative coordinates
    that are scaled by EM's metric, the complete-data information. The step is truncated at the
    boundary of the trust region, and follows directions in which the objective curves up to that
    boundary. It is accepted if it raises the objective by at least half of what EM's step is
    certain to raise it by. Otherwise EM's step is taken instead, so the objective never decreases.

    Near an optimum the convergence is quadratic, however slow EM is there.

    A move makes one pass for the new mixture, another one if it takes EM's step, and those for
    second derivatives, by one of two methods:

    - For up to 200 parameters, the Hessian is computed as a matrix. That is one reading of the rows
      (Louis' identity), but takes the time of more passes: it counts as 1 + p/6 passes for p
      parameters, as measured. (For low-rank families, p is the number of parameters of full
      covariances.)
    - Otherwise, and for rows that are not fully observed, each step of conjugate gradients computes
      a product with the Hessian, which counts as 2 passes, as measured.

    Args:
      radius: the radius of the first trust region, in the metric of EM: a step of length s changes
        the expected complete-data log-likelihood by about s²/2 nats per unit of row weight.

    Raises:
      ValueError: if `radius` is not positive.

    Source: Steihaug 1983, SIAM J. Numer. Anal. 20; for mixtures, Sembach, Burgard & Schulz 2021,
    arXiv 2104.14957; the Hessian, Louis 1982, J. Royal Stat. Soc. B 44.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.Newton())
    >>> bool(found.converged)
    True
    """

    radius: float = 0.5

    def __post_init__(self) -> None:
        checks.positive(self.radius, "radius")
        object.__setattr__(self, "radius", float(self.radius))

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
    ) -> tuple[Mixture, jax.Array, Statistics, jax.Array | float]:
        """Make Newton's step, or EM's."""
        if not isinstance(evaluate, Pass):
            raise ValueError("Newton() needs the rows themselves: pass a Pass as `evaluate`.")
        moved = safeguarded_step(mixture, state, statistics, evaluate, prior)
        return moved.mixture, moved.radius, moved.statistics, moved.passes


class SafeguardedStep(NamedTuple):
    """The result of `safeguarded_step`.

    `accepted` is whether Newton's step was taken, rather than EM's.
    """

    mixture: Mixture
    statistics: Statistics
    radius: jax.Array
    accepted: jax.Array
    passes: jax.Array


def safeguarded_step(
    mixture: Mixture,
    radius: jax.Array,
    statistics: Statistics,
    evaluate: Pass,
    prior: Prior | None,
) -> SafeguardedStep:
    """Make Newton's step within a trust region, or EM's where that is not good.

    The arguments are those of `Algorithm.move`, with the radius of the trust region. The objective
    does not decrease.
    """
    step = newton_step(mixture, statistics, evaluate, prior, radius)
    sums = evaluate(step.mixture)
    before = objective_value(mixture, statistics, prior)
    rise = objective_value(step.mixture, sums, prior) - before
    noise = rounding_error(before, before.dtype)
    total = jnp.sum(statistics.mass)
    by_em = em_step(mixture, statistics, evaluate, prior)
    accepted = rise >= total * by_em.em_gain / 2 - noise  # False for NaN

    def keep() -> tuple[Mixture, Statistics]:
        return step.mixture, sums

    def take_em_step() -> tuple[Mixture, Statistics]:
        moved = by_em.apply_to(mixture)
        return moved, evaluate(moved)

    moved, sums = jax.lax.cond(accepted, keep, take_em_step)
    return SafeguardedStep(
        mixture=moved,
        statistics=sums,
        radius=_next_radius(radius, step, rise / total, noise / total),
        accepted=accepted,
        passes=step.passes + jnp.where(accepted, 1.0, 2.0),
    )


def _next_radius(
    radius: jax.Array, step: NewtonStep, rise: jax.Array, noise: jax.Array
) -> jax.Array:
    """Return the next radius, from the rise of the objective and its rounding error.

    Both are per unit of row weight. The rise is compared with the rise that the model predicted.
    """
    visible = step.gain > 10 * noise
    good = rise > 0.75 * step.gain
    poor = ~(rise >= 0.25 * step.gain) & (visible | ~(rise >= -noise))
    longer = jnp.where(good & visible & step.at_boundary, 2 * radius, radius)
    return jnp.where(poor, step.length / 4, longer)
