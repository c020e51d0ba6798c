"""The contract of a covariance family: which covariances a mixture may have.

A family is one class: a frozen dataclass of arrays, registered as a pytree. Every value of every
leaf is a valid covariance, so gradients and optax updates act on a mixture as it is. Each leaf has
a leading axis of k, or of 1 where all components share it. `frame` gives the layout through which
the rest of the library sees the rows (see `layout.py`).

A *local* describes another member of the family as seen from this one. Zero is the member itself.
The M-step, SQUAREM, relative coordinates and the certificate speak of locals only, because numbers
near zero keep their digits where the difference of two members would lose them.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp

from .layout import Layout

Local = Any  # a pytree of arrays, in a form that its family chooses


class Family(abc.ABC):
    """Covariances of k components in d features. Subclasses are frozen dataclasses."""

    # ---- what every family says ---------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def identity(cls, k: int, d: int, dtype) -> Family:
        """Return unit covariances for k components in d dimensions."""

    @abc.abstractmethod
    def frame(self, d: int) -> Layout:
        """Return the layout of these covariances in d dimensions."""

    @classmethod
    @abc.abstractmethod
    def n_parameters(cls, k, d: int):
        """Return the number of free covariance parameters of k components."""

    # ---- locals -------------------------------------------------------------------------------

    @abc.abstractmethod
    def maximize(self, moments: jax.Array, mass: jax.Array, d: int) -> tuple[Local, jax.Array]:
        """Return the likeliest member for these moments, as a local, and what it gains.

        `moments` are those of the rows in the residual units of this member's layout, about the new
        means, and `mass` (c,) their weights. The gain (c,) is the rise of N log|W| − ½ tr Σ⁻¹M for
        each covariance, per unit of mass/2. Moments that are not positive definite give leaves that
        are not finite, never an exception.
        """

    @abc.abstractmethod
    def moved(self, local: Local) -> Family:
        """Return the member that a local describes."""

    @abc.abstractmethod
    def between(self, other: Family) -> Local:
        """Return the local that describes another member: the inverse of `moved`."""

    @abc.abstractmethod
    def combine(self, first: Local, second: Local) -> Local:
        """Return the local of self.moved(first).moved(second), without loss of digits near zero."""

    @abc.abstractmethod
    def metric(self, mass: jax.Array, d: int) -> Local:
        """Return the square roots of the Fisher information of the locals at zero.

        `mass` (c,) is the share of the rows that each covariance describes.
        """

    def still(self) -> Local:
        """Return the local that describes this member itself."""
        return jax.tree.map(jnp.zeros_like, self)

    # ---- reading and writing ------------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def shape(cls, k: int, d: int) -> tuple[int, ...]:
        """Return the shape in which users write these covariances, e.g. (k, d) for variances."""

    @classmethod
    @abc.abstractmethod
    def own(cls, covariances):
        """Return dense covariances (k, d, d) in the family's own shape, dropping what it cannot
        represent."""

    @classmethod
    @abc.abstractmethod
    def expand(cls, covariances, k: int, d: int, xp):
        """Return covariances in the family's own shape as dense (k, d, d); xp is numpy or
        jax.numpy."""

    @classmethod
    @abc.abstractmethod
    def from_own(cls, covariances, xp) -> Family:
        """Return the family member with covariances in its own shape; xp is numpy or jax.numpy."""

    @classmethod
    @abc.abstractmethod
    def of_scales(cls, scales: jax.Array, k: int) -> Family:
        """Return k uncorrelated covariances with standard deviations `scales` (d,) of the features.

        A family with one variance for all features takes their root mean square.
        """

    def taken(self, sources: jax.Array) -> Family:
        """Return the covariances of the components `sources` (k,), in places 0 … k − 1."""
        k = len(sources)
        pick = lambda leaf: leaf if len(leaf) == 1 and k > 1 else leaf[sources]
        return jax.tree.map(pick, self)


class HasFactor(Family):
    """A family whose leaves are the whitening factors themselves, free of any constraint.

    Then the gradient with respect to the leaves determines the second moments, and a mixture can be
    written down by other factors than W (see `mixture/coordinates.py`).
    """

    @abc.abstractmethod
    def entries(self) -> tuple[jax.Array, jax.Array]:
        """Return the leaves as those of a stack of triangular matrices.

        There is one matrix for each covariance, or one of 1×1 for each scale: diagonals (s, m), and
        strict lower parts (s, m(m−1)/2) row by row.
        """

    @abc.abstractmethod
    def holding(self, diagonal: jax.Array, lower: jax.Array) -> HasFactor:
        """Return a member whose `entries` are these numbers, whatever they mean."""

    @abc.abstractmethod
    def spread_from_gradient(self, gradient: HasFactor, mass: jax.Array, d: int) -> jax.Array:
        """Return the spread, from the log-likelihood's gradient with respect to the leaves.

        It solves Fisher's identity for the statistics; `mass` (c,) is that of each covariance.
        """
