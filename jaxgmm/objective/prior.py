"""`Prior`: the penalty that EM and gradient methods share, so that both maximize one objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data.open_data import open_data
from ..data.sources import Data
from ..internal import checks, forks
from ..internal.pytrees import pytree
from ..mixture import parameter_checks
from ..mixture.mixture import Mixture
from ..numerics.powers_of_two import power_of_two
from .data_covariance import data_covariance

DEFAULT_STRENGTH = 0.01  # pseudo-rows


@pytree
@dataclasses.dataclass(frozen=True)
class Prior:
    """A conjugate prior, expressed as pseudo-rows.

    Up to a constant, with sums over the present components k and over the family's covariances c
    (one for each component, or a single one for tied covariances),

        log prior(θ) = − ½ Σ_c [strength · log|Σ_c| + tr(Σ_c⁻¹ scatter)]
                       + (concentration − 1) Σ_k log π_k
                       − ½ mean_strength Σ_k (μ_k − mean)ᵀ Σ_k⁻¹ (μ_k − mean)

    Attributes:
      strength: () the number κ of pseudo-rows for each covariance.
      scatter: (d, d) the sum of their outer products, which is κ times their covariance, in squared
        units of the data; or None.
      concentration: () the parameter of a symmetric Dirichlet prior on the weights, at least 1; or
        None for a flat prior.
      mean: (d,) the point toward which the means are shrunk; or None.
      mean_strength: () the number of pseudo-rows at `mean` for each component.

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
        cls,
        x: Any,
        *,
        weight: ArrayLike | None = None,
        strength: jax.Array | float = DEFAULT_STRENGTH,
        ridge: jax.Array | float = 0.0,
        devices: Sequence[jax.Device] | None = None,
    ) -> Prior:
        """Return the default prior: a few pseudo-rows with the covariance of the data.

        The covariance ignores rows that are far from all others (see
        `jaxgmm.data.robust_covariance`). The prior bounds the likelihood, is equivariant under
        affine maps of the data, and does not depend on k. It follows the idea of Hosseini & Sra
        2020, Math. Programming 181, sec. 3.4.

        Args:
          x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
          weight: (n,) row weights, or None for ones.
          strength: the number of pseudo-rows, not negative.
          ridge: a fraction of each feature's variance, not negative, that is added in every
            direction. A component that takes all rows has at least this variance; a component that
            takes a fraction π of the rows has at least ridge/π times the variance. With a small
            ridge such as 1e-6, full covariances are finite even if columns are linearly dependent.
            For this purpose, the variance of a constant feature counts as 1.
          devices: the devices over which an array of many rows is divided; all local devices by
            default.

        Returns:
          The prior, in the dtype of x. Its scatter is in squared units of the data.

        Raises:
          ValueError: if the rows or weights are not valid, or `strength` or `ridge` is negative.

        >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
        >>> prior = jaxgmm.Prior.from_data(x)
        >>> bool(jnp.allclose(prior.scatter, prior.strength * jnp.cov(x.T, bias=True), rtol=1e-4))
        True
        """
        strength = checks.not_negative(strength, "strength")
        ridge = checks.not_negative(ridge, "ridge")
        data = open_data(x, weight, devices=devices, operands=(strength, ridge))
        covariance = data.compute_once(data_covariance)
        strength = jnp.asarray(strength, data.dtype)
        variance = jnp.diagonal(covariance)
        even = jnp.diag(jnp.where(variance > 0, variance, 1))
        total = (
            data.n
            if weight is None
            else jnp.sum(jnp.asarray(checks.array(weight, "weight"), data.dtype))
        )
        added = jnp.asarray(ridge * total, data.dtype) * even
        return Prior(strength=strength, scatter=strength * covariance + added)

    def translate(self, offset: jax.Array) -> Prior:
        """Return the prior for data that are shifted by `offset` (d,)."""
        if self.mean is None:
            return self
        return dataclasses.replace(self, mean=self.mean + offset)

    def rescale(self, exponent: int) -> Prior:
        """Return the prior for features times 2 to the power `exponent`."""
        times = lambda value, power: (
            None if value is None else value * power_of_two(power * exponent, value.dtype)
        )
        return dataclasses.replace(self, scatter=times(self.scatter, 2), mean=times(self.mean, 1))


def prior_of_covariance(
    covariance: jax.Array, strength: jax.Array | float = DEFAULT_STRENGTH
) -> Prior:
    """Return the prior whose pseudo-rows have this covariance."""
    return Prior(strength=strength, scatter=strength * covariance)


