"""`Statistics`: the sums over rows that every algorithm needs, and one pass that makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..kernels.blocks import block_rows, weighted_responsibilities
from ..kernels.choice import Choice, with_kernel
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.products import matmul


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sums over rows at a mixture θ, with residuals y_nk = W_k (x_n − μ_k) and responsibilities r.

    Attributes:
      mass: (k,) Σ w r.
      shift: (k, d) Σ w r y, in standard deviations.
      spread: Σ w r y yᵀ as the family keeps it: full (k, d, d), tied (1, d, d), diagonal (k, d),
        spherical (k, 1).
      log_likelihood: () Σ w log p(x), in nats.

    Statistics of the same mixture add: those of rows a and rows b are statistics(a) +
    statistics(b).
    """

    mass: jax.Array
    shift: jax.Array
    spread: jax.Array
    log_likelihood: jax.Array

    def __add__(self, other: Statistics) -> Statistics:
        return jax.tree.map(jnp.add, self, other)


def statistics(mixture: Mixture, rows: Rows, kernel: str | Choice = "auto") -> Statistics:
    """One pass over `rows` at a mixture given in the rows' centered coordinates."""

    def run(kernel):
        def block(x, weight):
            joint, intermediate = kernel.log_joint(x)
            share, log_prob = weighted_responsibilities(joint, weight)
            return kernel.sums(x, intermediate, share), matmul(weight, log_prob)

        sums, log_likelihood = rows.total(block, block_rows(kernel))
        return Statistics(*kernel.statistics(sums), log_likelihood)

    return with_kernel(kernel, mixture, rows.n, run)


def about_mixture(mixture: Mixture, rows: Rows) -> tuple[Mixture, Rows]:
    """The mixture and the rows in coordinates that start at the mixture's own mean: a center that
    costs no pass over the data."""
    share = jnp.where(mixture.present, mixture.weights, 0)[:, None]
    center = jax.lax.stop_gradient(jnp.sum(share * mixture.means, axis=0))
    return mixture.translate(-center), rows.about(center)


def statistics_at(rows: Rows, mixture: Mixture) -> Statistics:
    """One pass at a mixture given in the data's own coordinates."""
    return statistics(*about_mixture(mixture, rows))


def e_step(mixture: Mixture, x, *, weight=None, devices: Sequence | None = None) -> Statistics:
    """The E-step: `Statistics` of x (n, d) with row weights (n,) at `mixture`.

    Holds no n×k array. x is an array, or `Blocks`, `Shards` or a `Stream`; `devices` share an array
    of many rows, all local ones by default. Raises ValueError for x that is not finite (n, d) rows
    of the mixture's features, and for weights that are negative, not finite, or not (n,).
    (Dempster, Laird & Rubin 1977, sec. 2; Bishop 2006, eq. 9.23.)

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
