"""How much the components of a mixture overlap: separation, and probabilities of misassignment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks, derivatives
from ..numerics import lapack
from ..numerics.products import matmul
from .mixture import Mixture

# Directions in the half plane; the integrand is smooth but for a few kinks.
ANGLES = 16384
# Frequencies at which a characteristic function is summed, in few and in many dimensions.
FREQUENCIES = {True: 16384, False: 4096}
MANY = 6
NOT_DIFFERENTIABLE = (
    "derivatives of misassignment and overlap are not available: differentiate separation, or hold "
    "the mixture fixed with jax.lax.stop_gradient."
)
# Quadratic functions with all coefficients below this many roundings are ties.
TIE = 64


def separation(mixture: Mixture) -> jax.Array:
    """c of the mixture, min over pairs of ‖μ_i − μ_j‖ / sqrt(max(tr Σ_i, tr Σ_j)), as (): the
    largest c for which it is c-separated; infinite for a single component.

    Absent components count for nothing. Works under jit, vmap and grad. (Dasgupta 1999, Learning
    mixtures of Gaussians, sec. 2, with the trace for d times the largest eigenvalue.)

    Raises ValueError for what is not one finite mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(f"{jaxgmm.separation(m):.3f}")
    4.000
    """
    checks.one_mixture(mixture)
    return jnp.min(separations(mixture.means, mixture.covariances, mixture.present))


def separations(means: jax.Array, covariances: jax.Array, present=None) -> jax.Array:
    """‖μ_i − μ_j‖ / sqrt(max(tr Σ_i, tr Σ_j)) as (k, k); infinite for what is no pair."""
    apart = means[:, None] - means[None]
    pairs = ~jnp.eye(len(means), dtype=bool)
    if present is not None:
        pairs &= present[:, None] & present[None]
    squared = jnp.where(pairs, jnp.sum(apart**2, axis=-1), 1)
    size = jnp.trace(covariances, axis1=1, axis2=2)
    ratio = squared / jnp.maximum(size[:, None], size[None])
    root = jnp.where(ratio > 0, jnp.sqrt(jnp.where(ratio > 0, ratio, 1)), 0)  # slope 0 at 0
    return jnp.where(pairs, root, jnp.inf)


def overlap(
    mixture: Mixture, *, directions: int = 32768, key: jax.Array | None = None
) -> jax.Array:
    """Pairwise overlap ω_ij = ω_j|i + ω_i|j as (k, k), symmetric, with a diagonal of zeros:
    probabilities, in the mixture's dtype. Accuracy and errors as `misassignment`.

    (Maitra & Melnykov 2010, J. Comput. Graph. Statist. 19, sec. 2.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.overlap(m)).round(3)  # 2 Φ(−2)
    array([[0.   , 0.046],
           [0.046, 0.   ]], dtype=float32)
    """
    directed = misassignment(mixture)[0]
    return directed + directed.T


def misassignment(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """ω_j|i, the probability that a row of component i is assigned to j by the Bayes rule between
    these two, and a bound on what was cut off in computing it.

    With z = W_i (x − μ_i) standard normal, the event is that a quadratic function of z is
    negative. For d ≤ 2 it is integrated along rays z = r v, on which the event is an interval of r
    or two with exact probabilities under the χ distribution (Deák 1980, Numer. Math. 35), and over
    equally spaced directions v: exact in one dimension, in relative terms too, and to about 1e-7 in
    two. For d ≥ 3 the characteristic function of the quadratic function is inverted by the
    trapezoidal rule (Davies 1973, Biometrika 60): to about 1e-6 as a rule, and 1e-5 in float32. The
    bound is far from tight: for covariances that differ in one direction of three it is 0.01, and
    the error 6e-6.

    Returns:
      ω_j|i as (k, k) with i along rows, and the bounds (k, k), 0 for d ≤ 2; diagonals are 0, as are
      the rows and columns of absent components. Two components that are the same share their rows:
      ½ each. Works under jit and vmap.

    Raises:
      ValueError: for what is not one finite mixture, and where a derivative is taken: it is not
        available.

    (Maitra & Melnykov 2010, J. Comput. Graph. Statist. 19, eq. 2 and theorem 1.)

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.misassignment(m)[0]).round(3)
    array([[0.   , 0.023],
           [0.023, 0.   ]], dtype=float32)
    """
    checks.one_mixture(mixture)
    # Where covariances are equal, or nearly so, the derivative of the singular vectors is not
    # finite, and at a plane boundary the rays miss a part of it.
    return _misassignment(derivatives.refuse(mixture, NOT_DIFFERENTIABLE))


@jax.jit
def _misassignment(mixture):
    k, d = mixture.means.shape
    unwhiten = jax.vmap(lambda e: mixture.frame.unwhiten(jnp.broadcast_to(e, (k, d))))
    roots = jnp.moveaxis(unwhiten(jnp.eye(d, dtype=mixture.dtype)), 0, -1)

    def from_component(i):
        def whiten(vector):  # by every component j
            return mixture.frame.whiten(jnp.broadcast_to(vector, (k, d)))

        ratio = jnp.moveaxis(jax.vmap(whiten, 1)(roots[i]), 0, -1)  # W_j L_i
        apart = mixture.frame.whiten(mixture.means[i][None] - mixture.means)
        level = 2 * (mixture.log_constants - mixture.log_constants[i])
        found = jax.vmap(_negative)(ratio, apart, jnp.sum(apart**2, axis=-1) - level)
        pair = mixture.present & mixture.present[i] & (jnp.arange(k) != i)
        return tuple(jnp.where(pair, values, 0) for values in found)

    return jax.lax.map(from_component, jnp.arange(k))


def _negative(matrix, offset, constant) -> tuple[jax.Array, jax.Array]:
    """P(‖A z‖² + 2 bᵀA z − ‖z‖² + c < 0) for standard normal z (d,), and a bound on its error."""
    left, scale, _ = (found[0] for found in lapack.svd(matrix[None]))
    square, linear = scale**2 - 1, 2 * scale * matmul(offset, left)
    noise = TIE * len(offset) * jnp.finfo(matrix.dtype).eps
    level = jnp.maximum(jnp.max(jnp.abs(square)), jnp.max(jnp.abs(linear))) < noise
    found, bound = (_by_rays if len(offset) <= 2 else _by_frequencies)(square, linear, constant)
    certain = jnp.where(jnp.abs(constant) < noise, 0.5, jnp.where(constant < 0, 1.0, 0.0))
    return jnp.where(level, certain.astype(found.dtype), found), jnp.where(level, 0, bound)


def _by_rays(square, linear, constant) -> tuple[jax.Array, jax.Array]:
    """P(Σ a z² + b z + c < 0) in one or two dimensions."""
    d, dtype = len(square), square.dtype
    angle = np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    v = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)]) if d == 2 else np.ones((1, 1)), dtype)
    quadratic, slope = matmul(square, v**2), matmul(linear, v)
    there, back = (_along(quadratic, sign * slope, constant, d) for sign in (1, -1))
    return jnp.mean(there + back) / 2, jnp.zeros((), dtype)


def _by_frequencies(square, linear, constant) -> tuple[jax.Array, jax.Array]:
    """P(Σ a z² + b z + c < 0) from the characteristic function, and a bound on the part of its
    integral that is left out."""
    count = FREQUENCIES[len(square) < MANY]
    spread = jnp.sqrt(jnp.sum(2 * square**2 + linear**2))
    middle = jnp.abs(jnp.sum(square) + constant)
    # The sum repeats itself with this period; beyond it lies less than 1e-8.
    period = middle + 9 * spread + 40 * jnp.max(jnp.abs(square))
    steps = jnp.arange(count, dtype=square.dtype) + 0.5
    frequency = 2 * np.pi / period * steps
    twice, pull = 2 * frequency[None] * square[:, None], (frequency[None] * linear[:, None]) ** 2
    size = 1 + twice**2
    logarithm = -jnp.sum(jnp.log(size) / 4 + pull / size / 2, axis=0)
    phase = jnp.sum(jnp.arctan(twice) / 2 - pull * twice / size / 2, axis=0) + frequency * constant
    terms = jnp.sin(phase) * jnp.exp(logarithm) / steps
    slope = jnp.sum(1 - 1 / size[:, -1]) / 2  # how fast what is left falls, at the least
    left_out = jnp.exp(logarithm[-1]) / (np.pi * jnp.maximum(slope, 1e-3))
    return jnp.clip(0.5 - jnp.sum(terms) / np.pi, 0, 1), left_out


def _beyond(r: jax.Array, d: int) -> jax.Array:
    """P(χ_d > r) for d = 1, 2; 1 for r ≤ 0."""
    r = jnp.clip(r, 0, 1e4)
    return (
        jax.scipy.special.erfc(r / np.sqrt(2).astype(r.dtype)) if d == 1 else jnp.exp(-(r**2) / 2)
    )


def _along(a: jax.Array, b: jax.Array, c: jax.Array, d: int) -> jax.Array:
    """P(a r² + b r + c < 0) for r that is χ-distributed with d degrees of freedom."""
    tiny = jnp.finfo(a.dtype).tiny
    a = jnp.where(jnp.abs(a) > tiny, a, tiny)
    discriminant = b**2 - 4 * a * c
    root = jnp.sqrt(jnp.maximum(discriminant, 0))
    q = -(b + jnp.where(b < 0, -root, root)) / 2  # no difference of equals
    first, second = q / a, jnp.where(q == 0, 0, c / jnp.where(q == 0, 1, q))
    near = _beyond(jnp.minimum(first, second), d)
    far = _beyond(jnp.maximum(first, second), d)
    real = discriminant > 0
    inside = jnp.where(real, near - far, 0)
    outside = jnp.where(real, (1 - near) + far, 1)
    return jnp.where(a > 0, inside, outside)
