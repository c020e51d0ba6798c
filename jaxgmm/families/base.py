"""The contract that a covariance family keeps.

A family is one class. It stores, for every covariance it holds, a whitening factor W with
Σ⁻¹ = WᵀW, by leaves that are free real numbers: every value of every leaf is a valid covariance,
so gradients and optax updates act on a mixture as it is.

The rest of the library never asks which family it has. It speaks of *residuals* y = W (x − μ), of
*second moments* Σ w r y yᵀ kept "as the family keeps them" (a matrix, a diagonal, a trace), and of
*relative* factors T that turn one W into the next by T W.

Axes: k components, d features, b rows of a block. c is the number of covariances held: c = k, or 1
where all components share one. Arrays with a leading c broadcast against arrays with a leading k.
"""

from __future__ import annotations

import abc

import jax
import jax.numpy as jnp


class Covariance(abc.ABC):
    """What a family provides. Subclasses are frozen dataclasses, registered as pytrees."""

    # ---- making and showing -------------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def identity(cls, k: int, d: int, dtype) -> Covariance:
        """Unit covariances for k components in d dimensions."""

    @classmethod
    @abc.abstractmethod
    def shape(cls, k: int, d: int) -> tuple[int, ...]:
        """The family's own shape: how a user writes its covariances, e.g. (k, d) for variances."""

    @classmethod
    @abc.abstractmethod
    def own(cls, covariances):
        """Dense covariances (k, d, d) in the family's own shape; what it cannot hold is dropped."""

    @classmethod
    @abc.abstractmethod
    def expand(cls, covariances, k: int, d: int, xp):
        """Covariances in the family's own shape as dense (k, d, d); xp is numpy or jax.numpy."""

    @classmethod
    @abc.abstractmethod
    def from_own(cls, covariances, xp) -> Covariance:
        """The factors of covariances in the family's own shape; xp is numpy or jax.numpy."""

    @classmethod
    @abc.abstractmethod
    def of_scales(cls, scales: jax.Array, k: int) -> Covariance:
        """k uncorrelated covariances with these standard deviations (d,) of the features; with
        their root mean square, if spherical."""

    @abc.abstractmethod
    def dense(self, d: int) -> jax.Array:
        """Σ as (c, d, d)."""

    @abc.abstractmethod
    def dense_precision(self, d: int) -> jax.Array:
        """Σ⁻¹ as (c, d, d)."""

    @classmethod
    @abc.abstractmethod
    def n_parameters(cls, k, d: int):
        """Number of free covariance parameters of k components."""

    # ---- vectors and scales -------------------------------------------------------------------

    @abc.abstractmethod
    def whiten(self, vectors: jax.Array) -> jax.Array:
        """W_k v_k for vectors (k, d)."""

    @abc.abstractmethod
    def unwhiten(self, vectors: jax.Array) -> jax.Array:
        """W_k⁻¹ v_k for vectors (k, d)."""

    @abc.abstractmethod
    def unwhiten_transposed(self, vectors: jax.Array) -> jax.Array:
        """W_k⁻ᵀ v_k for vectors (k, d)."""

    @abc.abstractmethod
    def log_scales(self, d: int) -> jax.Array:
        """Logarithms (c, d) of each feature's standard deviation given the features before it."""

    def log_determinant(self, d: int) -> jax.Array:
        """log |W| as (c,)."""
        return -jnp.sum(self.log_scales(d), axis=-1)

    @abc.abstractmethod
    def amplification(self, means: jax.Array) -> jax.Array:
        """‖diag(v_k) Σ_k⁻¹ diag(v_k)‖ (Frobenius) as (k,), v_k = |μ_k| + sqrt(diag Σ_k): what the
        natural kernel multiplies rounding errors by. Products x_i x_j are as large as v_i v_j;
        their errors, of either sign, add up as a random walk does, by squares (Higham & Mary 2019).
        """

    # ---- one block of rows --------------------------------------------------------------------

    @abc.abstractmethod
    def residuals(self, means: jax.Array, x: jax.Array) -> jax.Array:
        """W_k (x − μ_k) as (k, d, b), for rows x (d, b)."""

    @abc.abstractmethod
    def cross(self, share: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
        """What to sum over rows to get the spread, from shares w r (k, b), residuals and rows."""

    @abc.abstractmethod
    def spread(self, cross: jax.Array, shift: jax.Array, means: jax.Array) -> jax.Array:
        """Σ w r y yᵀ, as the family keeps it, from the summed `cross` and the shift."""

    @staticmethod
    @abc.abstractmethod
    def features(x: jax.Array) -> jax.Array:
        """Natural features φ(x) as (f, b), for rows x (d, b); the family's log-density is linear
        in them."""

    @abc.abstractmethod
    def natural(self, means: jax.Array, constants: jax.Array) -> jax.Array:
        """Natural parameters (k, f): log-joint = natural @ features."""

    @staticmethod
    @abc.abstractmethod
    def moments(sums: jax.Array, d: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Mass (k,), first moments (k, d) and second moments, one per component, out of the
        summed features (k, f)."""

    def taken(self, sources: jax.Array) -> Covariance:
        """The covariances of components `sources` (k,), in the places of 0 … k − 1."""
        return jax.tree.map(lambda leaf: leaf[sources], self)

    # ---- second moments -----------------------------------------------------------------------

    @staticmethod
    @abc.abstractmethod
    def outer(a: jax.Array, b: jax.Array) -> jax.Array:
        """(a bᵀ + b aᵀ) / 2 of vectors (k, d), one per component, as the family keeps it."""

    @staticmethod
    @abc.abstractmethod
    def reduce(matrix: jax.Array) -> jax.Array:
        """A dense second moment (d, d) as the family keeps it, with a leading axis of one."""

    @staticmethod
    @abc.abstractmethod
    def trace(moment: jax.Array) -> jax.Array:
        """tr M of a second moment M as the family keeps it, as (c,)."""

    @staticmethod
    @abc.abstractmethod
    def largest(moment: jax.Array, d: int) -> jax.Array:
        """The largest variance of a second moment in any direction, as (c,), to some per cent."""

    @staticmethod
    def pool(values: jax.Array) -> jax.Array:
        """Per-component values (k, ...) summed into per-covariance values (c, ...)."""
        return values

    @abc.abstractmethod
    def whiten_second(self, moment: jax.Array) -> jax.Array:
        """W M Wᵀ of a second moment M, as the family keeps it."""

    @abc.abstractmethod
    def quadratic(self, moment: jax.Array) -> jax.Array:
        """tr(W M Wᵀ) of a second moment M, as (c,)."""

    @classmethod
    @abc.abstractmethod
    def maximize(cls, moment: jax.Array, mass: jax.Array, d: int) -> tuple[Covariance, jax.Array]:
        """The factor of C = moment/mass, the likeliest covariance, and tr C − d − log|C| (c,).

        A moment that is not positive definite gives non-finite leaves, never an exception."""

    # ---- the numbers themselves ---------------------------------------------------------------

    @abc.abstractmethod
    def entries(self) -> tuple[jax.Array, jax.Array]:
        """The leaves as those of a stack of triangular matrices: one matrix for each covariance, or
        one of 1×1 for each scale. Diagonals (s, m), and strict lower parts (s, m(m−1)/2) row by
        row."""

    @abc.abstractmethod
    def holding(self, diagonal: jax.Array, lower: jax.Array) -> Covariance:
        """A covariance whose `entries` are these numbers, whatever they mean."""

    # ---- relative factors and gradients -------------------------------------------------------

    @abc.abstractmethod
    def compose(self, base: Covariance) -> Covariance:
        """The factor T W, for T = self and W = base."""

    @abc.abstractmethod
    def relative_to(self, base: Covariance) -> Covariance:
        """The factor T with T W_base = W_self."""

    @abc.abstractmethod
    def metric(self, weight: jax.Array, d: int) -> Covariance:
        """Square roots of the Fisher information of the leaves at W = I, for covariances that
        describe a share `weight` (c,) of the rows; in the shape of the leaves."""

    @abc.abstractmethod
    def spread_from_gradient(self, gradient: Covariance, mass: jax.Array, d: int) -> jax.Array:
        """The spread, from the log-likelihood's gradient with respect to the leaves and the mass
        (c,): Fisher's identity, solved for the statistics."""
