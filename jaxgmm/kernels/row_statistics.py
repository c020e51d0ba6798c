"""The statistics of each single row of a block, and their products.

The score of a row and its products with itself are linear and quadratic in these statistics (see
`objective/information.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..families.layout import Layout
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .block_size import block_rows
from .responsibilities import weighted_responsibilities
from .whitened import Whitened


class BlockStatistics(NamedTuple):
    """The statistics of the b rows of a block.

    Attributes:
      responsibilities: r (k, b).
      parts: (k, q, b) the numbers [1, y, entries of y yᵀ] of each component, q = 1 + d + m.
      together: (s, b) the statistics [r, r y, Σ r y yᵀ] of each row; the last are pooled over
        components that share a covariance.
      log_prob: (b,) log p(x).
    """

    responsibilities: jax.Array
    parts: jax.Array
    together: jax.Array
    log_prob: jax.Array


class Products(NamedTuple):
    """Sums over rows of the statistics of single rows, and of their products.

    Attributes:
      parts: (k, q) Σ w r [1, y, entries of y yᵀ].
      missing: (s, s) Σ w (Σ_k r h hᵀ − t tᵀ), where t are the statistics of a row, and h those that
        it would have if it belonged to component k alone.
      outer: (s, s) Σ w t tᵀ, or None if it is not wanted.
      log_likelihood: () Σ w log p(x).
    """

    parts: jax.Array
    missing: jax.Array
    outer: jax.Array | None
    log_likelihood: jax.Array


class RowStatistics(Whitened):
    """The whitened kernel, with the statistics of each row."""

    fills_cores = False

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that are stored for each row of a block."""
        k, q = self.mixture.n_components, self.parts_per_component
        return 3 * self.lanes * (k * q + self.size)

    @property
    def numbers_in_sums(self) -> int:
        """The count of numbers in the sums of the products of statistics with one another."""
        q = self.parts_per_component
        return self.lanes * (self.size**2 + self.mixture.n_components * q * q)

    @property
    def block_rows(self) -> int:
        """The number of rows in a block."""
        return block_rows(self)

    @property
    def parts_per_component(self) -> int:
        """The number q of statistics of one row and one component."""
        return 1 + self.mixture.n_features + self._moments.size // self._moments.shape[0]

    @property
    def size(self) -> int:
        """The number s of statistics of one row and all components."""
        k, d = self.mixture.means.shape
        return k + k * d + self._moments.size

    @property
    def _moments(self) -> jax.ShapeDtypeStruct:
        """The shape (c, m) of the entries of second moments."""
        means = self.mixture.means
        return jax.eval_shape(lambda: entries(self.mixture.frame.outer(means, means)))

    @property
    def positions(self) -> np.ndarray:
        """The positions (k, q) of each component's statistics among those of a row."""
        k, d = self.mixture.means.shape
        c, m = self._moments.shape
        covariance = np.broadcast_to(np.arange(c * m).reshape(c, m), (k, m))
        means = k + np.arange(k * d).reshape(k, d)
        return np.concatenate([np.arange(k)[:, None], means, k + k * d + covariance], axis=1)

    def of_block(self, x: jax.Array) -> BlockStatistics:
        """Return the statistics of the rows of a block x (d, b)."""
        joint, y = self.log_joint(x)
        k, d, b = y.shape
        ones = jnp.ones(b, x.dtype)
        responsibilities, log_prob = weighted_responsibilities(joint, ones)
        frame = self.mixture.frame
        second = products(frame, y)
        parts = jnp.concatenate([jnp.broadcast_to(ones, (k, 1, b)), y, second], axis=1)
        weighted = responsibilities[:, None] * parts
        pooled = frame.pool(weighted[:, 1 + d :])
        together = [responsibilities, weighted[:, 1 : 1 + d].reshape(k * d, b)]
        return BlockStatistics(
            responsibilities,
            parts,
            jnp.concatenate([*together, pooled.reshape(-1, b)]),
            log_prob,
        )

    def sums_of_products(self, x: jax.Array, weight: jax.Array, outer: bool) -> Any:
        """Return a block's sums for `products`, which has `outer` if it is wanted."""
        return self.sums_of_statistics(self.of_block(x), weight)

    def sums_of_statistics(self, block: BlockStatistics, weight: jax.Array) -> Any:
        """Return the sums for `products` from the statistics of the rows."""
        counts = (weight[None] * block.responsibilities)[:, None]
        outer = matmul(weight[None] * block.together, block.together.T)
        own = matmul(counts * block.parts, jnp.swapaxes(block.parts, 1, 2))
        return own, outer, matmul(weight, block.log_prob)

    def products(self, sums: Any) -> Products:
        """Return the products from the sums over all blocks."""
        own, outer, log_likelihood = sums
        places = self.positions
        missing = (-outer).at[places[:, :, None], places[:, None, :]].add(own)
        return Products(own[:, 0], missing, outer, log_likelihood)


def products(frame: Layout, y: jax.Array) -> jax.Array:
    """Return the entries (k, m, b) of y yᵀ for residuals y (k, d, b), one column for each row."""
    if keeps_matrices(frame, y[..., 0]):
        first, second = _pairs(y.shape[1])
        return y[:, first] * y[:, second]
    of_one = lambda vector: entries(frame.outer(vector[None], vector[None]))[0]
    return jax.vmap(jax.vmap(of_one), in_axes=2, out_axes=2)(y)


def entries(moments: jax.Array) -> jax.Array:
    """Return the distinct entries (c, m) of second moments in the shape that a layout keeps."""
    if _is_matrix(moments):
        first, second = _pairs(moments.shape[-1])
        return moments[:, first, second]
    return moments.reshape(len(moments), -1)


def from_entries(values: jax.Array, like: jax.ShapeDtypeStruct | jax.Array) -> jax.Array:
    """Return second moments in the shape of `like`, from their distinct entries (c, m)."""
    if not _is_matrix(like):
        return values.reshape(like.shape)
    first, second = _pairs(like.shape[-1])
    position = np.zeros(like.shape[1:], np.int32)
    position[first, second] = position[second, first] = np.arange(len(first))
    return values[:, position]


def coefficients(slope: jax.Array) -> jax.Array:
    """Return the coefficients (c, m) of distinct entries, from those of second moments."""
    if not _is_matrix(slope):
        return slope.reshape(len(slope), -1)
    first, second = _pairs(slope.shape[-1])
    other = np.where(first == second, 0, 1).astype(slope.dtype)[None]
    return slope[:, first, second] + other * slope[:, second, first]


def statistics_of_parts(
    mixture: Mixture, parts: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return mass, shift and spread from the sums (k, q) of weighted `parts`."""
    d, frame, means = mixture.n_features, mixture.frame, mixture.means
    like = jax.eval_shape(frame.outer, means, means)
    return parts[:, 0], parts[:, 1 : 1 + d], from_entries(frame.pool(parts[:, 1 + d :]), like)


def keeps_matrices(frame: Layout, vectors: jax.Array) -> bool:
    """Return whether a layout keeps second moments as matrices, for vectors (k, d) of any kind."""
    return _is_matrix(jax.eval_shape(frame.outer, vectors, vectors))


def _is_matrix(moments: jax.ShapeDtypeStruct | jax.Array) -> bool:
    return len(moments.shape) == 3 and moments.shape[1] == moments.shape[2]


def _pairs(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs i ≥ j of d numbers."""
    first, second = np.tril_indices(d)
    return first.astype(np.int32), second.astype(np.int32)
