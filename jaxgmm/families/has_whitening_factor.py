"""`HasWhiteningFactor`: a family whose leaves are whitening factors, free of any constraint."""

from __future__ import annotations

import abc

import jax

from .has_logarithms import HasLogarithms


class HasWhiteningFactor(HasLogarithms):
    """A family whose leaves are the whitening factors themselves, free of any constraint.

    Then the gradient with respect to the leaves determines the second moments, and a mixture can be
    described by other factors than W (see `mixture/coordinates.py`).
    """

    def likeliest(self, moments, mass, d):
        return self.maximize(moments, mass, d)[0]  # a closed form

    @abc.abstractmethod
    def entries(self) -> tuple[jax.Array, jax.Array]:
        """Return the leaves as diagonals and strict lower parts of a stack of triangular matrices.

        The stack contains a matrix for each covariance, or a 1×1 matrix for each scale. The
        diagonals are (s, m), and the strict lower parts are (s, m(m−1)/2), row by row.
        """

    @abc.abstractmethod
    def with_entries(self, diagonal: jax.Array, lower: jax.Array) -> HasWhiteningFactor:
        """Return a member whose `entries` are these numbers, which may be those of any factor."""

    @abc.abstractmethod
    def spread_from_gradient(
        self, gradient: HasWhiteningFactor, mass: jax.Array, d: int
    ) -> jax.Array:
        """Return the spread, from the log-likelihood's gradient with respect to the leaves.

        It solves Fisher's identity for the statistics. `mass` (c,) is that of each covariance.
        """
