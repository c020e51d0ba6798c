"""Upper bounds of the log-joint, from a few projections of the rows.

The Mahalanobis distance of a projection of a row, in the covariance of the projection, is at most
that of the row itself. So the log-joint is at most its value at the mean minus half the squared
distance of any projection, for every row and every mixture.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..mixture.mixture import Mixture
from ..numerics.products import matmul


class Screen:
    """The bounds for one mixture, for the projections A x (m, b) on some axes A (m, d)."""

    def __init__(self, mixture: Mixture, axes: jax.Array) -> None:
        lowest = float(jnp.finfo(mixture.dtype).min) / 4  # products with −∞ itself would be NaN
        self.axes = axes
        self.means = matmul(mixture.means, axes.T)
        self.layout = mixture.frame.project(axes)
        self.constants = jnp.where(mixture.present, mixture.log_constants, lowest)

    def bounds(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return upper bounds (k, b) for a block x (d, b), and their largest rounding errors (k,).

        The origin is the block's own mean. So errors are small where rows and components are near
        one another, and elsewhere the distance itself is much larger than its error.
        """
        projected = matmul(self.axes, x)
        center = jnp.mean(projected, axis=1)
        features, common = self.layout.features(projected - center[:, None])
        parameters, form = self.layout.natural(self.means - center[None], self.constants)
        bounds = matmul(parameters, features)
        largest = jnp.max(jnp.abs(features), axis=1)
        if form is not None and common is not None:
            bounds = bounds + self.layout.common_form(form, common)
        terms = (len(largest) + 8) * jnp.finfo(x.dtype).eps
        return bounds, terms * matmul(jnp.abs(parameters), largest)
