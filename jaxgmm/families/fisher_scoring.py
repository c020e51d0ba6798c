"""The M-step of a family that has no formula for it: a step of Fisher scoring on the moments.

It needs no pass over the rows. With T = W' L for the factors of another member, the expected
log-density N log|W'| − ½ tr T M Tᵀ has the Fisher information F_ij = ½ Σ_c N_c tr(P_i P_j), with
P = dT + dTᵀ. The step solves F δ = slope, and is shortened until it gains. EM with it therefore
never lowers the objective (Lange 1995, J. Royal Stat. Soc. B 57, takes one Newton step in place of
an M-step).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from ..numerics.unit_matrix import unit_matrix
from .dense_layout import Dense
from .layout import layout_of

if TYPE_CHECKING:
    from .family import Family

# With more parameters than this, the information is not stored, and conjugate gradients solve.
MOST_STORED = 300
CONJUGATE_STEPS = 50
# The lengths 1, ½, …, 2⁻¹¹ are tried, and no step is longer than this many standard deviations.
LENGTHS = 12
LONGEST = 2.0


def factors_of(member: Family, d: int) -> tuple[Dense, Callable[[jax.Array], jax.Array], Any]:
    """Return a member's layout, the map from flat coordinates to T (c, d, d), and `unravel`.

    `unravel` is a pair of the coordinates of the member itself, and the map from flat coordinates
    to locals.
    """
    zero, unravel_coordinates = ravel_pytree(member.coordinates(member.zero_local()))
    unravel = lambda flat: member.local_at(unravel_coordinates(flat))
    layout = dense_layout_of(member, d)

    def relative(offsets: jax.Array) -> jax.Array:
        return layout.relative(dense_layout_of(member.moved(unravel(offsets)), d))

    return layout, relative, (zero, unravel)


def dense_layout_of(member: Family, d: int) -> Dense:
    """Return the layout of a member; raise ValueError if it is not dense."""
    layout = layout_of(member, d)
    if not isinstance(layout, Dense):
        raise ValueError(
            f"{type(member).__name__} returns a layout that is not dense, and has no formula of "
            "its own for this: define the method, or return a jaxgmm.Dense."
        )
    return layout


def scoring_step(
    member: Family, moments: jax.Array, mass: jax.Array, d: int
) -> tuple[Any, jax.Array]:
    """Return the local after a step of Fisher scoring, and its gain: see `Family.maximize`."""
    layout, relative, (zero, unravel) = factors_of(member, d)
    used = mass > 0
    moments = jnp.where(used[:, None, None], moments, 0)

    def rise(offsets: jax.Array) -> jax.Array:
        new = dense_layout_of(member.moved(unravel(offsets)), d)
        return jnp.sum(jnp.where(used, layout.expected(new, moments, mass), 0))

    slope = jax.grad(rise)(zero)
    direction = _solve(relative, zero, mass, slope)
    squared = jnp.vdot(direction, slope, precision="highest") / jnp.sum(mass)
    direction = direction * jnp.minimum(1, LONGEST / jnp.sqrt(jnp.maximum(squared, 1e-30)))

    def gain_at(length: jax.Array) -> jax.Array:
        gain = member.gain(unravel(length * direction), moments, mass, d)
        return jnp.where(used, mass * gain, 0)

    lengths = jnp.asarray(0.5 ** np.arange(LENGTHS), zero.dtype)
    gains = jax.vmap(gain_at)(lengths)
    total = jnp.sum(gains, axis=1)
    best = jnp.argmax(jnp.where(jnp.isfinite(total), total, -jnp.inf))
    better = total[best] > 0
    step = jnp.where(better, lengths[best], 0) * direction
    gain = jnp.where(better, gains[best], 0) / jnp.where(used, mass, 1)
    return unravel(jnp.where(better, step, 0)), gain


def information_diagonal(member: Family, mass: jax.Array, d: int) -> Any:
    """Return the diagonal of the Fisher information of the coordinates, in their form."""
    _, relative, _ = factors_of(member, d)
    zero, unravel = ravel_pytree(member.coordinates(member.zero_local()))
    return unravel(jnp.sum(_symmetric_parts(relative, zero, mass) ** 2, axis=0))


def _symmetric_parts(
    relative: Callable[[jax.Array], jax.Array], zero: jax.Array, mass: jax.Array
) -> jax.Array:
    """Return the matrix A (c d², p) whose product AᵀA is the Fisher information."""
    slopes = jax.jacfwd(relative)(zero)  # (c, d, d, p)
    parts = slopes + jnp.swapaxes(slopes, 1, 2)
    return (jnp.sqrt(mass / 2)[:, None, None, None] * parts).reshape(-1, len(zero))


def _solve(
    relative: Callable[[jax.Array], jax.Array], zero: jax.Array, mass: jax.Array, slope: jax.Array
) -> jax.Array:
    """Return F⁻¹ times the slope (p,). Directions without information do not move."""
    p, eps = len(zero), jnp.finfo(zero.dtype).eps
    if p > MOST_STORED:
        along = lambda v: jax.jvp(relative, (zero,), (v,))[1]
        weigh = lambda slopes: mass[:, None, None] * (slopes + transpose(slopes))
        back = jax.linear_transpose(along, zero)
        product = lambda v: back(weigh(along(v)))[0]
        return jax.scipy.sparse.linalg.cg(product, slope, maxiter=CONJUGATE_STEPS)[0]
    roots = _symmetric_parts(relative, zero, mass)
    size = jnp.sqrt(jnp.sum(roots**2, axis=0))
    size = jnp.where(size > 0, size, 1)
    correlation = matmul(transpose(roots / size[None]), roots / size[None])
    ridge = 10 * p * eps * unit_matrix(p, zero.dtype)
    inverse = cholesky_and_inverse((correlation + ridge)[None], often=False)[1][0]
    solution = matmul(inverse.T, matmul(inverse, (slope / size)[:, None]))[:, 0]
    return solution / size