def resolve_prior(prior: Prior | str | None, data: Data) -> Prior | None:
    """Return the checked prior that a user's `prior` argument stands for.

    "default" stands for a prior that is computed from the data. The data's covariance is computed
    by a separate program, which all fits to rows of the same shape share.
    """
    if not isinstance(prior, str):
        return check_prior(prior, data.n_features, data.dtype)
    checks.choice(prior, "prior", ("default",))
    # Numbers have the dtype of the data, as in a prior that a user passes, so that both share
    # compiled programs.
    number: Callable[[float], Any] = lambda value: np.asarray(value, data.dtype)
    default = prior_of_covariance(data.compute_once(data_covariance), number(DEFAULT_STRENGTH))
    return dataclasses.replace(default, mean_strength=number(0))


def check_prior(prior: Prior | None, d: int, dtype: Any) -> Prior | None:
    """Return the prior in `dtype`, or raise ValueError if it is no prior for d features."""
    if prior is None:
        return None
    if not isinstance(prior, Prior):
        raise ValueError(
            f"prior is {prior!r}: pass a Prior, None for maximum likelihood, or 'default'."
        )
    shapes: dict[str, tuple[int, ...]] = {
        "strength": (),
        "scatter": (d, d),
        "concentration": (),
        "mean": (d,),
        "mean_strength": (),
    }
    fields = {}
    for name, shape in shapes.items():
        value = getattr(prior, name)
        if value is None:
            continue
        value = fields[name] = checks.array(value, f"prior.{name}")
        if value.shape != shape:
            raise ValueError(
                f"prior.{name} has shape {value.shape}: for {d} features pass {shape}."
            )
        if not checks.traced(value) and not np.isfinite(np.asarray(value)).all():
            raise ValueError(f"prior.{name} contains NaN or infinity: every number must be finite.")
    checks.not_negative(fields["strength"], "prior.strength")
    checks.not_negative(fields["mean_strength"], "prior.mean_strength")
    if "scatter" in fields:
        parameter_checks.prior_scatter(fields["scatter"])
    if "concentration" in fields:
        checks.at_least_one(fields["concentration"], "prior.concentration")
    mean_strength = fields["mean_strength"]
    if not checks.traced(mean_strength) and ("mean" in fields) != (float(mean_strength) > 0):
        raise ValueError(
            "prior.mean and prior.mean_strength go together: pass both the mean and a positive "
            "number of pseudo-rows at it, or neither."
        )
    return Prior(**{name: jnp.asarray(value, dtype) for name, value in fields.items()})


def log_prior(mixture: Mixture, prior: Prior | None) -> jax.Array:
    """Return log prior(θ) without its constants, in nats.

    The objective of every algorithm is log_likelihood(mixture, x) + log_prior(mixture, prior).

    Args:
      mixture: the mixture θ. Its absent components contribute nothing.
      prior: a `Prior`, whose docstring gives the formula; or None for maximum likelihood.

    Returns:
      () in nats, in the mixture's dtype; 0 if prior is None. It is differentiable with respect to
      both arguments. The arguments are not checked.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> m = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> prior = jaxgmm.Prior.from_data(x)
    >>> objective = jaxgmm.log_likelihood(m, x) + jaxgmm.log_prior(m, prior)
    >>> bool(jnp.allclose(objective, jaxgmm.fit(x, m, max_steps=0).objective))
    True
    """
    forks.raise_if_forked()
    return _log_prior(mixture, prior)


@jax.jit
def _log_prior(mixture: Mixture, prior: Prior | None) -> jax.Array:
    if prior is None:
        return jnp.zeros((), mixture.dtype)
    frame, present = mixture.frame, mixture.present
    used = frame.pool(present) > 0
    terms = 2 * prior.strength * frame.log_determinant
    if prior.scatter is not None:
        terms -= frame.quadratic(jnp.asarray(prior.scatter, mixture.dtype))
    total = frame.sum_covariances(jnp.where(used, terms, 0)) / 2
    if prior.concentration is not None:
        log_weights = jnp.where(present, mixture.log_weights, 0)
        total += (prior.concentration - 1) * jnp.sum(log_weights)
    if prior.mean is not None:
        distance = jnp.sum(frame.whiten(mixture.means - prior.mean[None]) ** 2, axis=-1)
        total -= prior.mean_strength * jnp.sum(jnp.where(present, distance, 0)) / 2
    return total.astype(mixture.dtype)
