"""Upper bounds of the log-joint, from a few projections of the rows.

The Mahalanobis distance of a projection of a row, in the covariance of the projection, is at most
that of the row itself. So the log-joint is at most its value at the mean minus half the squared
distance of any projection, for every row and every mixture.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..mixture.mixture import Mixture
from ..numerics.products import matmul


class Screen:
    """The bounds for one mixture whose components share no covariance.

    Attributes:
      axes: (m, d) axes A; rows are projected to A x (m, b).
      means: (k, m) the projected means.
      constants: (k,) the values of the log-joint at the means.
      precision: the inverse covariances of the projections, (k, m, m), or (k, m) where features are
        uncorrelated and the axes are features.
      quadratic: (k, f) the coefficients of the bounds in `_squares`.
    """

    def __init__(self, mixture: Mixture, axes: jax.Array) -> None:
        lowest = float(jnp.finfo(mixture.dtype).min) / 4  # products with −∞ itself would be NaN
        self.axes = axes
        self.means = matmul(mixture.means, axes.T)
        self.constants = jnp.where(mixture.present, mixture.log_constants, lowest)
        self._uncorrelated = mixture.frame.uncorrelated
        self._features = jnp.argmax(axes, axis=1)  # which the axes are, where uncorrelated
        precision = mixture.frame.project(axes).dense_precision
        first, second = np.triu_indices(len(axes))
        self._pairs = first.astype(np.int32), second.astype(np.int32)
        if self._uncorrelated:
            self.precision = jnp.diagonal(precision, axis1=1, axis2=2)
            self.quadratic = -self.precision / 2
        else:  # products of different entries occur twice in a quadratic form
            self.precision = precision
            twice = np.where(first == second, 1, 2).astype(precision.dtype)
            self.quadratic = -precision[:, first, second] * twice[None] / 2

    def bounds(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return upper bounds (k, b) for a block x (d, b), and their largest rounding errors (k,).

        The origin is the block's own mean. So errors are small where rows and components are near
        one another, and elsewhere the distance itself is much larger than its error.
        """
        projected = x[self._features] if self._uncorrelated else matmul(self.axes, x)
        center = jnp.mean(projected, axis=1)
        near, apart = projected - center[:, None], self.means - center[None]
        squares = self._squares(near)
        linear = self._times_precision(apart)
        half = jnp.sum(linear * apart, axis=-1) / 2
        bounds = matmul(self.quadratic, squares) + matmul(linear, near)
        largest = lambda values: jnp.max(jnp.abs(values), axis=1)
        sizes = matmul(jnp.abs(self.quadratic), largest(squares))
        sizes += matmul(jnp.abs(linear), largest(near)) + half + jnp.abs(self.constants)
        terms = len(squares) + 2 * len(near) + 8
        errors = terms * float(jnp.finfo(x.dtype).eps) * sizes
        return bounds + (self.constants - half)[:, None], errors

    def _squares(self, near: jax.Array) -> jax.Array:
        """Return the products (f, b) of projections in which bounds are linear."""
        if self._uncorrelated:
            return near**2
        first, second = self._pairs
        return near[first] * near[second]

    def _times_precision(self, vectors: jax.Array) -> jax.Array:
        """Return the products (k, m) of the precisions with vectors (k, m)."""
        if self._uncorrelated:
            return self.precision * vectors
        # A sum over the middle axis, which XLA vectorizes, instead of k small products.
        return jnp.sum(self.precision * vectors[:, :, None], axis=1)
