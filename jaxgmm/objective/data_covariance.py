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
from ..internal.pytrees import pytree
from ..kernels.block_size import block_rows
from ..kernels.block_sums import sums_of_block
from ..kernels.choice import with_kernel
from ..kernels.conditional_moments import fill_block
from ..kernels.protocol import Kernel
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from .statistics import Statistics

MOST_STEPS = 50
TOLERANCE = 1e-6  # of EM's gain, per unit of row weight
DERIVATIVE_STEPS = 100


@pytree
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


def _scales(rows: SummableRows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return means and standard deviations (d,) of what was seen, and which features are constant.

    The standard deviation of a constant feature is taken to be 1.
    """

    def powers(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        counted = jnp.where(jnp.isnan(x), 0, weight[None])
        value = jnp.where(jnp.isnan(x), 0, x)
        return tuple(jnp.sum(counted * value**power, axis=1) for power in (0, 1, 2))

    mass, first, second = rows.total(powers, 4096)
    mass = jnp.where(mass > 0, mass, 1)
    mean = first / mass
    variance = second / mass - mean**2
    constant = variance <= 0
    return mean, jnp.sqrt(jnp.where(constant, 1, variance)), constant


def _take_pass(
    rows: SummableRows, gaussian: Mixture, inside: Callable[[jax.Array], jax.Array]
) -> Statistics:
    """Return the statistics at one Gaussian of the rows for which inside(x (d, b)) -> (b,)."""
    assert rows.columns is not None
    only_gaps = Columns(features=len(rows.center), most=rows.columns.most)

    def run(kernel: Kernel) -> Statistics:
        def of_block(x: jax.Array, weight: jax.Array) -> Any:
            return sums_of_block(kernel, Block(x), jnp.where(inside(x), weight, 0))

        sums, log_likelihood = rows.total(of_block, block_rows(kernel))
        return Statistics(*kernel.statistics(sums), log_likelihood)

    return with_kernel("whitened", gaussian, rows.n, run, only_gaps)


def _em_step(rows: SummableRows, gaussian: Mixture, scale: jax.Array) -> tuple[Mixture, jax.Array]:
    """Return the next Gaussian of EM, and the gain D."""
    d, dtype = len(rows.center), rows.center.dtype
    # Rounding errors of a variance, so that dependent columns have a covariance too.
    ridge = 16 * d * jnp.finfo(dtype).eps
    sums = _take_pass(rows, gaussian, lambda x: jnp.ones(x.shape[1], bool))
    frame = gaussian.frame
    move = sums.shift / sums.mass[:, None]
    scatter = frame.whiten_second(jnp.diag(ridge * sums.mass[0] * scale**2))
    central = sums.spread - frame.outer(move, sums.shift) + scatter
    local, gain = gaussian.covariance.maximize(central, sums.mass, d)
    means = gaussian.means + frame.unwhiten(move)
    moved = Mixture(gaussian.logits, means, gaussian.covariance.moved(local))
    return moved, (jnp.sum(move**2) + gain[0]) / 2


@jax.custom_jvp
def _likeliest(rows: SummableRows) -> Mixture:
    """Return the likeliest Gaussian given what was seen, by EM from available means."""
    mean, scale, _ = _scales(rows)
    dtype = rows.center.dtype
    start = Mixture(jnp.zeros(1, dtype), mean[None], Full.of_scales(scale, 1))
    unfinished = lambda state: (state[0] < MOST_STEPS) & (state[2] > TOLERANCE)
    step = lambda state: (state[0] + 1, *_em_step(rows, state[1], scale))
    begin = (jnp.int32(0), start, jnp.full((), jnp.inf, dtype))
    return jax.lax.while_loop(unfinished, step, begin)[1]


@_likeliest.defjvp
def _(primals, tangents):
    """Differentiate the fixed point of EM, whose derivative is a fixed point too."""
    gaussian = _likeliest(*primals)
    scale = jax.lax.stop_gradient(_scales(*primals)[1])
    direct = jax.jvp(lambda rows: _em_step(rows, gaussian, scale)[0], primals, tangents)[1]
    of_gaussian = lambda at: _em_step(*primals, at, scale)[0]
    through = lambda slope: jax.jvp(of_gaussian, (gaussian,), (slope,))[1]
    add = lambda _, slope: jax.tree.map(jnp.add, direct, through(slope))
    zero = jax.tree.map(jnp.zeros_like, gaussian)
    return gaussian, jax.lax.fori_loop(0, DERIVATIVE_STEPS, add, zero)


def covariance_and_gaussian(rows: SummableRows) -> tuple[jax.Array, Mixture]:
    """Return the data's covariance (d, d), and the likeliest Gaussian, in the rows' coordinates.

    The Gaussian is the likeliest one given all values that were seen, noise left aside. The
    covariance leaves out rows that are far from all others, as `robust_covariance` does, with their
    gaps filled by the Gaussian.
    """
    gaussian = _likeliest(rows)
    # Almost everywhere the same rows stay inside, so the ellipsoid has no derivative.
    filled = jax.tree.map(jax.lax.stop_gradient, FilledRows(rows, gaussian, rows.center))
    _, ellipsoid = trim(cast(SummableRows, filled))
    distance = lambda x: matmul(
        ellipsoid.factor, fill_block(gaussian, x) - ellipsoid.center[:, None]
    )
    inside = lambda x: jnp.sum(distance(x) ** 2, axis=0) <= ellipsoid.limit
    sums = _take_pass(rows, gaussian, inside)
    root = gaussian.frame.inverse_factor[0]  # type: ignore[attr-defined]
    shift = sums.shift[0] / sums.mass[0]
    central = sums.spread[0] / sums.mass[0] - shift[:, None] * shift[None]
    covariance = matmul(matmul(root, central), transpose(root))
    constant = _scales(rows)[2]
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
