"""The contract of a layout: computation with whitening factors.

A layout contains a whitening factor W with Σ⁻¹ = WᵀW for every covariance of a mixture. It computes
residuals y = W (x − μ), second moments Σ w r y yᵀ, and everything that kernels, statistics and the
M-step derive from them. A covariance family (see `family.py`) defines which covariances are
allowed, and provides the layout of those it stores. The rest of the library computes with layouts
only.

Axes: k components, d features, b rows of a block. c is the number of covariances: c = k, or 1 where
all components share one. Arrays with a leading c broadcast against arrays with a leading k. Second
moments are kept in the shape that the layout needs: a matrix or a diagonal for each covariance.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ..numerics.products import matmul


class Layout(abc.ABC):
    """Whitening factors of k components, or one that they share, in `d` features.

    Attributes:
      whitens_by_products: whether residuals are matrix products.
      keeps_all_moments: whether second moments contain all that Q depends on. Otherwise they
        contain what EM needs, and `expected` is a lower bound of Q.
      uncorrelated: whether all covariances are diagonal.
      log_scales: logarithms (c, d) of each feature's standard deviation given the features before
        it, if W is triangular or diagonal; else None.
    """

    whitens_by_products: ClassVar[bool] = True
    keeps_all_moments: ClassVar[bool] = True
    uncorrelated: ClassVar[bool] = False
    log_scales: jax.Array | None = None

    def __init__(self, d: int, shared: bool = False) -> None:
        self.d = d
        self.shared = shared

    @property
    def double_pays(self) -> bool:
        """Whether the natural kernel in float64 takes less time than the whitened one in float32.

        This is about CPUs.
        """
        return False

    def pool(self, values: jax.Array) -> jax.Array:
        """Sum per-component values (k, ...) into per-covariance values (c, ...)."""
        return jnp.sum(values, axis=0, keepdims=True) if self.shared else values

    def sum_covariances(self, values: jax.Array) -> jax.Array:
        """Return the sum of values (c,), one for each covariance."""
        return jnp.sum(values)

    # ---- vectors and scales -------------------------------------------------------------------

    @abc.abstractmethod
    def whiten(self, vectors: jax.Array) -> jax.Array:
        """Return W_k v_k for vectors (k, d)."""

    @abc.abstractmethod
    def unwhiten(self, vectors: jax.Array) -> jax.Array:
        """Return W_k⁻¹ v_k for vectors (k, d)."""

    @abc.abstractmethod
    def unwhiten_transposed(self, vectors: jax.Array) -> jax.Array:
        """Return W_k⁻ᵀ v_k for vectors (k, d)."""

    @property
    @abc.abstractmethod
    def log_determinant(self) -> jax.Array:
        """The log-determinants log |W| as (c,)."""

    @abc.abstractmethod
    def resolved(self, noise: jax.Array) -> jax.Array:
        """Return which covariances are wider than rounding errors in every direction, as (c,).

        `noise` (1|c, d) contains the variances of the features' rounding errors. A covariance that
        is not finite is not resolved.
        """

    @property
    @abc.abstractmethod
    def dense(self) -> jax.Array:
        """The covariances Σ as (c, d, d)."""

    @property
    @abc.abstractmethod
    def dense_precision(self) -> jax.Array:
        """The precisions Σ⁻¹ as (c, d, d)."""

    @abc.abstractmethod
    def amplification(self, means: jax.Array) -> jax.Array:
        """Return the factors (k,) by which the natural kernel amplifies rounding errors.

        They are the Frobenius norms of diag(v_k) Σ_k⁻¹ diag(v_k) with v_k = |μ_k| + sqrt(diag Σ_k).
        Products x_i x_j are as large as v_i v_j. Their errors have random signs, so that the
        squares of the errors add up (Higham & Mary 2019).
        """

    @property
    def averaging(self) -> float:
        """The factor by which parameters are more accurate than `amplification` says.

        It is larger than 1 where moments average over components or features, as was measured after
        200 steps of EM.
        """
        return 2.0 if self.shared else 1.0

    @abc.abstractmethod
    def project(self, axes: jax.Array) -> Layout:
        """Return the layout of the features `axes` x (m, d), whose covariances are A Σ Aᵀ."""

    # ---- one block of rows, for the whitened kernel -------------------------------------------

    @abc.abstractmethod
    def residuals(self, means: jax.Array, x: jax.Array) -> jax.Array:
        """Return W_k (x − μ_k) as (k, d, b), for rows x (d, b)."""

    @abc.abstractmethod
    def cross(self, weighted: jax.Array, y: jax.Array) -> jax.Array:
        """Return the sums over rows from which `spread` is computed.

        The arguments are weighted responsibilities (k, b) and residuals (k, d, b).
        """

    def spread(self, cross: jax.Array) -> jax.Array:
        """Return the second moments Σ w r y yᵀ from the sums of `cross` over all blocks."""
        return cross

    # ---- one block of rows, for the natural kernel --------------------------------------------

    @abc.abstractmethod
    def features(self, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Return the natural features of rows x (d, b), in which every log-density is linear.

        The first array (f, b) contains the features whose coefficients differ among components. If
        all components share one covariance, the second array (g, b) is what `common_form` needs for
        the part of the log-density that they share. Otherwise it is None.
        """

    @abc.abstractmethod
    def natural(self, means: jax.Array, constants: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Return the natural parameters: the coefficients (k, f) of `features`, and those shared.

        The log-joint is the product of the coefficients with the features, plus `common_form` of
        the others, if there are any. `constants` (k,) are the values of the log-joint at the means
        (k, d).
        """

    def common_form(self, common: jax.Array, features: jax.Array) -> jax.Array:
        """Return the part (1, b) of the log-joint that all components share.

        `common` are the shared parameters, by default the coefficients (1, g) of the shared
        `features` (g, b).
        """
        return matmul(common, features)

    def common_sums(self, weight: jax.Array, features: jax.Array) -> jax.Array:
        """Return a block's sums that belong to `common_form`, for row weights (1, b)."""
        return matmul(weight, features.T)

    @abc.abstractmethod
    def statistics(
        self, sums: jax.Array, common: jax.Array | None, means: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return mass (k,), shift (k, d) and spread from sums of the natural features.

        The rows may be divided among o origins, and features are those of rows relative to theirs.
        `sums` (o, k, f) are weighted by responsibilities, and `common` (o, …), if there are such
        features, are the totals of `common_sums`. `means` (o, k, d) are relative to each origin.
        """

    # ---- second moments -----------------------------------------------------------------------

    @abc.abstractmethod
    def outer(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the second moments (a bᵀ + b aᵀ) / 2 of vectors (k, d) in residual units."""

    @abc.abstractmethod
    def whiten_stack(self, matrices: jax.Array) -> jax.Array:
        """Return the second moments W S Wᵀ of dense matrices S (c, d, d) or (1, d, d)."""

    def whiten_second(self, matrix: jax.Array) -> jax.Array:
        """Return the second moments W S Wᵀ of a dense matrix S (d, d)."""
        return self.whiten_stack(matrix[None])

    @abc.abstractmethod
    def pull(self, mass: jax.Array, matrices: jax.Array) -> jax.Array:
        """Return the second moments Σ_k (mass_k I + Lᵀ X_k L), summed where covariances are shared.

        The arguments are mass (k,) and symmetric matrices X (k, d, d), or (1, d, d) if they are
        summed already. It serves rows that are not fully observed.
        """

    def restate(self, moments: jax.Array, new: Layout) -> jax.Array:
        """Return second moments in the residual units of another layout of the same kind, `new`.

        `moments` are in those of this layout. A layout that does not keep all moments has none.
        """
        raise ValueError(
            "statistics of these covariances at one mixture do not give those at another: use "
            "EM(), or another family."
        )

    @abc.abstractmethod
    def quadratic(self, matrix: jax.Array) -> jax.Array:
        """Return tr W S Wᵀ as (c,), for a dense matrix S (d, d)."""

    @abc.abstractmethod
    def trace(self, moments: jax.Array) -> jax.Array:
        """Return the traces (c,) of second moments."""

    @abc.abstractmethod
    def largest(self, matrix: jax.Array) -> jax.Array:
        """Return the largest variance of W S Wᵀ in any direction, for a dense S (d, d), as (c,).

        It is accurate to a few percent.
        """

    @abc.abstractmethod
    def expected(self, new: Layout, moments: jax.Array, mass: jax.Array) -> jax.Array:
        """Return N log|W| − ½ tr Σ⁻¹ M as (c,) under the factors of another layout `new`.

        This is the part of Q that depends on covariances. `moments` (M) and `mass` (N) are those of
        the rows about the new means, in the residual units of this layout.
        """

    @abc.abstractmethod
    def gain(
        self, change: jax.Array, bend: jax.Array, moments: jax.Array, mass: jax.Array
    ) -> jax.Array:
        """Return how much the factors T W gain in N log|W| − ½ tr Σ⁻¹M, in units of N/2, as (c,).

        `change` is T − I in the form of the layout's factors, and `bend` (c,) is
        log|T| − tr(T − I). The sum over the covariances has the rounding error of its own square
        root, because M − N I cancels along the family.
        """


def wider_than(log_scales: jax.Array, noise: jax.Array) -> jax.Array:
    """Return which standard deviations, as logarithms (c, d), are finite and above noise, (c,).

    `noise` (1|c, d) are variances.
    """
    return jnp.all(jnp.isfinite(log_scales) & (2 * log_scales > jnp.log(noise)), axis=-1)


def layout_of(member: Any, d: int, k: int | None = None) -> Layout:
    """Return the layout of a member in d features, and of k components if k is not None.

    Raises:
      ValueError: if the member's `frame` returns none, or one of another size.
    """
    layout, name = member.frame(d), type(member).__name__
    advice = f"; jaxgmm.check_family({name}) examines the whole class."
    if not isinstance(layout, Layout) or layout.d != d:
        raise ValueError(
            f"{name}.frame({d}) does not return a layout of {d} features: return "
            "jaxgmm.Dense.of(W), Dense.of_precision(P) or Dense.of_covariance(S), of arrays "
            f"(k, {d}, {d}){advice}"
        )
    c = len(layout.log_determinant)
    if k is not None and c not in (1, k):
        raise ValueError(
            f"{name}.frame({d}) returns {c} covariances for {k} components: return {k}, or 1 for "
            f"a common one{advice}"
        )
    return layout
