"""`Mixture`: a Gaussian mixture as a pytree."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from ..families.family import Family
from ..families.layout import Layout
from ..families.registry import family_class, family_name
from ..internal import checks
from . import parameter_checks
from .component_precision import warn_of_coarse_components


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Mixture:
    """A mixture of k Gaussians in d dimensions.

    Every leaf is unconstrained, so `jax.grad` and `optax.apply_updates` act on a mixture as it is.

    Attributes:
      logits: (k,) weights before the softmax; −inf marks an absent component, which has weight 0,
        stays absent, and counts for nothing.
      means: (k, d), in the units of the data.
      covariance: the family's whitening factors; see `covariances` for readable values.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.3, 0.7], [[0.0, 0.0], [3.0, 1.0]], [1.0, 4.0], family="spherical"
    ... )
    >>> m
    Mixture(spherical, K = 2, d = 2, float32)
    >>> np.asarray(m.covariances[1]).round(3)
    array([[4., 0.],
           [0., 4.]], dtype=float32)
    """

    logits: jax.Array
    means: jax.Array
    covariance: Family

    def __repr__(self) -> str:
        """In one line; of a tree of something else than arrays (axes, names), what it holds."""
        kind, shape = type(self.covariance).__name__.lower(), getattr(self.means, "shape", ())
        if len(shape) < 2:
            return f"Mixture({self.logits!r}, {self.means!r}, {self.covariance!r})"
        *batch, k, d = shape
        lanes = f"; batch of {' × '.join(map(str, batch))}" if batch else ""
        return f"Mixture({kind}, K = {k}, d = {d}, {self.means.dtype}{lanes})"

    @classmethod
    def from_parameters(cls, weights, means, covariances, family: str = "full") -> Mixture:
        """A mixture from readable parameters.

        Args:
          weights: (k,), not negative, summing to 1. A weight of 0 makes an absent component.
          means: (k, d).
          covariances: dense (k, d, d), or the family's own shape: full (k, d, d), tied (d, d),
            diagonal (k, d) variances, spherical (k,) variances.
          family: a name in `FAMILIES`.

        Returns:
          The mixture, in the dtype of `means` (whole numbers: JAX's default). Under jit, vmap or
          grad only shapes are checked.

        Warns:
          UserWarning: where float32 does not hold a component to 1 %, as `fit` does.

        Raises:
          ValueError: for wrong shapes, non-finite numbers, weights that do not sum to 1,
            covariances that are not symmetric, not positive definite, or not of the family.
        """
        kind = family_class(family)
        weights, means = checks.array(weights, "weights"), checks.array(means, "means")
        covariances = checks.array(covariances, "covariances")
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(f"means has shape {means.shape}: pass (k, d), a row per component.")
        k, d = means.shape
        if weights.shape != (k,):
            raise ValueError(f"weights has shape {weights.shape}: means has {k} rows, pass ({k},).")
        own = kind.shape(k, d)
        if covariances.shape not in (own, (k, d, d)):
            raise ValueError(
                f"covariances has shape {covariances.shape}: for {k} components, {d} features and "
                f"family {family!r} pass {own}" + ("." if own == (k, d, d) else f" or {(k, d, d)}.")
            )
        dtype = checks.float_dtype(means.dtype)
        traced = checks.traced(weights, means, covariances)
        xp = jnp if traced else np
        weights, means, covariances = (
            xp.asarray(values).astype(dtype if traced else np.float64)
            for values in (weights, means, covariances)
        )
        given = covariances
        if covariances.ndim == 3:
            covariances = kind.own(covariances)
        if not traced:
            dense = given if given.ndim == 3 else kind.expand(given, k, d, np)
            parameter_checks.mixture_parameters(weights, means, dense)
            parameter_checks.held_by_family(dense, kind.expand(covariances, k, d, np), family, own)
        with np.errstate(divide="ignore"):
            logits = xp.log(weights)
        made = cls(logits, means, kind.from_own(covariances, xp))
        made = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), made)
        warn_of_coarse_components(made)
        return made

    @property
    def n_components(self) -> int:
        """k, absent components included."""
        return self.means.shape[-2]

    @property
    def n_features(self) -> int:
        """d."""
        return self.means.shape[-1]

    @property
    def family(self) -> str:
        """The name of the covariance family."""
        return family_name(type(self.covariance))

    @property
    def frame(self) -> Layout:
        """The whitening factors of all components, through which rows are seen."""
        return self.covariance.frame(self.n_features)

    @property
    def dtype(self):
        """The dtype that the mixture computes in."""
        return self.means.dtype

    @property
    def present(self) -> jax.Array:
        """(k,) booleans: False where a component is absent."""
        return self.logits > -jnp.inf

    @property
    def log_weights(self) -> jax.Array:
        """(k,) logarithms of the weights."""
        return jax.nn.log_softmax(self.logits)

    @property
    def weights(self) -> jax.Array:
        """(k,) weights, summing to 1."""
        return jax.nn.softmax(self.logits)

    @property
    def covariances(self) -> jax.Array:
        """(k, d, d) dense covariances, in squared units of the data."""
        return _each(_dense_covariances, self)

    @property
    def precisions(self) -> jax.Array:
        """(k, d, d) dense inverse covariances."""
        return _each(_dense_precisions, self)

    @property
    def log_constants(self) -> jax.Array:
        """(k,) log π_k + log|W_k| − (d/2) log 2π: the log-joint at a component's mean."""
        d = self.n_features
        return self.log_weights + self.frame.log_determinant - d / 2 * math.log(2 * math.pi)

    def translate(self, offset: jax.Array) -> Mixture:
        """The mixture moved by `offset` (d,)."""
        return dataclasses.replace(self, means=self.means + offset[None])


def _each(function, mixture: Mixture) -> jax.Array:
    """function(mixture), over every leading axis that a batch of mixtures has."""
    if jnp.ndim(mixture.means) == 2:
        return function(mixture)
    return jax.vmap(lambda one: _each(function, one))(mixture)


def _dense_covariances(mixture: Mixture) -> jax.Array:
    k, d = mixture.means.shape
    return jnp.broadcast_to(mixture.frame.dense, (k, d, d))


def _dense_precisions(mixture: Mixture) -> jax.Array:
    k, d = mixture.means.shape
    return jnp.broadcast_to(mixture.frame.dense_precision, (k, d, d))
