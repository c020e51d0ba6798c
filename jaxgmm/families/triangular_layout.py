"""A dense layout whose whitening matrices are lower triangular."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..numerics import panels
from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, mirror_lower, parts, solve
from .dense_layout import Dense, amplification_of, quadratic_form
from .layout import Layout, wider_than


class TriangularLayout(Dense):
    """Lower-triangular W (c, d, d), stored as its log-diagonal and its strict lower part.

    These are (c, d) and, row by row, (c, d(d−1)/2). Second moments are matrices (c, d, d).
    """

    def __init__(self, log_diagonal: jax.Array, lower: jax.Array, shared: bool = False):
        Layout.__init__(self, log_diagonal.shape[-1], shared)
        self.log_diagonal = log_diagonal
        self.lower = lower

    @property
    def factor(self) -> jax.Array:
        """W as (c, d, d)."""
        return assemble(jnp.exp(self.log_diagonal), self.lower)

    @property
    def factor_transposed(self) -> jax.Array:
        """Wᵀ as (c, d, d), stored as such: XLA multiplies stacks of transposed matrices slowly."""
        return assemble(jnp.exp(self.log_diagonal), self.lower, transposed=True)

    @property
    def inverse_factor(self) -> jax.Array:
        """L = W⁻¹ as (c, d, d), the Cholesky factor of Σ."""
        return inverse(self.factor)

    def unwhiten(self, vectors):
        return solve(self.factor, vectors)

    def unwhiten_transposed(self, vectors):
        return solve(self.factor, vectors, transposed=True)

    @property
    def _by_panels(self) -> bool:
        return panels.pay(len(self.log_diagonal), self.d)

    def _products(self, x):
        return panels.times_columns(self.factor, x) if self._by_panels else super()._products(x)

    def cross(self, weighted, y):
        if not self._by_panels:
            return super().cross(weighted, y)
        return panels.lower_products(weighted[:, None] * y, y)

    def spread(self, cross):
        return mirror_lower(panels.join(cross)) if self._by_panels else super().spread(cross)

    @property
    def log_scales(self) -> jax.Array:  # type: ignore[override]
        return -self.log_diagonal

    @property
    def log_determinant(self):
        return -jnp.sum(self.log_scales, axis=-1)

    def resolved(self, noise):
        return wider_than(self.log_scales, noise)

    def amplification(self, means):
        return amplification_of(self, inverse(self.factor, often=False), means)

    def expected(self, new, moments, mass):
        # T = W_new L. Its diagonal is computed from the logarithms, so that it is exactly 1 where
        # they agree.
        lower = parts(matmul(new.factor, self.inverse_factor))[1]
        relative = assemble(jnp.exp(new.log_diagonal - self.log_diagonal), lower)
        return mass * new.log_determinant - quadratic_form(relative, moments) / 2
