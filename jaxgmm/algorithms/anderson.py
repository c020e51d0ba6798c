"""Anderson acceleration of EM, damped and safeguarded (DAAREM)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..numerics import lapack
from ..numerics.products import matmul
from .secants import SecantMethod, SecantState

# Half of the full length is allowed after HALFWAY accepted corrections, and δ then changes by a
# factor of about SLOPE with each (Henderson & Varadhan 2019, sec. 3.2, whose names are κ and α).
HALFWAY, SLOPE = 25.0, 1.2

# Iterations of Hebden for the ridge. Three digits are more than enough.
RIDGE_ITERATIONS = 8


@dataclasses.dataclass(frozen=True)
class Anderson(SecantMethod):
    """EM accelerated by Anderson's method, damped and safeguarded: DAAREM.

    Let M be EM's map and f(x) = M(x) − x. From the last differences of x (the columns of X) and of
    f (the columns of F), the move from x is M(x) − (X + F) γ, where γ minimizes |f(x) − F γ|, so
    that f is about 0 there. A ridge shortens γ while few corrections have been accepted.

    A move makes one pass. A corrected move that lowers the objective is rejected, and the next one
    is EM's step, so the objective never decreases. A correction may at first be as long as EM's
    step. It may be longer after corrections that helped, and must be shorter after others. If it
    points against EM's step, as it does near a saddle, its opposite is used. After every 20
    accepted moves the differences are forgotten, and positions are measured from the current
    mixture (see `Chart`), so the path does not depend on the data's units.

    Args:
      memory: the largest number of differences.

    Raises:
      ValueError: if `memory` is not a whole number, 1 or more.

    Source: Henderson & Varadhan 2019, J. Comput. Graph. Stat. 28, algorithm 2 (the ridge); Walker &
    Ni 2011, SIAM J. Numer. Anal. 49. The safeguard, the length and the sign are this library's.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.Anderson())
    >>> bool(found.converged)
    True
    """

    memory: int = 5

    alternates: ClassVar[bool] = False

    def correction(self, state: SecantState, residual: jax.Array) -> jax.Array:
        """Return −(X + F) γ."""
        fraction = 1 / (1 + SLOPE ** (HALFWAY - state.confidence))
        gamma = damped_least_squares(state.residuals, residual, fraction)
        return -matmul(gamma[None], state.positions + state.residuals)[0]


def damped_least_squares(rows: jax.Array, target: jax.Array, fraction: jax.Array) -> jax.Array:
    """Return the γ (m,) that minimizes |target − Σ γ_i rows_i|² + λ Σ (γ_i |rows_i|)².

    λ makes Σ (γ_i |rows_i|)² a fraction of what it is at λ = 0.

    Args:
      rows: (m, p) vectors. Rows of zeros are allowed, and their γ is 0. Of rows that are linearly
        dependent up to rounding, the shortest solution is used.
      target: (p,).
      fraction: () in (0, 1].
    """
    squares = jnp.sum(rows**2, axis=1)
    lengths = jnp.sqrt(jnp.where(squares > 0, squares, 1))
    unit = rows / lengths[:, None]
    values, vectors = (part[0] for part in lapack.eigh(matmul(unit, unit.T)[None]))
    used = values > 10 * len(rows) * jnp.finfo(rows.dtype).eps * values[-1]
    values = jnp.where(used, values, 1)
    sides = jnp.where(used, matmul(vectors.T, matmul(unit, target[:, None]))[:, 0], 0)
    goal = fraction * jnp.sum((sides / values) ** 2)

    def improve(_: int, ridge: jax.Array) -> jax.Array:
        # Hebden's iteration: the reciprocal length is almost linear in λ.
        squares = (sides / (values + ridge)) ** 2
        size, slope = jnp.sum(squares), jnp.sum(squares / (values + ridge))
        excess = jnp.sqrt(size / jnp.where(goal > 0, goal, 1)) - 1
        return ridge + jnp.where(goal > 0, excess * size / jnp.where(slope > 0, slope, 1), 0)

    ridge = jax.lax.fori_loop(0, RIDGE_ITERATIONS, improve, jnp.zeros_like(goal))
    return matmul(vectors, (sides / (values + ridge))[:, None])[:, 0] / lengths
