"""Products of the scores of single rows with a matrix."""

from __future__ import annotations

import jax

from ..data.rows import Rows
from ..kernels.row_statistics import RowStatistics
from ..mixture.inputs import ROWS_PER_STEP
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..objective.expected_derivatives import derivatives_of_expected, with_all_moments
from ..objective.statistics import Statistics, about_mixture


def score_products(mixture: Mixture, x: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return B s_n (n, q) for the score s_n of each row of x (n, d), and a matrix B (q, p).

    Scores are derivatives of log p(x_n) by the relative coordinates of the mixture.
    """
    explicit = with_all_moments(mixture)
    slopes = derivatives_of_expected(mixture, explicit, Statistics.zero(explicit), None)[1]
    centered, rows = about_mixture(explicit, Rows.of(x, None))
    kernel, product = RowStatistics(centered, 1), matmul(matrix, slopes)
    of_row = lambda row: matmul(product, kernel.of_block(row[:, None]).together)[:, 0]
    return jax.lax.map(of_row, x - rows.center[None], batch_size=min(ROWS_PER_STEP, len(x)))
