"""Simulated data from random mixtures of a chosen separation and eccentricity."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy.typing as npt

from ..families.registry import FAMILIES
from ..internal import checks
from ..internal.pytrees import pytree
from ..numerics import lapack
from ..numerics.products import matmul
from . import parameter_checks
from .mixture import Mixture
from .overlap import overlap, separations
from .sampling import sample

# Random sets of means, of which `simulate` uses the most evenly spaced one.
CANDIDATES = 64


@pytree
@dataclasses.dataclass(frozen=True)
class Simulation:
    """The result of `simulate`.

    Under vmap every field has a leading axis.

    Attributes:
      x: (n, d) rows.
      component: (n,) the component that each row comes from.
      mixture: the true mixture, of family "full".
      overlap: (k, k) the mixture's pairwise overlap ω_ij = ω_j|i + ω_i|j, see `overlap`.
    """

    x: jax.Array
    component: jax.Array
    mixture: Mixture
    overlap: jax.Array


def simulate(
    key: jax.Array,
    n: int,
    d: int,
    k: int,
    *,
    separation: npt.ArrayLike,
    eccentricity: npt.ArrayLike = 1.0,
    weights: npt.ArrayLike | None = None,
) -> Simulation:
    """Draw n rows from a random mixture of k Gaussians with exactly the given separation.

    Each covariance has eigenvalues in geometric progression with mean 1, so that tr Σ = d, and
    random principal axes. Means are normal points scaled to the separation. Of 64 such sets,
    the one with the largest ratio of its smallest separation to its mean separation is used, so
    that c describes more than one pair. Random weights are 1/(4k) plus ¾ of a point that is
    uniform on the simplex.

    See Dasgupta (1999), Learning mixtures of Gaussians, and the experiments of Hosseini & Sra
    (2020), Math. Programming 181, sec. 5. The function works under vmap over keys, separations and
    eccentricities, and under jit with static n, d and k.

    Args:
      key: a JAX random key.
      n: the number of rows, a plain whole number of 1 or more.
      d: the number of features, a whole number of 1 or more.
      k: the number of components, a whole number of 1 or more.
      separation: c ≥ 0, the minimum of ‖μ_i − μ_j‖ / sqrt(max(tr Σ_i, tr Σ_j)) over all pairs of
        components, see `jaxgmm.separation`. In high dimensions spheres touch at c ≈ 2, and overlap
        below 0.5.
      eccentricity: e ≥ 1, the ratio of the largest to the smallest eigenvalue of each covariance.
      weights: (k,) positive weights that sum to 1, or None for random ones above 1/(4k).

    Returns:
      The rows, their components and the mixture as a `Simulation`, in JAX's default dtype.

    Raises:
      ValueError: if an argument is invalid.

    >>> made = jaxgmm.simulate(jax.random.key(0), 200, 2, 3, separation=1.5)
    >>> made.x.shape, made.mixture
    ((200, 2), Mixture(full, K = 3, d = 2, float32))
    >>> print(f"{jaxgmm.separation(made.mixture):.3f}")
    1.500
    """
    checks.random_key(key)
    n, d, k = (checks.whole(value, name, 1) for value, name in ((n, "n"), (d, "d"), (k, "k")))
    checks.not_negative(separation, "separation")
    checks.at_least_one(eccentricity, "eccentricity")
    dtype = checks.float_dtype(jnp.int32)
    if weights is not None:
        weights = parameter_checks.mixture_weights(weights, "weights", k).astype(dtype)
    c, e = jnp.asarray(separation, dtype), jnp.asarray(eccentricity, dtype)
    mixture_key, row_key = jax.random.split(key)
    mixture = _draw_mixture(mixture_key, c, e, weights, d=d, k=k)
    x, component = sample(row_key, mixture, n)
    return Simulation(x, component, mixture, overlap(mixture))


@jax.jit(static_argnames=("d", "k"))
def _draw_mixture(
    key: jax.Array,
    separation: jax.Array,
    eccentricity: jax.Array,
    weights: jax.Array | None,
    *,
    d: int,
    k: int,
) -> Mixture:
    mean_key, rotation_key, weight_key = jax.random.split(key, 3)
    dtype = separation.dtype

    eigenvalues = eccentricity ** jnp.linspace(-0.5, 0.5, d, dtype=dtype)
    eigenvalues = eigenvalues / jnp.mean(eigenvalues)
    rotation = lapack.orthogonal(jax.random.normal(rotation_key, (k, d, d), dtype))
    covariances = matmul(rotation * eigenvalues[None, None], rotation.swapaxes(1, 2))

    means = jax.random.normal(mean_key, (CANDIDATES, k, d), dtype)
    pairwise = jax.vmap(lambda candidate: separations(candidate, covariances))(means)
    closest = jnp.min(pairwise, axis=(1, 2))
    finite = jnp.where(jnp.isfinite(pairwise), pairwise, 0)
    best = jnp.argmax(closest / jnp.maximum(jnp.sum(finite, axis=(1, 2)), 1e-30))
    factor = separation / closest[best]  # 0 if there is no pair
    means = factor * (means[best] - jnp.mean(means[best], axis=0, keepdims=True))

    if weights is None:
        simplex = jax.random.exponential(weight_key, (k,), dtype)
        weights = 0.25 / k + 0.75 * simplex / jnp.sum(simplex)
    return Mixture(jnp.log(weights), means, FAMILIES["full"].from_own(covariances, jnp))
