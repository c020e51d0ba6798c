"""`Statistics`: the sums over rows that every algorithm needs, and the pass that computes them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from ..data.rows import Rows
from ..internal.pytrees import pytree
from ..kernels.block_size import block_rows
from ..kernels.block_sums import sums_by_rules
from ..kernels.choice import KERNELS, Choice, candidates, position_of, with_kernel
from ..kernels.divide_into_cells import leaves_out
from ..kernels.local_centers import Local
from ..kernels.protocol import Kernel
from ..kernels.relevant_components import Relevant
from ..kernels.responsibilities import Rule, rule_for_lanes
from ..kernels.shared_noise import complete_moments, measured
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture


@pytree
@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sums over rows at a mixture θ: the sufficient statistics of the M-step.

    w are the row weights, r the responsibilities, and y_nk = W_k (x_n − μ_k) the residuals.

    Attributes:
      mass: (k,) Σ w r.
      shift: (k, d) Σ w r y.
      spread: Σ w r y yᵀ in the shape of the family's layout: (k, d, d) for full, (1, d, d) for
        tied, (k, d) for diagonal and (k, 1) for spherical covariances.
      log_likelihood: () Σ w log p(x), in nats.

    Statistics at the same mixture can be added. The statistics of two sets of rows together are the
    sum of the statistics of each set.
    """

    mass: jax.Array
    shift: jax.Array
    spread: jax.Array
    log_likelihood: jax.Array

    @classmethod
    def zero(cls, mixture: Mixture) -> Statistics:
        """Return the statistics of no rows at all."""
        zeros = jnp.zeros_like(mixture.means)
        mass = jnp.zeros_like(mixture.logits)
        return cls(mass, zeros, mixture.frame.outer(zeros, zeros), jnp.zeros((), mixture.dtype))

    def __add__(self, other: Statistics) -> Statistics:
        return jax.tree.map(jnp.add, self, other)


def statistics(mixture: Mixture, rows: Rows, kernel: str | Choice = "auto") -> Statistics:
    """Compute the statistics in one pass over `rows`.

    The mixture is in the rows' centered coordinates. Where the rows are in cells, and the natural
    kernel is not accurate, a pass over cells leaves out components that cannot matter
    (`kernels/relevant_components.py`) or takes local centers (`kernels/local_centers.py`).
    """
    rule = rule_for_lanes(kernel.lanes if isinstance(kernel, Choice) else 1)
    by_kernel = lambda mixture, kernel: statistics_by_rules(mixture, rows, kernel, (rule,))[0]
    if rows.cells is None:
        return by_kernel(mixture, kernel)

    def by_cells(mixture: Mixture, kernel: str) -> Statistics:
        of_chunk = lambda chunk: cells_pass(KERNELS[kernel], mixture, chunk).statistics()
        (mass, shift, spread), value = rows.total_cells(of_chunk)
        return Statistics(mass, shift, spread, value)

    natural, accurate, *rest = candidates(mixture)
    branches = [
        functools.partial(by_cells, kernel=accurate),
        *(functools.partial(by_kernel, kernel=name) for name in rest),
    ]
    position, many = position_of(mixture), leaves_out(mixture)
    cells_pass: type[Relevant] | type[Local] = Relevant if many else Local
    if many or rows.cells.gathers:
        branches = [functools.partial(by_kernel, kernel=natural), *branches]
    else:  # by cells where the natural kernel is accurate too, which compiles one pass less
        position = position - 1
    # The position is cut to those of the branches.
    return jax.lax.switch(position, branches, mixture)


def statistics_by_rules(
    mixture: Mixture, rows: Rows, kernel: str | Choice, rules: Sequence[Rule]
) -> tuple[Statistics, ...]:
    """Compute statistics for several rules of responsibilities, in one pass over `rows`.

    In the result, `log_likelihood` is the sum of the values that the rule returns for the rows.
    """

    def run(kernel: Kernel) -> tuple[Statistics, ...]:
        sum_block = lambda block, weight: sums_by_rules(kernel, block, weight, rules)
        totals = rows.total_blocks(sum_block, block_rows(kernel))
        complete = lambda sums: complete_moments(mixture, near, kernel.statistics(sums))
        return tuple(Statistics(*complete(sums), value) for sums, value in totals)

    near = measured(mixture, rows.columns, rows.shared_noise)
    return with_kernel(kernel, near, rows.n, run, rows.columns)


def about_mixture(mixture: Mixture, rows: Rows) -> tuple[Mixture, Rows]:
    """Return the mixture and the rows in coordinates whose origin is the mixture's own mean.

    Unlike the mean of the rows, this center costs no pass over the data.
    """
    weights = jnp.where(mixture.present, mixture.weights, 0)[:, None]
    center = jax.lax.stop_gradient(jnp.sum(weights * mixture.means, axis=0))
    return mixture.translate(-center), rows.about(center)


def statistics_at(rows: Rows, mixture: Mixture) -> Statistics:
    """Compute the statistics in one pass, at a mixture in the data's own coordinates."""
    return statistics(*about_mixture(mixture, rows))


def e_step(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Statistics:
    """Compute the E-step: the `Statistics` of weighted rows at a mixture.

    No n×k array is stored.

    Args:
      mixture: the mixture θ.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      devices: the devices over which an array of many rows is divided; all local devices by
        default.

    Returns:
      The statistics, in the wider dtype of mixture and x.

    Raises:
      ValueError: if x is not a finite (n, d) array with the mixture's number of features, or if the
        weights are negative, not finite, or not (n,).

    Source: Dempster, Laird & Rubin 1977, sec. 2; Bishop 2006, eq. 9.23.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> sums = jaxgmm.e_step(m, [[0.0], [2.0], [2.0]])
    >>> np.asarray(sums.mass).round(2)
    array([2., 1.], dtype=float32)
    >>> half = jaxgmm.e_step(m, [[0.0]]) + jaxgmm.e_step(m, [[2.0]], weight=[2.0])
    >>> bool(jnp.allclose(half.shift, sums.shift))
    True
    """
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    return data.compute(statistics_at, mixture)
