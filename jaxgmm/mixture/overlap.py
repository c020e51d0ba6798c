"""The overlap of a mixture's components: separation, and probabilities of misassignment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..internal import checks, derivatives
from ..numerics import lapack
from ..numerics.products import matmul
from .mixture import Mixture

# Directions in the half plane. The integrand is smooth except for a few kinks.
ANGLES = 16384
# Frequencies at which a characteristic function is summed, below MANY dimensions and from there on.
FEW_DIMENSIONS_FREQUENCIES, MANY_DIMENSIONS_FREQUENCIES, MANY = 16384, 4096, 6
NOT_DIFFERENTIABLE = (
    "derivatives of misassignment and overlap are not available: differentiate separation, or keep "
    "the mixture constant with jax.lax.stop_gradient."
)
# If no coefficient of a quadratic function exceeds this many rounding errors, the function is zero.
TIE = 64


def separation(mixture: Mixture) -> jax.Array:
    """Return the separation of a mixture, the largest c for which it is c-separated.

    It is the minimum over pairs of components of ‖μ_i − μ_j‖ / sqrt(max(tr Σ_i, tr Σ_j)). Absent
    components are ignored. The function works under jit, vmap and grad. See Dasgupta (1999),
    Learning mixtures of Gaussians, sec. 2; the trace replaces d times the largest eigenvalue.

    Args:
      mixture: a single mixture with finite parameters.

    Returns:
      The separation () in the mixture's dtype, which is infinite for a single component.

    Raises:
      ValueError: if `mixture` is not such a mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(f"{jaxgmm.separation(m):.3f}")
    4.000
    """
    checks.one_mixture(mixture)
    return jnp.min(separations(mixture.means, mixture.covariances, mixture.present))


def separations(
    means: jax.Array, covariances: jax.Array, present: jax.Array | None = None
) -> jax.Array:
    """Return ‖μ_i − μ_j‖ / sqrt(max(tr Σ_i, tr Σ_j)) as (k, k).

    It is infinite on the diagonal and for absent components.
    """
    differences = means[:, None] - means[None]
    pairs = ~jnp.eye(len(means), dtype=bool)
    if present is not None:
        pairs &= present[:, None] & present[None]
    squared = jnp.where(pairs, jnp.sum(differences**2, axis=-1), 1)
    size = jnp.trace(covariances, axis1=1, axis2=2)
    ratio = squared / jnp.maximum(size[:, None], size[None])
    # The inner `where` makes the derivative at 0 equal to 0 instead of NaN.
    root = jnp.where(ratio > 0, jnp.sqrt(jnp.where(ratio > 0, ratio, 1)), 0)
    return jnp.where(pairs, root, jnp.inf)


def overlap(
    mixture: Mixture, *, directions: int = 32768, key: jax.Array | None = None
) -> jax.Array:
    """Return the pairwise overlap ω_ij = ω_j|i + ω_i|j of a mixture's components.

    It is the sum of two probabilities of `misassignment`, which documents its accuracy. See Maitra
    & Melnykov (2010), J. Comput. Graph. Statist. 19, sec. 2.

    Args:
      mixture: a single mixture with finite parameters.
      directions: ignored; the integration is deterministic.
      key: ignored, for the same reason.

    Returns:
      The overlap (k, k) in the mixture's dtype: a symmetric matrix with a diagonal of zeros.

    Raises:
      ValueError: under the conditions of `misassignment`.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.overlap(m)).round(3)  # 2 Φ(−2)
    array([[0.   , 0.046],
           [0.046, 0.   ]], dtype=float32)
    """
    directed = misassignment(mixture)[0]
    return directed + directed.T


def misassignment(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return ω_j|i, the probability that a row of component i is misassigned to component j.

    Only the two components of a pair are compared, by the Bayes rule. See Maitra & Melnykov (2010),
    J. Comput. Graph. Statist. 19, eq. 2 and theorem 1. The function works under jit and vmap.

    With z = W_i (x − μ_i) standard normal, a row is misassigned where a quadratic function of z is
    negative. For d ≤ 2 this probability is integrated along rays z = r v over equally spaced
    directions v. On each ray the event is one interval of r or two, whose exact probabilities
    follow from the χ distribution (Deák 1980, Numer. Math. 35). The result is exact in one
    dimension, even for tiny probabilities, and accurate to about 1e-7 in two.

    For d ≥ 3 the characteristic function of the quadratic function is inverted by the trapezoidal
    rule (Davies 1973, Biometrika 60). The result is usually accurate to about 1e-6, and to 1e-5 in
    float32. The returned bound on the truncation error is far from tight: for covariances that
    differ in one direction of three it is 0.01, and the actual error is 6e-6.

    Args:
      mixture: a single mixture with finite parameters.

    Returns:
      A pair of ω_j|i as (k, k), with i along rows, and the bounds on its truncation error (k, k),
      which are 0 for d ≤ 2. Both are in the mixture's dtype. The diagonals, and the rows and
      columns of absent components, are 0. For two identical components ω is ½.

    Raises:
      ValueError: if `mixture` is not such a mixture, or a derivative is taken, because derivatives
        are not available.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> np.asarray(jaxgmm.misassignment(m)[0]).round(3)
    array([[0.   , 0.023],
           [0.023, 0.   ]], dtype=float32)
    """
    checks.one_mixture(mixture)
    # Where covariances are equal, or nearly so, the derivatives of the singular vectors are not
    # finite. Where the boundary is a plane, the rays miss a part of the derivative.
    return _misassignment(derivatives.refuse_derivatives(mixture, NOT_DIFFERENTIABLE))


