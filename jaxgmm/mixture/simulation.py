"""`simulate`: data with a dial, for experiments on how separation and shape decide what is hard."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..families.registry import FAMILIES
from ..internal import checks
from ..numerics import lapack
from ..numerics.products import matmul
from . import parameter_checks
from .densities import sample
from .mixture import Mixture
from .overlap import overlap, separations

# Sets of means that are tried for the most even one.
CANDIDATES = 64


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Simulation:
    """The result of `simulate`; under vmap every field has a leading axis.

    Attributes:
      x: (n, d) rows.
      component: (n,) the component that each row came from.
      mixture: the true mixture, of family "full".
      overlap: (k, k) its pairwise overlap ω_ij = ω_j|i + ω_i|j (see `overlap`).
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
    separation: float,
    eccentricity: float = 1.0,
    weights=None,
) -> Simulation:
    """n rows of a random mixture of k Gaussians in d dimensions that is exactly c-separated.

    Args:
      key: a JAX random key.
      n, d, k: rows, features, components; plain whole numbers, 1 or more.
      separation: c ≥ 0, the smallest ‖μ_i − μ_j‖ / sqrt(max(tr Σ_i, tr Σ_j)) over all pairs, which
        the closest pair attains. Spheres touch at c ≈ 2 in high dimensions; below 0.5 they overlap.
      eccentricity: e ≥ 1, the largest eigenvalue of each covariance against its smallest.
      weights: (k,) positive, summing to 1; or None for random ones, each above 1/(4k).

    Returns:
      A `Simulation`, in JAX's default dtype.

    Each covariance has eigenvalues in geometric progression with mean 1 (so that tr Σ = d), turned
    by a random rotation. Means are normal points, scaled to the separation: of 64 such sets, the
    one whose closest pair is farthest against the others, so that c speaks for more than one pair.
    Weights are 1/(4k) each, plus ¾ shared out uniformly on the simplex. Works under jit (n, d and
    k static) and vmap, over keys, separations and eccentricities.

    Raises:
      ValueError: for anything that is not as said.

    (Dasgupta 1999, Learning mixtures of Gaussians; as in the experiments of Hosseini & Sra 2020,
    Math. Programming 181, sec. 5.)

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
    separation, eccentricity = jnp.asarray(separation, dtype), jnp.asarray(eccentricity, dtype)
    mixture_key, row_key = jax.random.split(key)
    mixture = _draw(mixture_key, separation, eccentricity, weights, d=d, k=k)
    x, component = sample(row_key, mixture, n)
    return Simulation(x, component, mixture, overlap(mixture))


@jax.jit(static_argnames=("d", "k"))
def _draw(key, separation, eccentricity, weights, *, d, k) -> Mixture:
    mean_key, turn_key, weight_key = jax.random.split(key, 3)
    dtype = separation.dtype

    values = eccentricity ** jnp.linspace(-0.5, 0.5, d, dtype=dtype)
    values = values / jnp.mean(values)
    turn = lapack.orthogonal(jax.random.normal(turn_key, (k, d, d), dtype))
    covariances = matmul(turn * values[None, None], turn.swapaxes(1, 2))

    means = jax.random.normal(mean_key, (CANDIDATES, k, d), dtype)
    apart = jax.vmap(lambda candidate: separations(candidate, covariances))(means)
    closest = jnp.min(apart, axis=(1, 2))
    pairs = jnp.where(jnp.isfinite(apart), apart, 0)
    best = jnp.argmax(closest / jnp.maximum(jnp.sum(pairs, axis=(1, 2)), 1e-30))
    factor = separation / closest[best]  # 0 where there is no pair
    means = factor * (means[best] - jnp.mean(means[best], axis=0, keepdims=True))

    if weights is None:
        share = jax.random.exponential(weight_key, (k,), dtype)
        weights = 0.25 / k + 0.75 * share / jnp.sum(share)
    return Mixture(jnp.log(weights), means, FAMILIES["full"].from_own(covariances, jnp))
