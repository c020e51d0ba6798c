"""Quasi-Newton acceleration of EM by secants of its map."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..numerics import lapack
from ..numerics.products import matmul
from .secants import SecantMethod, SecantState


@dataclasses.dataclass(frozen=True)
class QuasiNewtonEM(SecantMethod):
    """EM accelerated by a quasi-Newton correction from pairs of EM steps.

    Let M be EM's map. Every second move is an EM step from x to M(x). The pairs u = M(x) − x and
    v = M(M(x)) − M(x) of the last EM steps are the columns of U and V, so that V is about M' U. The
    other moves solve M(y) = y with the derivative V (UᵀU)⁻¹ Uᵀ for M'. They lead from x' = M(x) to
    M(x') + V (UᵀU − UᵀV)⁻¹ Uᵀ (M(x') − x').

    A move makes one pass. A corrected move that lowers the objective is rejected, and the next one
    is EM's step, so the objective never decreases. The length of a correction is limited, and one
    that points against EM's step is reversed, as in `Anderson`. After every 20 accepted moves the
    pairs are forgotten, and positions are measured from the current mixture (see `Chart`), so the
    path does not depend on the data's units.

    Args:
      memory: the largest number of pairs.

    Raises:
      ValueError: if `memory` is not a whole number, 1 or more.

    Source: Zhou, Alexander & Lange 2011, Stat. Comput. 21, eq. 5, which starts the correction at x
    instead of x'; Jamshidian & Jennrich 1997, J. R. Stat. Soc. B 59.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.QuasiNewtonEM())
    >>> bool(found.converged)
    True
    """

    memory: int = 2

    alternates: ClassVar[bool] = True

    def correction(self, state: SecantState, residual: jax.Array) -> jax.Array:
        """Return V (UᵀU − UᵀV)⁻¹ Uᵀ f, from pairs that are scaled to |u| = 1."""
        u = state.positions
        v = u + state.residuals
        squares = jnp.sum(u**2, axis=1)
        lengths = jnp.sqrt(jnp.where(squares > 0, squares, 1))[:, None]
        u, v = u / lengths, v / lengths
        weights = _solve(matmul(u, (u - v).T), matmul(u, residual[:, None]))
        return matmul(weights.T, v)[0]


def _solve(matrix: jax.Array, side: jax.Array) -> jax.Array:
    """Return the shortest x (m, 1) that minimizes |A x − b|, leaving out what rounding hides."""
    left, scale, right = (part[0] for part in lapack.svd(matrix[None]))
    used = scale > 1e3 * jnp.finfo(scale.dtype).eps * scale[0]
    inside = jnp.where(used[:, None], matmul(left.T, side), 0)
    return matmul(right.T, inside / jnp.where(used, scale, 1)[:, None])
