"""The layout of covariances with few factors: Σ = Ψ^½ (I + B Bᵀ) Ψ^½ with diagonal Ψ.

A row is x = μ + Ψ^½ (B z + ε) with q factors z and noise ε, all independent with unit variance. Let
u = Ψ^(−½) (x − μ) be a row in units of its noise. The factors' mean given the row is z = V Bᵀ u,
with covariance V = (I + BᵀB)⁻¹, and the errors are e = u − B z. Their squares add up to the
Mahalanobis distance: |e|² + |z|² = (x − μ)ᵀ Σ⁻¹ (x − μ).

No matrix (d, d) is needed. With the Cholesky factor K of I + BᵀB and X = (I + K)⁻¹, a root of
I + B Bᵀ is I + B X Bᵀ, and its inverse is I − B Xᵀ K⁻¹ Bᵀ, as multiplying out shows. So the layout
has square whitening factors W = (I − B Xᵀ K⁻¹ Bᵀ) Ψ^(−½) that cost triangular matrices (q, q)
only. (Ambikasaran, O'Neil & Singh 2014, arXiv:1405.0223, use similar roots.)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..numerics.products import matmul
from ..numerics.triangular import (
    log_determinant,
    small_cholesky,
    small_inverse,
    symmetric,
    transpose,
)
from ..numerics.unit_matrix import unit_matrix
from .dense_layout import projection_of
from .layout import Layout, wider_than

# Steps of a power iteration, after which the largest variance is accurate to a few percent.
POWERS = 32


class LowRankLayout(Layout):
    """Noise of each feature, and loadings on q factors.

    Second moments are (k, d, q + 1). The first q columns are Σ w r e zᵀ, and the last one Σ w r e².
    They determine Σ w r z zᵀ, because z = Bᵀ e.

    Args:
      log_scale: −½ log Ψ as (k, d), or with leading axes of 1 where it is common.
      loadings: B as (k, d, q), in units of the noise.
    """

    double_pays = True
    whitens_by_products = False
    keeps_all_moments = False

    def __init__(self, log_scale: jax.Array, loadings: jax.Array) -> None:
        super().__init__(loadings.shape[1])
        self.log_scale = jnp.broadcast_to(log_scale, loadings.shape[:2])
        self.scale = jnp.exp(self.log_scale)
        self.loadings = loadings
        unit = unit_matrix(loadings.shape[2], loadings.dtype)[None]
        self.root = small_cholesky(unit + matmul(transpose(loadings), loadings))  # K
        self.inverse_root = small_inverse(self.root)
        self._half = small_inverse(unit + self.root)  # X

    # ---- factors and errors -------------------------------------------------------------------

    @property
    def factor_covariance(self) -> jax.Array:
        """The covariances V (k, q, q) of the factors given a row."""
        return matmul(transpose(self.inverse_root), self.inverse_root)

    @property
    def _projection(self) -> jax.Array:
        """V Bᵀ as (k, q, d), which turns rows in units of the noise into their factors."""
        return matmul(self.factor_covariance, transpose(self.loadings))

    def _beside(self, inside: jax.Array, columns: jax.Array) -> jax.Array:
        """Return B inside Bᵀ columns, for matrices (k, q, q) and columns (k, d, m)."""
        return matmul(self.loadings, matmul(inside, matmul(transpose(self.loadings), columns)))

    def _narrow(self, columns: jax.Array) -> jax.Array:
        """Return the columns in residual units, from units of the noise."""
        return columns - self._beside(matmul(transpose(self._half), self.inverse_root), columns)

    def _widen(self, columns: jax.Array) -> jax.Array:
        """Return the columns in units of the noise, from residual units."""
        return columns + self._beside(self._half, columns)

    def _split(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the errors e (k, d, m) and the factors z (k, q, m) of residuals (k, d, m)."""
        near = matmul(self._half, matmul(transpose(self.loadings), y))
        rest = matmul(transpose(self.inverse_root), near)
        return y - matmul(self.loadings, rest), near + rest

    def with_factors(
        self, moments: jax.Array, mass: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the expected sums of e zᵀ (k, d, q), z zᵀ (k, q, q) and e² (k, d).

        The factors z are missing, so that their covariance V is added to the moments of their
        means, and e are the errors of the factors themselves.
        """
        errors, count = moments[..., -1], mass[:, None, None]
        spread = matmul(self.loadings, self.factor_covariance)
        cross = moments[..., :-1] - count * spread
        scores = symmetric(matmul(transpose(self.loadings), moments[..., :-1]))
        return (
            cross,
            scores + count * self.factor_covariance,
            errors + mass[:, None] * jnp.sum(spread * self.loadings, axis=-1),
        )

    # ---- vectors and scales -------------------------------------------------------------------

    def whiten(self, vectors):
        return self._narrow((self.scale * vectors)[..., None])[..., 0]

    def unwhiten(self, vectors):
        return self._widen(vectors[..., None])[..., 0] / self.scale

    def unwhiten_transposed(self, vectors):
        columns = (vectors / self.scale)[..., None]
        return (columns + self._beside(transpose(self._half), columns))[..., 0]

    @property
    def log_determinant(self):
        root = jnp.diagonal(self.root, axis1=-2, axis2=-1)
        return jnp.sum(self.log_scale, axis=-1) - jnp.sum(jnp.log(root), axis=-1)

    def project(self, axes):
        return projection_of(self, axes)

    def resolved(self, noise):
        # Σ is wider than Ψ in every direction.
        return wider_than(-self.log_scale, noise)

    @property
    def dense(self):
        scaled = self.loadings / self.scale[..., None]
        unit = unit_matrix(self.d, scaled.dtype)[None]
        return matmul(scaled, transpose(scaled)) + unit / self.scale[..., None] ** 2

    @property
    def dense_precision(self):
        root = matmul(self.inverse_root, transpose(self.loadings)) * self.scale[:, None, :]
        unit = unit_matrix(self.d, root.dtype)[None]
        return unit * self.scale[..., None] ** 2 - matmul(transpose(root), root)

    def amplification(self, means):
        # As for uncorrelated features with the variances of the noise: |u|² is the largest term.
        width = jnp.sqrt(1 + jnp.sum(self.loadings**2, axis=-1))
        return jnp.sqrt(jnp.sum((jnp.abs(means) * self.scale + width) ** 4, axis=-1))

    @property
    def averaging(self) -> float:
        return 2.0  # as for variances of the features

    # ---- one block of rows --------------------------------------------------------------------

    def residuals(self, means, x):
        return self._narrow(self.scale[..., None] * (x[None] - means[..., None]))

    def cross(self, weighted, y):
        errors, factors = self._split(y)
        weighted_errors = weighted[:, None] * errors
        squares = jnp.sum(weighted_errors * errors, axis=-1, keepdims=True)
        return jnp.concatenate([matmul(weighted_errors, transpose(factors)), squares], axis=-1)

    def features(self, x):
        """Return [x, 1] as (d + 1, b), and x² as (d, b).

        The coefficients of [x, 1] are those of the log-joint and those of the factors, whose
        squares belong to the log-joint too (see `kernels/natural_low_rank.py`).
        """
        return jnp.concatenate([x, jnp.ones((1, x.shape[1]), x.dtype)]), x**2

    def natural(self, means, constants):
        """Return the coefficients (k (1 + q), d + 1) of [x, 1] and (k, d) of x².

        The first k rows belong to the log-joint. The others belong to s = K⁻¹ Bᵀ u, a row's factors
        with unit variance, of which the log-joint contains ½ |s|².
        """
        precision = self.scale**2
        constant = constants - jnp.sum(precision * means**2, axis=-1) / 2
        linear = jnp.concatenate([precision * means, constant[:, None]], axis=-1)
        scores = matmul(self.inverse_root, transpose(self.loadings)) * self.scale[:, None, :]
        offset = -matmul(scores, means[..., None])
        scores = jnp.concatenate([scores, offset], axis=-1).reshape(-1, self.d + 1)
        return jnp.concatenate([linear, scores]), -precision / 2

    def statistics(self, sums, common, means):
        """Return mass, shift and spread from sums of [w r, w r s] [x, 1]ᵀ and of w r x²."""
        (origins, k, d), scale = means.shape, self.scale
        mass, first = sums[:, :k, d], sums[:, :k, :d]
        scores = sums[:, k:].reshape(origins, k, -1, d + 1)
        moved = first - mass[..., None] * means
        central = jnp.sum(scores[..., :d] - scores[..., d:] * means[:, :, None, :], axis=0)
        # Σ w r u zᵀ and Σ w r z zᵀ, by z = K⁻ᵀ s
        rows = matmul(transpose(central * scale[:, None, :]), self.inverse_root)
        products = matmul(self.factor_covariance, matmul(transpose(self.loadings), rows))
        squares = scale**2 * jnp.sum(common - means * (first + moved), axis=0)
        moments = self._moments(rows, products, squares)
        return jnp.sum(mass, axis=0), self.whiten(jnp.sum(moved, axis=0)), moments

    def _moments(self, rows: jax.Array, products: jax.Array, squares: jax.Array) -> jax.Array:
        """Return second moments from sums of u zᵀ (k, d, q), z zᵀ (k, q, q) and u² (k, d)."""
        cross = rows - matmul(self.loadings, products)
        errors = squares - jnp.sum(self.loadings * (rows + cross), axis=-1)
        return jnp.concatenate([cross, errors[..., None]], axis=-1)

    # ---- second moments -----------------------------------------------------------------------

    def outer(self, a, b):
        (errors, factors), (other_errors, other_factors) = (
            (e, transpose(z)) for e, z in (self._split(vector[..., None]) for vector in (a, b))
        )
        cross = (errors * other_factors + other_errors * factors) / 2
        return jnp.concatenate([cross, errors * other_errors], axis=-1)

    def _rows_of(self, matrices: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the moments of u zᵀ (k, d, q) and u² (k, d) for covariances S (c, d, d)."""
        scale = self.scale
        rows = matmul(matrices, scale[..., None] * transpose(self._projection))
        diagonal = jnp.diagonal(matrices, axis1=-2, axis2=-1)
        return scale[..., None] * rows, scale**2 * diagonal

    def whiten_stack(self, matrices):
        rows, squares = self._rows_of(matrices)
        products = matmul(self._projection, rows)
        return self._moments(rows, products, squares)

    def pull(self, mass, matrices):
        # Lᵀ = W Σ
        dense = self.dense
        return self.whiten_stack(
            mass[:, None, None] * dense + matmul(matmul(dense, matrices), dense)
        )

    def quadratic(self, matrix):
        rows, squares = self._rows_of(matrix[None])
        return jnp.sum(squares, axis=-1) - jnp.sum(self.loadings * rows, axis=(-2, -1))

    def trace(self, moments):
        cross, errors = moments[..., :-1], moments[..., -1]
        return jnp.sum(errors, axis=-1) + jnp.sum(self.loadings * cross, axis=(-2, -1))

    def largest(self, matrix):
        def multiply(_: jax.Array, vectors: jax.Array) -> jax.Array:
            vectors = self.whiten(matmul(self._pull(vectors), matrix))
            return vectors / jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))

        # Irregular numbers, so that no axis is orthogonal to them.
        start = jnp.sin(1 + jnp.arange(self.scale.size, dtype=matrix.dtype) ** 2)
        vectors = jax.lax.fori_loop(0, POWERS, multiply, start.reshape(self.scale.shape))
        pulled = self._pull(vectors)
        return jnp.sum(matmul(pulled, matrix) * pulled, axis=-1)

    def _pull(self, vectors: jax.Array) -> jax.Array:
        """Return W_kᵀ v_k for vectors (k, d)."""
        columns = vectors[..., None]
        inside = matmul(transpose(self.inverse_root), self._half)
        return self.scale * (columns - self._beside(inside, columns))[..., 0]

    def expected(self, new, moments, mass):
        """Return what the abstract method describes, with the factors missing too.

        The factors' distribution given the rows is that of this layout. The result is therefore a
        lower bound, which touches at new = self. Its gradient there is that of the bounded value.
        """
        cross, scores, errors = self.with_factors(moments, mass)
        ratio = new.log_scale - self.log_scale
        change = jnp.exp(-ratio)[..., None] * new.loadings - self.loadings
        bent = matmul(change, scores) - 2 * cross
        square = jnp.exp(2 * ratio) * (errors + jnp.sum(change * bent, axis=-1))
        total = jnp.sum(square, axis=-1) + jnp.trace(scores, axis1=-2, axis2=-1)
        q = self.loadings.shape[-1]
        constant = jnp.sum(new.log_scale, axis=-1) + q / 2 - log_determinant(self.root)
        return mass * constant - total / 2

    def gain(self, change, bend, moments, mass):
        """Return the gain, with the factors missing too.

        `change` (k, d, q + 1) contains the change of B in the present units of the noise, and then
        that of −½ log Ψ. `bend` (k,) is Σ (log ratio − (ratio − 1)) / 2 for the ratios Ψ / Ψ_new.
        """
        cross, scores, errors = self.with_factors(moments, mass)
        loadings, ratio = change[..., :-1], jnp.expm1(2 * change[..., -1])
        moved = jnp.sum(loadings * (matmul(loadings, scores) - 2 * cross), axis=-1)
        rest = ratio * (errors + moved - mass[:, None]) + moved
        return 2 * bend - jnp.sum(rest, axis=-1) / mass