@jax.jit
def _misassignment(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    k, d = mixture.means.shape
    unwhiten = jax.vmap(lambda e: mixture.frame.unwhiten(jnp.broadcast_to(e, (k, d))))
    roots = jnp.moveaxis(unwhiten(jnp.eye(d, dtype=mixture.dtype)), 0, -1)

    def from_component(i: jax.Array) -> tuple[jax.Array, ...]:
        def whiten_by_all(vector: jax.Array) -> jax.Array:
            return mixture.frame.whiten(jnp.broadcast_to(vector, (k, d)))

        ratio = jnp.moveaxis(jax.vmap(whiten_by_all, 1)(roots[i]), 0, -1)  # W_j L_i
        offset = mixture.frame.whiten(mixture.means[i][None] - mixture.means)
        level = 2 * (mixture.log_constants - mixture.log_constants[i])
        results = jax.vmap(_probability_negative)(
            ratio, offset, jnp.sum(offset**2, axis=-1) - level
        )
        pair = mixture.present & mixture.present[i] & (jnp.arange(k) != i)
        return tuple(jnp.where(pair, values, 0) for values in results)

    return jax.lax.map(from_component, jnp.arange(k))


def _probability_negative(
    matrix: jax.Array, offset: jax.Array, constant: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return P(‖A z‖² + 2 bᵀA z − ‖z‖² + c < 0), and a bound on its truncation error.

    z (d,) is standard normal, and the arguments are A (d, d), b (d,) and c ().
    """
    left, scale, _ = (part[0] for part in lapack.svd(matrix[None]))
    square, linear = scale**2 - 1, 2 * scale * matmul(offset, left)
    noise = TIE * len(offset) * jnp.finfo(matrix.dtype).eps
    is_constant = jnp.maximum(jnp.max(jnp.abs(square)), jnp.max(jnp.abs(linear))) < noise
    integrate = _by_rays if len(offset) <= 2 else _by_frequencies
    probability, bound = integrate(square, linear, constant)
    certain = jnp.where(jnp.abs(constant) < noise, 0.5, jnp.where(constant < 0, 1.0, 0.0))
    probability = jnp.where(is_constant, certain.astype(probability.dtype), probability)
    return probability, jnp.where(is_constant, 0, bound)


def _by_rays(
    square: jax.Array, linear: jax.Array, constant: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return P(Σ a z² + b z + c < 0) in one or two dimensions, and zero as its bound."""
    d, dtype = len(square), square.dtype
    angle = np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    v = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)]) if d == 2 else np.ones((1, 1)), dtype)
    quadratic, slope = matmul(square, v**2), matmul(linear, v)
    forward, backward = (_along_ray(quadratic, sign * slope, constant, d) for sign in (1, -1))
    return jnp.mean(forward + backward) / 2, jnp.zeros((), dtype)


def _by_frequencies(
    square: jax.Array, linear: jax.Array, constant: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return P(Σ a z² + b z + c < 0), and a bound on its truncation error.

    The characteristic function is integrated up to a highest frequency. The bound is that of the
    remaining integral.
    """
    few = len(square) < MANY
    count = FEW_DIMENSIONS_FREQUENCIES if few else MANY_DIMENSIONS_FREQUENCIES
    spread = jnp.sqrt(jnp.sum(2 * square**2 + linear**2))
    center = jnp.abs(jnp.sum(square) + constant)
    # The sum is periodic. The probability beyond this period is less than 1e-8.
    period = center + 9 * spread + 40 * jnp.max(jnp.abs(square))
    steps = jnp.arange(count, dtype=square.dtype) + 0.5
    frequency = 2 * np.pi / period * steps
    twice, pull = 2 * frequency[None] * square[:, None], (frequency[None] * linear[:, None]) ** 2
    size = 1 + twice**2
    logarithm = -jnp.sum(jnp.log(size) / 4 + pull / size / 2, axis=0)
    phase = jnp.sum(jnp.arctan(twice) / 2 - pull * twice / size / 2, axis=0) + frequency * constant
    terms = jnp.sin(phase) * jnp.exp(logarithm) / steps
    decay = jnp.sum(1 - 1 / size[:, -1]) / 2  # the least rate at which the integrand falls
    remainder = jnp.exp(logarithm[-1]) / (np.pi * jnp.maximum(decay, 1e-3))
    return jnp.clip(0.5 - jnp.sum(terms) / np.pi, 0, 1), remainder


def _survival(r: jax.Array, d: int) -> jax.Array:
    """Return P(χ_d > r) for d = 1 or 2, which is 1 for r ≤ 0."""
    r = jnp.clip(r, 0, 1e4)
    return (
        jax.scipy.special.erfc(r / np.sqrt(2).astype(r.dtype)) if d == 1 else jnp.exp(-(r**2) / 2)
    )


def _along_ray(a: jax.Array, b: jax.Array, c: jax.Array, d: int) -> jax.Array:
    """Return P(a r² + b r + c < 0) for r that has a χ distribution with d degrees of freedom."""
    tiny = jnp.finfo(a.dtype).tiny
    a = jnp.where(jnp.abs(a) > tiny, a, tiny)
    discriminant = b**2 - 4 * a * c
    root = jnp.sqrt(jnp.maximum(discriminant, 0))
    q = -(b + jnp.where(b < 0, -root, root)) / 2  # a sum of equal signs, without cancellation
    first, second = q / a, jnp.where(q == 0, 0, c / jnp.where(q == 0, 1, q))
    beyond_lower = _survival(jnp.minimum(first, second), d)
    beyond_upper = _survival(jnp.maximum(first, second), d)
    real = discriminant > 0
    inside = jnp.where(real, beyond_lower - beyond_upper, 0)
    outside = jnp.where(real, (1 - beyond_lower) + beyond_upper, 1)
    return jnp.where(a > 0, inside, outside)
