"""The natural kernel of covariances with few factors, and the choice of a layout's natural kernel.

Such a log-joint is linear in [x, 1, x²], but for the squares of the factors' scores, which are
linear in [x, 1] themselves. A pass is four matrix products, and no array of k × d numbers for each
row is made.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..families.low_rank_layout import LowRankLayout
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .natural import Features, Natural


class Products(Natural):
    """The natural kernel of a `LowRankLayout`.

    Attributes:
      parameters: the coefficients (k (1 + q), d + 1) of [x, 1], see `LowRankLayout.natural`.
      common: the coefficients (k, d) of x².
    """

    sums_are_transposed = False

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that all lanes store for each row of a block."""
        linear, features = self.parameters.shape
        return 2 * self.lanes * linear + 2 * features

    def log_joint(  # type: ignore[override]
        self, x: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Return the log-joint (k, b) of a block, and its squares and scores, for `sums`.

        In the products of `sums`, blocks have a row for each row of the data, as in memory. With
        columns instead, a pass takes a quarter longer.
        """
        assert self.common is not None  # for mypy; this layout has both parts
        k, squares = len(self.common), x.T**2
        linear = matmul(self.parameters[:, :-1], x) + self.parameters[:, -1:]
        scores = linear[k:].reshape(k, -1, x.shape[1])
        joint = linear[:k] + matmul(self.common, squares.T) + jnp.sum(scores**2, axis=1) / 2
        return joint, (squares, scores)

    def sums(self, x, intermediate, weighted_responsibilities):
        """Return a block's terms of the sums, for weighted responsibilities w r (k, b)."""
        squares, scores = intermediate
        weighted = (weighted_responsibilities[:, None] * scores).reshape(-1, x.shape[1])
        factors = jnp.concatenate([weighted_responsibilities, weighted])
        totals = matmul(factors, jnp.ones((x.shape[1], 1), x.dtype))
        first = jnp.concatenate([matmul(factors, x.T), totals], axis=1)
        return first, matmul(weighted_responsibilities, squares)


def natural_kernel(mixture: Mixture, lanes: int = 1, parameters: Features | None = None) -> Natural:
    """Return the natural kernel of the mixture's layout."""
    kind = Products if isinstance(mixture.frame, LowRankLayout) else Natural
    return kind(mixture, lanes, parameters)
