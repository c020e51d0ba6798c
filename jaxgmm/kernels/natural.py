"""The natural kernel, a matrix product of parameters with features of the rows.

All components share the features. `rounding_bounds.py` says for which mixtures it is accurate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..numerics.float64 import in_double_width
from ..numerics.products import matmul
from .protocol import Moments

Features = tuple[jax.Array, jax.Array | None]  # of components and common, or sums of them


class Natural:
    """The kernel of natural parameters times features, which are the same for every mixture.

    `lanes` is the number of mixtures that are evaluated at once under vmap, and `parameters` are
    those of rows about another origin, if they are known (see `about`).

    Attributes:
      parameters: the natural parameters (k, f).
      common: the natural parameters that all components share, or None. The quadratic form of a
        tied covariance is the same for all components, so that it and the second moments are
        computed once instead of k times.
    """

    fills_cores = False

    def __init__(self, mixture: Mixture, lanes: int = 1, parameters: Features | None = None):
        self.mixture = mixture
        self.lanes = lanes
        if parameters is None:
            parameters = self._accurately(_parameters_for(mixture), mixture)
        self.parameters: jax.Array = parameters[0]
        self.common: jax.Array | None = parameters[1]

    @classmethod
    def about(cls, mixture: Mixture, origins: jax.Array, raised: jax.Array) -> Features:
        """Return the parameters for rows relative to each of the origins (o, d), as (o, k, f).

        `raised` (o, k) is added to the log-joint of each component.
        """
        parameters = _parameters_for(mixture)
        of_origin = lambda mixture, origin, raised: parameters(mixture.translate(-origin), raised)
        of_each = jax.vmap(of_origin, in_axes=(None, 0, 0))
        return in_double_width(of_each, mixture, origins, raised)

    @property
    def _common_features(self) -> int:
        """The count of numbers that `common_form` stores for each row, for one mixture."""
        return 0 if self.common is None else sum(self.common.shape)

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that all lanes store for each row of a block."""
        k, features = self.parameters.shape
        return self.lanes * k + features + self._common_features

    @property
    def numbers_in_sums(self) -> int:
        """The count of numbers in the sums of all lanes."""
        common = 0 if self.common is None else self.common.size
        return self.lanes * (self.parameters.size + common)

    @property
    def sums_are_transposed(self) -> bool:
        """Whether the sums have shape (f, k) instead of (k, f).

        A matrix product repacks its second factor, which should therefore be the smaller one.
        """
        k, features = self.parameters.shape
        return self.lanes * k < features

    def log_joint(self, x: jax.Array) -> tuple[jax.Array, Features]:
        """Return the log-joint (k, b) of a block, and its features, which `sums` needs."""
        features, common = self.mixture.frame.features(x)
        joint = matmul(self.parameters, features)
        if self.common is not None and common is not None:
            joint = joint + self.mixture.frame.common_form(self.common, common)
        return joint, (features, common)

    def sums(
        self, x: jax.Array, intermediate: Features, weighted_responsibilities: jax.Array
    ) -> Features:
        """Return a block's terms of the sums, for weighted responsibilities w r (k, b)."""
        features, common = intermediate
        if self.sums_are_transposed:
            sums = matmul(features, weighted_responsibilities.T)
        else:
            sums = matmul(weighted_responsibilities, features.T)
        if common is None:
            return sums, None
        weight = jnp.sum(weighted_responsibilities, axis=0, keepdims=True)
        return sums, self.mixture.frame.common_sums(weight, common)

    def statistics(self, sums: Features) -> Moments:
        """Return mass, shift and spread from the sums over all blocks.

        The raw moments are moved to each component's mean and whitened.
        """
        origin = jnp.zeros((1, self.mixture.n_features), self.mixture.dtype)
        own = jax.tree.map(lambda leaf: leaf[None], self.by_component(sums))
        return self.statistics_about(own, origin)

    def by_component(self, sums: Features) -> Features:
        """Return the sums with shape (k, f)."""
        own, common = sums
        if not self.sums_are_transposed:
            return own, common
        # Without the barrier, XLA would exchange the factors of a product that is then transposed.
        return jax.lax.optimization_barrier(own).T, common

    def statistics_about(self, sums: Features, origins: jax.Array) -> Moments:
        """Return mass, shift and spread from sums of rows relative to each of the origins (o, d).

        The sums are those of `by_component`, with a leading axis of origins.
        """

        def move(mixture: Mixture, sums: Features, origins: jax.Array) -> Moments:
            return mixture.frame.statistics(*sums, mixture.means[None] - origins[:, None])

        return self._accurately(move, self.mixture, sums, origins)

    def mass(self, sums: Features) -> jax.Array:
        """Return the mass (..., k) in sums by component, which may have leading axes."""
        # The feature of which the mass is the sum is 1 at the origin, where all others are 0.
        origin = jnp.zeros((self.mixture.n_features, 1), self.mixture.dtype)
        at_origin = self.mixture.frame.features(origin)[0]
        return matmul(sums[0], at_origin)[..., : self.mixture.n_components, 0]

    def _accurately(self, function: Callable[..., Any], *operands: Any) -> Any:
        """Return function(*operands), computed in float64 for a single mixture.

        The rounding errors of parameters and of moved sums do not average out over a component's
        rows. A batch has few rows for each mixture, so that float64 would take a fifth of a step
        there; its limit for the rounding error is the one without it.
        """
        return in_double_width(function, *operands) if self.lanes == 1 else function(*operands)


def _parameters_for(mixture: Mixture) -> Callable[..., Features]:
    """Return the natural parameters as a function of the mixture, which may be in a wider dtype.

    Its second argument (k,) is added to the log-joint.
    """
    # A finite constant for absent components, whose exponential is 0. Products with −∞ itself would
    # be NaN.
    lowest = float(jnp.finfo(mixture.dtype).min) / 4

    def parameters(mixture: Mixture, raised: jax.Array | float = 0.0) -> Features:
        constants = jnp.where(mixture.present, mixture.log_constants + raised, lowest)
        return mixture.frame.natural(mixture.means, constants)

    return parameters
