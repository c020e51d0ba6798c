"""The contract of a covariance family: which covariances a mixture may have.

A family is one class: a frozen dataclass of arrays, registered as a pytree. Every value of every
leaf is a valid covariance, so gradients and optax updates can be applied to a mixture directly.
Each leaf has a leading axis of k, or of 1 if all components share it. `frame` returns the layout
with which the rest of the library computes (see `layout.py`).

A *local* describes another member of the family relative to this one. Zero describes this member
itself. The M-step, SQUAREM, relative coordinates and the certificate use only locals, because
numbers near zero keep their digits, while the difference of two members would lose them.
"""

from __future__ import annotations

import abc
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from .layout import Layout

Local = Any  # a pytree of arrays, in a form that its family chooses


class Family(abc.ABC):
    """Covariances of k components in d features. Subclasses are frozen dataclasses."""

    # ---- definition ---------------------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def identity(cls, k: int, d: int, dtype: DTypeLike) -> Family:
        """Return unit covariances for k components in d dimensions."""

    @abc.abstractmethod
    def frame(self, d: int) -> Layout:
        """Return the layout of these covariances in d dimensions."""

    @classmethod
    @abc.abstractmethod
    def n_parameters(cls, k: Any, d: int) -> Any:
        """Return the number of free covariance parameters of k components.

        k is an int or an array of ints, and so is the result.
        """

    # ---- locals -------------------------------------------------------------------------------

    @abc.abstractmethod
    def maximize(self, moments: jax.Array, mass: jax.Array, d: int) -> tuple[Local, jax.Array]:
        """Return the member with the highest likelihood, as a local, and the gain.

        `moments` are the second moments of the rows about the new means, in the residual units of
        this member's layout, and `mass` (c,) is the sum of their weights. The gain (c,) is the
        increase of N log|W| − ½ tr Σ⁻¹M for each covariance, in units of mass/2. For moments that
        are not positive definite the result is not finite, and no exception is raised.
        """

    @abc.abstractmethod
    def moved(self, local: Local) -> Family:
        """Return the member that a local describes."""

    @abc.abstractmethod
    def between(self, other: Family) -> Local:
        """Return the local that describes another member: the inverse of `moved`."""

    @abc.abstractmethod
    def combine(self, first: Local, second: Local) -> Local:
        """Return the local of self.moved(first).moved(second), accurate near zero."""

    @abc.abstractmethod
    def metric(self, mass: jax.Array, d: int) -> Local:
        """Return the square roots of the Fisher information of the locals at zero.

        `mass` (c,) is the fraction of the rows that each covariance describes.
        """

    def zero_local(self) -> Local:
        """Return the local that describes this member itself."""
        return jax.tree.map(jnp.zeros_like, self)

    # ---- reading and writing ------------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def shape(cls, k: int, d: int) -> tuple[int, ...]:
        """Return the family's own shape: the one in which users pass covariances.

        An example is (k, d) for variances.
        """

    @classmethod
    @abc.abstractmethod
    def own(cls, covariances: Any) -> Any:
        """Return dense covariances (k, d, d) in the family's own shape.

        Entries that the family cannot represent are dropped.
        """

    @classmethod
    @abc.abstractmethod
    def expand(cls, covariances: Any, k: int, d: int, xp: ModuleType) -> Any:
        """Return covariances in the family's own shape as dense matrices (k, d, d).

        xp is numpy or jax.numpy, and the arrays are of that kind.
        """

    @classmethod
    @abc.abstractmethod
    def from_own(cls, covariances: Any, xp: ModuleType) -> Family:
        """Return the member with these covariances, which are in the family's own shape.

        xp is numpy or jax.numpy, and the arrays are of that kind.
        """

    @classmethod
    @abc.abstractmethod
    def of_scales(cls, scales: jax.Array, k: int) -> Family:
        """Return k uncorrelated covariances with standard deviations `scales` (d,) of the features.

        A family with one variance for all features uses their root mean square.
        """

    def select(self, sources: jax.Array) -> Family:
        """Return the covariances of the components `sources` (k,), in that order."""
        k = len(sources)
        pick = lambda leaf: leaf if len(leaf) == 1 and k > 1 else leaf[sources]
        return jax.tree.map(pick, self)


class HasFactor(Family):
    """A family whose leaves are the whitening factors themselves, free of any constraint.

    Then the gradient with respect to the leaves determines the second moments, and a mixture can be
    described by other factors than W (see `mixture/coordinates.py`).
    """

    @abc.abstractmethod
    def entries(self) -> tuple[jax.Array, jax.Array]:
        """Return the leaves as diagonals and strict lower parts of a stack of triangular matrices.

        The stack contains a matrix for each covariance, or a 1×1 matrix for each scale. The
        diagonals are (s, m), and the strict lower parts are (s, m(m−1)/2), row by row.
        """

    @abc.abstractmethod
    def with_entries(self, diagonal: jax.Array, lower: jax.Array) -> HasFactor:
        """Return a member whose `entries` are these numbers, which may be those of any factor."""

    @abc.abstractmethod
    def spread_from_gradient(self, gradient: HasFactor, mass: jax.Array, d: int) -> jax.Array:
        """Return the spread, from the log-likelihood's gradient with respect to the leaves.

        It solves Fisher's identity for the statistics. `mass` (c,) is that of each covariance.
        """
