"""The class `Mixture`: a Gaussian mixture as a pytree of unconstrained arrays."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ..families.family import Family
from ..families.has_logarithms import HasLogarithms
from ..families.layout import Layout, layout_of
from ..families.registry import family_class, family_name
from ..internal import checks
from ..internal.pytrees import pytree
from ..numerics.powers_of_two import power_of_two
from . import parameter_checks
from .component_rounding_warnings import warn_of_coarse_components


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Mixture:
    """A mixture of k Gaussians in d dimensions.

    A mixture is a pytree. Its leaves are unconstrained, so that `jax.grad` and
    `optax.apply_updates` can be applied to a mixture directly. A batch of mixtures, e.g. from
    `jax.vmap`, is a mixture whose leaves have leading axes.

    Attributes:
      logits: (k,) weights before the softmax. −inf marks an absent component: it has weight 0,
        remains absent in a fit, and is ignored.
      means: (k, d) means, in the units of the data.
      covariance: the covariances as a member of a family in `FAMILIES`. It stores whitening
        factors; `covariances` returns readable values.

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
        """Return a one-line summary, or the fields of a tree that contains no arrays."""
        shape: tuple[int, ...] = getattr(self.means, "shape", ())
        if len(shape) < 2:
            return f"Mixture({self.logits!r}, {self.means!r}, {self.covariance!r})"
        *batch, k, d = shape
        lanes = f"; batch of {' × '.join(map(str, batch))}" if batch else ""
        return f"Mixture({_name_of(self.covariance)}, K = {k}, d = {d}, {self.means.dtype}{lanes})"

    @classmethod
    def from_parameters(
        cls,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        covariances: npt.ArrayLike,
        family: str | type[Family] = "full",
    ) -> Mixture:
        """Return the mixture with these weights, means and covariances.

        Under jit, vmap and grad only the shapes of the arguments are checked.

        Args:
          weights: (k,) weights of 0 or more, which sum to 1. A weight of 0 makes an absent
            component.
          means: (k, d) means, in the units of the data.
          covariances: dense covariances (k, d, d), or covariances in the family's own shape: tied
            (d, d), diagonal, VEI and EVI (k, d) variances, spherical (k,) variances, EEI (d,)
            variances, EII a variance, all others (k, d, d). They are in squared units of the data.
          family: a name in `FAMILIES`, an alias such as "VVV" for "full", or a family such as
            `factors(2)`.

        Returns:
          The mixture, in the dtype of `means`. Whole numbers are converted to JAX's default dtype.

        Raises:
          ValueError: if a shape is wrong, a number is not finite, the weights do not sum to 1, or a
            covariance is not symmetric, not positive definite or not of the family.

        Warns:
          UserWarning: if float32 cannot represent a component to within 1 %.
        """
        weights, means = checks.array(weights, "weights"), checks.array(means, "means")
        covariances = checks.array(covariances, "covariances")
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(f"means has shape {means.shape}: pass (k, d), a row per component.")
        k, d = means.shape
        kind = family_class(family, k, d)
        family = family if isinstance(family, str) else family_name(kind)
        if weights.shape != (k,):
            raise ValueError(f"weights has shape {weights.shape}: means has {k} rows, pass ({k},).")
        own_shape = kind.array_shape(k, d)
        if covariances.shape not in (own_shape, (k, d, d)):
            other = "" if own_shape == (k, d, d) else f" or {(k, d, d)}"
            raise ValueError(
                f"covariances has shape {covariances.shape}: for {k} components, {d} features and "
                f"family {family!r} pass {own_shape}{other}."
            )
        dtype = checks.float_dtype(means.dtype)
        traced = checks.traced(weights, means, covariances)
        xp = jnp if traced else np
        weight_array, mean_array, covariance_array = (
            xp.asarray(values).astype(dtype if traced else np.float64)
            for values in (weights, means, covariances)
        )
        is_dense = covariance_array.ndim == 3
        own = kind.own(covariance_array) if is_dense else covariance_array
        if not traced:
            dense = covariance_array if is_dense else kind.expand(own, k, d, np)
            parameter_checks.mixture_parameters(weight_array, mean_array, dense)
        with np.errstate(divide="ignore"):
            logits = xp.log(weight_array)
        covariance = kind.from_own(own, xp)
        if not traced:
            parameter_checks.member_of_family(dense, covariance, family)
        mixture = cls(logits, mean_array, covariance)
        mixture = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture)
        warn_of_coarse_components(mixture)
        return mixture

    @property
    def n_components(self) -> int:
        """The number k of components, including absent ones."""
        return self.means.shape[-2]

    @property
    def n_features(self) -> int:
        """The number d of features."""
        return self.means.shape[-1]

    @property
    def family(self) -> str:
        """The name of the covariance family."""
        return family_name(type(self.covariance))

    @property
    def frame(self) -> Layout:
        """The layout of the whitening factors, which computes residuals and second moments."""
        return layout_of(self.covariance, self.n_features, self.n_components)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the mixture's leaves."""
        return self.means.dtype

    @property
    def present(self) -> jax.Array:
        """Booleans (k,), which are False for absent components."""
        return self.logits > -jnp.inf

    @property
    def log_weights(self) -> jax.Array:
        """Logarithms (k,) of the weights."""
        return jax.nn.log_softmax(self.logits)

    @property
    def weights(self) -> jax.Array:
        """Weights (k,), which sum to 1."""
        return jax.nn.softmax(self.logits)

    @property
    def covariances(self) -> jax.Array:
        """Dense covariances (k, d, d), in squared units of the data."""
        return _for_each_lane(_dense_covariances, self)

    @property
    def precisions(self) -> jax.Array:
        """Dense inverse covariances (k, d, d)."""
        return _for_each_lane(_dense_precisions, self)

    @property
    def log_constants(self) -> jax.Array:
        """The log-joint at each component's mean: log π_k + log|W_k| − (d/2) log 2π, as (k,)."""
        d = self.n_features
        return self.log_weights + self.frame.log_determinant - d / 2 * math.log(2 * math.pi)

    def translate(self, offset: jax.Array) -> Mixture:
        """Return the mixture with `offset` (d,) added to every mean."""
        return dataclasses.replace(self, means=self.means + offset[None])

    def rescale(self, exponent: int) -> Mixture:
        """Return the mixture for features times 2 to the power `exponent`.

        Its family must be one that `HasLogarithms`.
        """
        means = self.means * power_of_two(exponent, self.dtype)
        covariance = cast(HasLogarithms, self.covariance).rescale(exponent)
        return Mixture(self.logits, means, covariance)


def _name_of(covariance: Family) -> str:
    """Return the name of a member's family, or of its class if it has none."""
    try:
        return family_name(type(covariance))
    except ValueError:
        return type(covariance).__name__


def _for_each_lane(function: Callable[[Mixture], jax.Array], mixture: Mixture) -> jax.Array:
    """Return function(mixture), mapped over every leading axis of a batch of mixtures."""
    if jnp.ndim(mixture.means) == 2:
        return function(mixture)
    return jax.vmap(lambda lane: _for_each_lane(function, lane))(mixture)


# Under jit, so that reading a property again does not compile loops again.
@functools.partial(jax.jit, inline=True)
def _dense_covariances(mixture: Mixture) -> jax.Array:
    k, d = mixture.means.shape
    return jnp.broadcast_to(mixture.frame.dense, (k, d, d))


@functools.partial(jax.jit, inline=True)
def _dense_precisions(mixture: Mixture) -> jax.Array:
    k, d = mixture.means.shape
    return jnp.broadcast_to(mixture.frame.dense_precision, (k, d, d))
