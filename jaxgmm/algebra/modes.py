"""`modes`: the local maxima of a mixture's density."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks
from ..mixture.inputs import row_log_joint, row_log_prob
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.products import matmul
from .covariance_factors import covariance_roots

# Two points are one mode if they are nearer than this, in standard deviations of the component
# from which the second was reached.
SAME_MODE = 1e-3
# A point that is no maximum is moved by this many standard deviations before it climbs again.
NUDGE = 1e-2
MOST_STEPS = 1000

State = tuple[jax.Array, jax.Array, jax.Array]  # the point, how far it moved, the steps made


def modes(mixture: Mixture) -> tuple[jax.Array, np.ndarray]:
    """Return the local maxima of a mixture's density, and the one reached from each mean.

    From every mean, the density is increased by steps x ← (Σ r Λ)⁻¹ Σ r Λ μ, with the
    responsibilities r at x and the precisions Λ. A Newton step is taken instead if it increases the
    density as much. A point that ends at a saddle is moved a little and continues. Points nearer
    than 0.001 standard deviations count as one mode. There may be more modes than components; a
    mode that is not reached from any mean is missed.

    Args:
      mixture: a single mixture with finite parameters.

    Returns:
      The modes (m, d), the highest first, in the mixture's dtype and units; and the mode (k,) to
      which the ascent from each mean leads, a whole number from 0 to m − 1, or −1 for an absent
      component.

    Raises:
      ValueError: if `mixture` is not such a mixture, and under jit, vmap and grad, because the
        number of modes depends on the values.

    See Carreira-Perpiñán (2000), IEEE PAMI 22, sec. 3 and 4.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.3, 0.3, 0.4], [[0.0], [1.0], [9.0]], [1.0, 1.0, 1.0], family="spherical"
    ... )
    >>> points, mode_of = jaxgmm.modes(m)
    >>> np.asarray(points)[:, 0].round(2), mode_of
    (array([0.5, 9. ], dtype=float32), array([0, 0, 1]))
    """
    checks.one_mixture(mixture)
    if checks.traced(mixture):
        raise ValueError(
            "the number of modes depends on the values of the mixture: call modes outside jit, "
            "vmap and grad."
        )
    ends, heights, distances = (np.asarray(part) for part in _climb_from_means(mixture))
    present = np.asarray(mixture.present)
    order = np.flatnonzero(present)[np.argsort(-heights[present], kind="stable")]
    mode_of = np.full(len(ends), -1)
    found: list[int] = []
    for i in order:
        apart = [float(distances[i, j]) for j in found]
        nearest = int(np.argmin(apart)) if apart else -1
        if apart and apart[nearest] < SAME_MODE:
            mode_of[i] = nearest
        else:
            mode_of[i] = len(found)
            found.append(i)
    return jnp.asarray(ends[found]), mode_of


@jax.jit
def _climb_from_means(mixture: Mixture) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the points (k, d) above the means, their log-densities (k,), and distances (k, k).

    The distance of points i and j is in standard deviations of component i.
    """
    weights = jnp.where(mixture.present, mixture.weights, 0)[:, None]
    center = jnp.sum(weights * mixture.means, axis=0)
    centered = mixture.translate(-center)
    precisions = jnp.broadcast_to(
        mixture.frame.dense_precision, (*mixture.means.shape, mixture.n_features)
    )

    def reach(start: jax.Array, i: jax.Array) -> jax.Array:
        first = _climb(centered, precisions, start)
        return _climb(centered, precisions, _nudged(centered, precisions, first, i))

    ends = jax.vmap(reach)(centered.means, jnp.arange(mixture.n_components))
    heights = jax.vmap(lambda x: row_log_prob(centered, x))(ends)
    whiten = jax.vmap(mixture.frame.whiten, in_axes=1, out_axes=1)
    distances = jnp.sqrt(jnp.sum(whiten(ends[:, None] - ends[None]) ** 2, axis=-1))
    return ends + center[None], heights, distances


class _Slopes(NamedTuple):
    """The log-density at a point and its derivatives, and the mean precision Σ r Λ."""

    height: jax.Array
    slope: jax.Array
    curvature: jax.Array
    precision: jax.Array


def _slopes(mixture: Mixture, precisions: jax.Array, x: jax.Array) -> _Slopes:
    """Return the log-density at x (d,) and its derivatives.

    With g_k = Λ_k (μ_k − x), the slope is g = Σ r g_k, and the curvature is
    −Σ r Λ + Σ r g_k g_kᵀ − g gᵀ.
    """
    joint = row_log_joint(mixture, x)
    r = jax.nn.softmax(joint)
    pulls = jnp.sum(precisions * (mixture.means - x[None])[:, None], axis=-1)
    slope, precision = matmul(r, pulls), jnp.sum(r[:, None, None] * precisions, axis=0)
    apart = pulls - slope[None]
    spread = jnp.sum(r[:, None, None] * apart[:, :, None] * apart[:, None], axis=0)
    return _Slopes(jax.nn.logsumexp(joint), slope, spread - precision, precision)


def _climb(mixture: Mixture, precisions: jax.Array, start: jax.Array) -> jax.Array:
    """Return where a point (d,) comes to rest that climbs the density."""
    eps = jnp.finfo(start.dtype).eps
    height = lambda x: row_log_prob(mixture, x)

    def step(state: State) -> State:
        x, _, count = state
        here = _slopes(mixture, precisions, x)
        shifted = x + _solve(here.precision, here.slope)
        newton = x + _solve(-here.curvature, here.slope)  # NaN unless the curvature is negative
        # NaN compares as false. Near the top, where rounding decides, Newton's step is better.
        rounding = 4 * eps * (1 + jnp.abs(here.height))
        new = jnp.where(height(newton) >= height(shifted) - rounding, newton, shifted)
        moved = jnp.sqrt(jnp.sum((new - x) * matmul(here.precision, new - x)))
        return new, moved, count + 1

    def unfinished(state: State) -> jax.Array:
        _, moved, count = state
        return (moved > 8 * eps**0.75) & (count < MOST_STEPS)

    begin = start, jnp.full((), jnp.inf, start.dtype), jnp.int32(0)
    return jax.lax.while_loop(unfinished, step, begin)[0]


def _solve(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return A⁻¹ v for positive definite A (d, d), and NaN for others."""
    whitening = cholesky_and_inverse(matrix[None], often=False)[1][0]
    return matmul(whitening.T, matmul(whitening, vector))


def _nudged(mixture: Mixture, precisions: jax.Array, x: jax.Array, i: jax.Array) -> jax.Array:
    """Return a point moved along the direction in which the density curves upward, if there is one.

    Curvature and direction are in the units of component i.
    """
    root = covariance_roots(mixture)
    root = root[i] if len(root) > 1 else root[0]
    curvature = _slopes(mixture, precisions, x).curvature
    values, vectors = lapack.eigh(matmul(matmul(root.T, curvature), root)[None])
    up = values[0, -1] > -(jnp.finfo(x.dtype).eps ** 0.5)
    return jnp.where(up, x + NUDGE * matmul(root, vectors[0, :, -1]), x)
