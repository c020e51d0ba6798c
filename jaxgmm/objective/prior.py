"""`Prior`: the penalty that EM and gradient methods share, so that both climb one objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..data.open_data import open_data
from ..data.robust_covariance import covariance_of
from ..internal import checks, forks
from ..mixture import parameter_checks
from ..mixture.mixture import Mixture

DEFAULT_STRENGTH = 0.01  # pseudo-rows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prior:
    """A conjugate prior, as pseudo-rows. Up to a constant, summed over present components k and
    over the covariances c that the family holds (one for each component; one in all if tied),

        log prior(θ) = − ½ Σ_c [strength · log|Σ_c| + tr(Σ_c⁻¹ scatter)]
                       + (concentration − 1) Σ_k log π_k
                       − ½ mean_strength Σ_k (μ_k − mean)ᵀ Σ_k⁻¹ (μ_k − mean)

    Attributes:
      strength: () pseudo-rows κ given to each covariance.
      scatter: (d, d) their summed outer products, κ times the covariance they have; or None.
      concentration: () of a symmetric Dirichlet on the weights, at least 1; or None for a flat one.
      mean: (d,) where the means are drawn to; or None.
      mean_strength: () pseudo-rows at `mean` for each component.

    A normal-inverse-Wishart prior with ν degrees of freedom and scale Λ is strength = ν + d + 2,
    scatter = Λ (Fraley & Raftery 2007, J. Classification 24, sec. 3; tied: ν + d + 1 + k). A
    Wishart prior on the precisions with zero-trace exponent m and scale γ, as in the ADBench
    objective, is strength = m, scatter = γ² I.
    """

    strength: jax.Array | float = 0.0
    scatter: jax.Array | None = None
    concentration: jax.Array | float | None = None
    mean: jax.Array | None = None
    mean_strength: jax.Array | float = 0.0

    @classmethod
    def from_data(
        cls, x, *, weight=None, strength: float = DEFAULT_STRENGTH, ridge: float = 0.0,
        devices: Sequence | None = None,
    ) -> Prior:  # fmt: skip
        """The default prior: `strength` pseudo-rows with the data's own covariance, in which rows
        far from all others do not count (see `jaxgmm.robust_covariance.robust_covariance`).

        It bounds the likelihood, follows any affine map of the data, and does not depend on k
        (Hosseini & Sra 2020, Math. Programming 181, sec. 3.4, in the spirit of).

        Args:
          x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
          weight: (n,) row weights, or None for ones.
          strength: pseudo-rows, not negative.
          ridge: a share of each feature's variance, not negative, that is added in every direction:
            a component on all the rows has at least that variance, and one on a share π of them
            ridge/π times it. It gives full covariances a finite answer where columns depend on one
            another, as 1e-6 does; a constant feature counts as one of variance 1.
          devices: which devices share an array of many rows; all local ones by default.

        Returns:
          The prior, in the dtype of x; its scatter is in squared units of the data.

        Raises:
          ValueError: for rows or weights that are not valid; for a negative strength or ridge.

        >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
        >>> prior = jaxgmm.Prior.from_data(x)
        >>> bool(jnp.allclose(prior.scatter, prior.strength * jnp.cov(x.T, bias=True), rtol=1e-4))
        True
        """
        strength = checks.not_negative(strength, "strength")
        ridge = checks.not_negative(ridge, "ridge")
        data = open_data(x, weight, devices=devices, operands=(strength, ridge))
        covariance = data.compute_once(covariance_of)
        made = prior_of_covariance(covariance, jnp.asarray(strength, data.dtype))
        variance = jnp.diagonal(covariance)
        even = jnp.diag(jnp.where(variance > 0, variance, 1))
        total = data.n if weight is None else jnp.sum(jnp.asarray(weight, data.dtype))
        added = jnp.asarray(ridge * total, data.dtype) * even
        return dataclasses.replace(made, scatter=made.scatter + added)

    def translate(self, offset: jax.Array) -> Prior:
        """The prior for data moved by `offset` (d,)."""
        if self.mean is None:
            return self
        return dataclasses.replace(self, mean=self.mean + offset)


def prior_of_covariance(covariance: jax.Array, strength=DEFAULT_STRENGTH) -> Prior:
    """The prior whose pseudo-rows have this covariance."""
    return Prior(strength=strength, scatter=strength * covariance)


def resolve_prior(prior: Prior | str | None, data) -> Prior | None:
    """The prior that an argument means for these `data`, checked; "default" is made from them.

    Its covariance is a program of its own, which every fit to rows of this shape shares."""
    if not isinstance(prior, str):
        return check_prior(prior, data.n_features, data.dtype)
    checks.choice(prior, "prior", ("default",))
    # In the dtype of the data, as a prior that is given, so that both share programs.
    number = lambda value: np.asarray(value, data.dtype)
    made = prior_of_covariance(data.compute_once(covariance_of), number(DEFAULT_STRENGTH))
    return dataclasses.replace(made, mean_strength=number(0))


def check_prior(prior: Prior | None, d: int, dtype) -> Prior | None:
    """The prior in `dtype`. Raises ValueError for what is not a prior in d dimensions."""
    if prior is None:
        return None
    if not isinstance(prior, Prior):
        raise ValueError(
            f"prior is {prior!r}: pass a Prior, None for maximum likelihood, or 'default'."
        )
    shapes = {"strength": (), "scatter": (d, d), "concentration": (), "mean": (d,)}
    given = {}
    for name, shape in (shapes | {"mean_strength": ()}).items():
        value = getattr(prior, name)
        if value is None:
            continue
        value = given[name] = checks.array(value, f"prior.{name}")
        if value.shape != shape:
            raise ValueError(
                f"prior.{name} has shape {value.shape}: for {d} features pass {shape}."
            )
        if not checks.traced(value) and not np.isfinite(np.asarray(value)).all():
            raise ValueError(f"prior.{name} holds NaN or infinity.")
    checks.not_negative(given["strength"], "prior.strength")
    checks.not_negative(given["mean_strength"], "prior.mean_strength")
    if "scatter" in given:
        parameter_checks.prior_scatter(given["scatter"])
    if "concentration" in given:
        checks.at_least_one(given["concentration"], "prior.concentration")
    pulled = given["mean_strength"]
    if not checks.traced(pulled) and ("mean" in given) != (float(pulled) > 0):
        raise ValueError(
            "prior.mean and prior.mean_strength go together: give the mean, and how many "
            "pseudo-rows lie there."
        )
    return Prior(**{name: jnp.asarray(value, dtype) for name, value in given.items()})


def log_prior(mixture: Mixture, prior: Prior | None) -> jax.Array:
    """log prior(θ) as (), in nats, without its constants (see `Prior`); 0 for prior=None. In the
    mixture's dtype; nothing is checked.

    The objective of every algorithm is log_likelihood(mixture, x) + log_prior(mixture, prior).
    Absent components count for nothing. Differentiable with respect to both arguments.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> m = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> prior = jaxgmm.Prior.from_data(x)
    >>> objective = jaxgmm.log_likelihood(m, x) + jaxgmm.log_prior(m, prior)
    >>> bool(jnp.allclose(objective, jaxgmm.fit(x, m, max_steps=0).objective))
    True
    """
    forks.refuse()
    return _log_prior(mixture, prior)


@jax.jit
def _log_prior(mixture, prior):
    if prior is None:
        return jnp.zeros((), mixture.dtype)
    frame, present = mixture.frame, mixture.present
    held = frame.pool(present) > 0
    terms = 2 * prior.strength * frame.log_determinant
    if prior.scatter is not None:
        terms -= frame.quadratic(jnp.asarray(prior.scatter, mixture.dtype))
    total = jnp.sum(jnp.where(held, terms, 0)) / 2
    if prior.concentration is not None:
        log_weights = jnp.where(present, mixture.log_weights, 0)
        total += (prior.concentration - 1) * jnp.sum(log_weights)
    if prior.mean is not None:
        pull = jnp.sum(frame.whiten(mixture.means - prior.mean[None]) ** 2, axis=-1)
        total -= prior.mean_strength * jnp.sum(jnp.where(present, pull, 0)) / 2
    return total.astype(mixture.dtype)
