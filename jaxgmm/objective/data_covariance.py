"""The covariance of the data, of which values may be missing.

The default prior and the starts are computed from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from ..data.columns import Block, Columns
from ..data.robust_covariance import robust_covariance_of, trim
from ..data.rows import Rows
from ..data.summable_rows import SummableRows
from ..families.full import Full
from ..kernels.blocks import block_rows
from ..kernels.choice import with_kernel
from ..kernels.completion import fill_block
from ..kernels.protocol import Kernel
from ..kernels.sums import sums_of_block
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from .statistics import Statistics

MOST_STEPS = 50
TOLERANCE = 1e-6  # of EM's gain, per unit of row weight


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FilledRows:
    """Rows whose missing values are replaced by their means under one Gaussian, when summed.

    Attributes:
      rows: the rows.
      gaussian: a mixture of one component, in coordinates with their origin at `origin`.
      origin: (d,).
    """

    rows: Any
    gaussian: Mixture
    origin: jax.Array

    @property
    def center(self) -> jax.Array:
        """The origin (d,) of the coordinates of the rows."""
        return self.rows.center

    def about(self, center: jax.Array) -> FilledRows:
        """Return the same rows in coordinates with their origin at `center` (d,)."""
        return dataclasses.replace(self, rows=self.rows.about(center))

    def total(self, function: Callable[..., Any], block_rows: int) -> Any:
        """Return Σ over blocks of function(x (d, b), w (b,)), a pytree."""
        here = self.gaussian.translate(self.origin - self.rows.center)
        of_block = lambda x, weight: function(fill_block(here, x), weight)
        return self.rows.total(of_block, block_rows)


def covariance_and_gaussian(rows: SummableRows) -> tuple[jax.Array, Mixture]:
    """Return the data's covariance (d, d), and the likeliest Gaussian, in the rows' coordinates.

    The Gaussian is the likeliest one given all values that were seen, noise left aside. The
    covariance leaves out rows that are far from all others, as `robust_covariance` does, with their
    gaps filled by the Gaussian.
    """
    columns = rows.columns
    assert columns is not None
    d, dtype = len(rows.center), rows.center.dtype
    only_gaps = Columns(features=d, most=columns.most)

    def variances(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        counted = jnp.where(jnp.isnan(x), 0, weight[None])
        value = jnp.where(jnp.isnan(x), 0, x)
        sums = (jnp.sum(counted * value**power, axis=1) for power in (0, 1, 2))
        return tuple(sums)  # type: ignore[return-value]

    mass, first, second = rows.total(variances, 4096)
    mass = jnp.where(mass > 0, mass, 1)
    mean = first / mass
    variance = second / mass - mean**2
    constant = variance <= 0
    scale = jnp.sqrt(jnp.where(constant, 1, variance))
    start = Mixture(jnp.zeros(1, dtype), mean[None], Full.of_scales(scale, 1))

    def take_pass(gaussian: Mixture, inside: Callable[[jax.Array], jax.Array]) -> Statistics:
        def run(kernel: Kernel) -> Statistics:
            def of_block(x: jax.Array, weight: jax.Array) -> Any:
                return sums_of_block(kernel, Block(x), jnp.where(inside(x), weight, 0))

            sums, log_likelihood = rows.total(of_block, block_rows(kernel))
            return Statistics(*kernel.statistics(sums), log_likelihood)

        return with_kernel("whitened", gaussian, rows.n, run, only_gaps)

    everywhere = lambda x: jnp.ones(x.shape[1], bool)
    # Rounding errors of a variance, so that dependent columns have a covariance too.
    ridge = 16 * d * jnp.finfo(dtype).eps

    def step(state: Any) -> Any:
        number, gaussian, _ = state
        sums, frame = take_pass(gaussian, everywhere), gaussian.frame
        move = sums.shift / sums.mass[:, None]
        scatter = frame.whiten_second(jnp.diag(ridge * sums.mass[0] * scale**2))
        central = sums.spread - frame.outer(move, sums.shift) + scatter
        local, gain = gaussian.covariance.maximize(central, sums.mass, d)
        means = gaussian.means + frame.unwhiten(move)
        moved = Mixture(gaussian.logits, means, gaussian.covariance.moved(local))
        return number + 1, moved, (jnp.sum(move**2) + gain[0]) / 2

    unfinished = lambda state: (state[0] < MOST_STEPS) & (state[2] > TOLERANCE)
    begin = (jnp.int32(0), start, jnp.full((), jnp.inf, dtype))
    _, gaussian, _ = jax.lax.while_loop(unfinished, step, begin)

    _, ellipsoid = trim(cast(SummableRows, FilledRows(rows, gaussian, rows.center)))
    distance = lambda x: matmul(
        ellipsoid.factor, fill_block(gaussian, x) - ellipsoid.center[:, None]
    )
    sums = take_pass(gaussian, lambda x: jnp.sum(distance(x) ** 2, axis=0) <= ellipsoid.limit)
    root = gaussian.frame.inverse_factor[0]  # type: ignore[attr-defined]
    shift = sums.shift[0] / sums.mass[0]
    central = sums.spread[0] / sums.mass[0] - shift[:, None] * shift[None]
    covariance = matmul(matmul(root, central), transpose(root))
    hidden = constant[:, None] | constant[None]
    return jnp.where(hidden, 0, (covariance + transpose(covariance)) / 2), gaussian


def data_covariance(rows: SummableRows) -> jax.Array:
    """Return the covariance (d, d) of rows in any coordinates, without those far from all others.

    Where no value is missing, it is `robust_covariance`; noise is left aside.
    """
    if rows.columns is None or not rows.columns.most:
        return robust_covariance_of(rows)
    return covariance_and_gaussian(rows.about_mean())[0]


def fill_rows(rows: Rows) -> Rows:
    """Return rows without gaps, noise and labels.

    Missing values are replaced by their means under the likeliest Gaussian. Rows without any value
    have weight 0.
    """
    columns = rows.columns
    plain = dataclasses.replace(rows, x=rows.features, columns=None)
    if columns is None or not columns.most:
        return plain
    about = rows.about_mean()
    gaussian = covariance_and_gaussian(about)[1].translate(about.center)
    x = jax.lax.map(
        lambda row: fill_block(gaussian, row[:, None])[:, 0],
        rows.features,
        batch_size=min(256, len(rows.x)),
    )
    some = (~jnp.all(jnp.isnan(rows.features), axis=1)).astype(x.dtype)
    weight = some if rows.weight is None else some * rows.weight
    return dataclasses.replace(plain, x=x, weight=weight)
