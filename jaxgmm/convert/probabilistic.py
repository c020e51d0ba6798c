"""Conversion to and from the mixtures of NumPyro, distrax and TensorFlow Probability (on JAX)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..mixture.mixture import Mixture
from .components import components_of, mixture_of, require

TFP = "tensorflow_probability.substrates.jax.distributions"


def to_numpyro(mixture: Mixture) -> Any:
    """Return a mixture as a NumPyro distribution, e.g. for a prior or an observation model.

    The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters. Absent components are left out.

    Returns:
      A `numpyro.distributions.MixtureSameFamily` of `MultivariateNormal` with Cholesky factors.

    Raises:
      ValueError: if `mixture` is not such a mixture.
      ImportError: if NumPyro is not installed.
    """
    library = require("numpyro.distributions", "numpyro")
    logits, means, roots = components_of(mixture)
    return library.MixtureSameFamily(
        library.Categorical(logits=logits), library.MultivariateNormal(means, scale_tril=roots)
    )


def from_numpyro(distribution: Any) -> Mixture:
    """Return the mixture of a NumPyro distribution.

    Args:
      distribution: a `MixtureSameFamily` of `MultivariateNormal`, or of `Normal(…).to_event(1)`.

    Returns:
      A full mixture for the first, and a diagonal one for the second.

    Raises:
      ValueError: for any other distribution.
    """
    try:
        parts = distribution.component_distribution
        logits = distribution.mixing_distribution.logits
        if hasattr(parts, "covariance_matrix"):
            return mixture_of(logits, parts.mean, parts.covariance_matrix)
        if parts.event_dim == 1:
            return mixture_of(logits, parts.mean, parts.variance, "diagonal")
    except AttributeError:
        pass
    raise ValueError(
        f"{type(distribution).__name__} is not a mixture of normals: pass a MixtureSameFamily of "
        "MultivariateNormal, or of Normal with one event dimension."
    )


def to_distrax(mixture: Mixture) -> Any:
    """Return a mixture as a distrax distribution. The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters. Absent components are left out.

    Returns:
      A `distrax.MixtureSameFamily` of `MultivariateNormalTri`.

    Raises:
      ValueError: if `mixture` is not such a mixture.
      ImportError: if distrax is not installed.
    """
    library = require("distrax", "distrax")
    logits, means, roots = components_of(mixture)
    return library.MixtureSameFamily(
        library.Categorical(logits=logits), library.MultivariateNormalTri(means, roots)
    )


def from_distrax(distribution: Any) -> Mixture:
    """Return the full mixture of a distrax `MixtureSameFamily` of multivariate normals.

    Raises:
      ValueError: for any other distribution.
    """
    return _from_mean_and_covariance(distribution, lambda categorical: categorical.logits)


def to_tfp(mixture: Mixture) -> Any:
    """Return a mixture as a distribution of TensorFlow Probability's JAX substrate.

    The function works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters. Absent components are left out.

    Returns:
      A `tfp.substrates.jax.distributions.MixtureSameFamily` of `MultivariateNormalTriL`.

    Raises:
      ValueError: if `mixture` is not such a mixture.
      ImportError: if TensorFlow Probability is not installed.
    """
    library = require(TFP, "tfp-nightly")
    logits, means, roots = components_of(mixture)
    return library.MixtureSameFamily(
        library.Categorical(logits=logits), library.MultivariateNormalTriL(means, roots)
    )


def from_tfp(distribution: Any) -> Mixture:
    """Return the full mixture of a TensorFlow Probability `MixtureSameFamily` of normals.

    Raises:
      ValueError: for any other distribution.
    """
    return _from_mean_and_covariance(
        distribution, lambda categorical: categorical.logits_parameter()
    )


def _from_mean_and_covariance(distribution: Any, logits_of: Any) -> Mixture:
    """Return the mixture of a distribution whose components have a mean and a covariance."""
    try:
        parts = distribution.components_distribution
        logits = logits_of(distribution.mixture_distribution)
        means, covariances = parts.mean(), parts.covariance()
    except (AttributeError, NotImplementedError):
        means = covariances = jnp.zeros(())
    if jnp.ndim(covariances) != 3 or jnp.ndim(means) != 2 or "Normal" not in type(parts).__name__:
        raise ValueError(
            f"{type(distribution).__name__} is not a mixture of normals: pass a MixtureSameFamily "
            "of multivariate normals."
        )
    return mixture_of(logits, means, covariances)
