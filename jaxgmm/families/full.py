"""Full and tied covariances: a covariance matrix for each component, or one for all."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.pytrees import pytree
from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.host_factors import assemble_on_host, factors_of_axes
from ..numerics.logarithms import logarithm_and_excess
from ..numerics.powers_of_two import power_of_two
from ..numerics.products import matmul
from ..numerics.triangular import assemble, inverse, mirror_lower, parts, transpose
from ..numerics.unit_matrix import unit_matrix
from .has_whitening_factor import HasWhiteningFactor
from .triangular_layout import TriangularLayout


@pytree
@dataclasses.dataclass(frozen=True)
class Full(HasWhiteningFactor):
    """A separate covariance matrix for each component.

    `log_diagonal` (k, d) contains the logarithms of the diagonal of W, which is lower triangular
    with Σ⁻¹ = WᵀW. `lower` (k, d(d−1)/2) contains its strict lower part, row by row. A local has
    the same form, and describes the factor T that turns W into T W.
    """

    log_diagonal: jax.Array
    lower: jax.Array
    letters: ClassVar[str] = "VVV"
    shared: ClassVar[bool] = False
    log_leaf: ClassVar[str] = "log_diagonal"

    @classmethod
    def identity(cls, k, d, dtype):
        c = 1 if cls.shared else k
        return cls(jnp.zeros((c, d), dtype), jnp.zeros((c, d * (d - 1) // 2), dtype))

    def frame(self, d):
        return TriangularLayout(self.log_diagonal, self.lower, self.shared)

    @classmethod
    def n_parameters(cls, k, d):
        return (1 if cls.shared else k) * (d * (d + 1) // 2)

    def maximize(self, moments, mass, d):
        mass = jnp.where(mass > 0, mass, 1)
        root, inverse_root = cholesky_and_inverse(moments / mass[:, None, None])
        diagonal, lower = parts(root)
        # λ² − 1 − 2 log λ = 2 (λ − 1 − log λ) + (λ − 1)² is a sum of nonnegative terms, so that
        # nothing cancels near λ = 1.
        logarithm, excess = logarithm_and_excess(diagonal)
        gain = jnp.sum(2 * excess + (diagonal - 1) ** 2, axis=-1) + jnp.sum(lower**2, axis=-1)
        return type(self)(-logarithm, parts(inverse_root)[1]), gain

    def moved(self, local):
        lower = parts(matmul(_factor(local), _factor(self)))[1]
        return type(self)(local.log_diagonal + self.log_diagonal, lower)

    def between(self, other):
        lower = parts(matmul(_factor(other), inverse(_factor(self))))[1]
        return type(self)(other.log_diagonal - self.log_diagonal, lower)

    def combine(self, first, second):
        return first.moved(second)  # locals combine as a member and a local do: factors multiply

    def gradient(self, moments, mass, d):
        diagonal, lower = parts(moments)
        return type(self)(mass[:, None] - diagonal, -lower)

    def metric(self, mass, d):
        root = jnp.sqrt(jnp.where(mass > 0, mass, 1))[:, None]
        return type(self)(
            jnp.broadcast_to(np.sqrt(2).astype(root.dtype) * root, self.log_diagonal.shape),
            jnp.broadcast_to(root, self.lower.shape),
        )

    @classmethod
    def array_shape(cls, k, d):
        return (k, d, d)

    @classmethod
    def own(cls, covariances):
        return covariances

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return covariances

    @classmethod
    def from_own(cls, covariances, xp):
        # Features are scaled to unit variance first, so that a column of tiny values loses no
        # digits.
        scale = xp.sqrt(xp.diagonal(covariances, axis1=-2, axis2=-1))
        correlation = covariances / (scale[..., :, None] * scale[..., None, :])
        if xp is np:
            factor = np.linalg.inv(np.linalg.cholesky(correlation))
        else:
            factor = cholesky_and_inverse(correlation, often=False)[1]
        factor = factor / scale[..., None, :]
        diagonal, lower = parts(factor)
        return cls(xp.log(diagonal), lower)

    @classmethod
    def of_scales(cls, scales, k):
        unit = cls.identity(k, len(scales), scales.dtype)
        return cls(unit.log_diagonal - jnp.log(scales)[None], unit.lower)

    @classmethod
    def of_axes(cls, log_scales, axes, first):
        choose = first if cls.shared else lambda leaf: leaf
        log_diagonal, lower = factors_of_axes(choose(log_scales), choose(axes))
        return cls(log_diagonal, lower)

    def factor_on_host(self, d):
        log_diagonal, lower = (np.asarray(part, np.float64) for part in self.entries())
        return assemble_on_host(np.exp(log_diagonal), lower)

    def rescale(self, exponent):
        lower = self.lower * power_of_two(-exponent, self.lower.dtype)
        return dataclasses.replace(super().rescale(exponent), lower=lower)

    def entries(self):
        return self.log_diagonal, self.lower

    def with_entries(self, diagonal, lower):
        return type(self)(diagonal, lower)

    def spread_from_gradient(self, gradient, mass, d):
        # ∂ℓ/∂W = tril((mass I − spread) W⁻ᵀ), hence tril(mass I − spread) = tril(∂ℓ/∂W Wᵀ).
        slope = assemble(gradient.log_diagonal * jnp.exp(-self.log_diagonal), gradient.lower)
        missing = mirror_lower(matmul(slope, transpose(_factor(self))))
        return mass[:, None, None] * unit_matrix(d, missing.dtype)[None] - missing


def _factor(member: Full) -> jax.Array:
    """Return the factors W of a member, or T of a local."""
    return assemble(jnp.exp(member.log_diagonal), member.lower)


@pytree
@dataclasses.dataclass(frozen=True)
class Tied(Full):
    """One covariance matrix that all components share.

    The leaves are those of `Full` with k = 1.
    """

    letters: ClassVar[str] = "EEE"
    shared: ClassVar[bool] = True

    @classmethod
    def array_shape(cls, k, d):
        return (d, d)

    @classmethod
    def own(cls, covariances):
        return covariances[0]

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return xp.broadcast_to(covariances, (k, d, d))

    @classmethod
    def from_own(cls, covariances, xp):
        return super().from_own(covariances[None], xp)
