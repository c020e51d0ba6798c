"""A robust covariance: that of the rows which are not far from all others.

The default prior and the starts are computed from the data's covariance. A single typing error can
make the ordinary covariance arbitrarily large, so rows far from the others are left out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.trees import where
from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.products import matmul
from .summable_rows import SummableRows

# Bounds t on the distance of a row from the mean, which is √d + t standard deviations. A row drawn
# from a Gaussian is farther away with probability less than exp(−t²/2) (Laurent & Massart 2000,
# lemma 1). Rows farther than CORE_ROW do not belong to the core of the data. Rows farther than
# FAR_ROW from the core's mean, in standard deviations of the core, are far.
CORE_ROW, FAR_ROW = 5.0, 10.0
MOST_PASSES = 30
ROWS_PER_BLOCK = 4096


class Moments(NamedTuple):
    """The total weight () of some rows, their mean (d,) and their covariance (d, d)."""

    mass: jax.Array
    mean: jax.Array
    covariance: jax.Array


def moments(rows: SummableRows, inside: Callable[[jax.Array], jax.Array] | None = None) -> Moments:
    """Return the moments of all rows, or of those for which inside(x (d, b)) -> (b,) is true."""

    def block(x, weight):
        counts = weight if inside is None else jnp.where(inside(x), weight, 0)
        weighted = counts[None] * x
        return jnp.sum(counts), jnp.sum(weighted, axis=1), matmul(weighted, x.T)

    mass, first, second = rows.total(block, ROWS_PER_BLOCK)
    mean = first / mass
    return Moments(mass, mean, second / mass - mean[:, None] * mean[None, :])


class Ellipsoid(NamedTuple):
    """The points x with |W (x − c)|² ≤ limit, where W (d, d) is `factor` and c (d,) is `center`."""

    center: jax.Array
    factor: jax.Array
    limit: jax.Array

    def moments(self, rows: SummableRows) -> Moments:
        """Return the moments of the rows inside; the mean is relative to the center."""
        inside = lambda x: jnp.sum(matmul(self.factor, x) ** 2, axis=0) <= self.limit
        return moments(rows.about(rows.center + self.center), inside)


class _Trimming(NamedTuple):
    """The state of the trimming loop.

    Attributes:
      passes: the number of passes so far.
      ellipsoid: the ellipsoid of the last pass.
      factor: W (d, d) that whitens the rows inside it.
      kept: their moments.
      whole: the moments of all rows.
      least: the smallest conditional variance () of all rows, see `_whitening`.
      settled: whether the core no longer changes.
      finished: whether the loop ends.
    """

    passes: jax.Array
    ellipsoid: Ellipsoid
    factor: jax.Array
    kept: Moments
    whole: Moments
    least: jax.Array
    settled: jax.Array
    finished: jax.Array


def _whitening(covariance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return W (d, d) with W S Wᵀ near I, and the smallest conditional variance ().

    The conditional variance of a feature given those before it is a fraction of the feature's own
    variance. In directions without variance, the variance is that of rounding.
    """
    d = len(covariance)
    variance = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    correlation = covariance / (scale[:, None] * scale[None, :])
    regularized = correlation + _rounding(covariance) * jnp.eye(d, dtype=covariance.dtype)
    root, inverse = cholesky_and_inverse(regularized[None], often=False)
    return inverse[0] / scale[None], jnp.min(jnp.diagonal(root[0])) ** 2


def _rounding(covariance: jax.Array) -> np.floating:
    """Return what rounding leaves of a variance of 1 that the other features explain."""
    return 16 * len(covariance) * jnp.finfo(covariance.dtype).eps


@jax.custom_jvp
def robust_covariance(rows: SummableRows) -> jax.Array:
    """Return the weighted covariance (d, d) of the rows that are not far from all others.

    It is divided by the total weight of those rows. If no row is far, it is the covariance of all
    rows.

    To find the core of the data, rows more than √d + 5 standard deviations from the mean are left
    out, again and again until no row is left out. A row is far if it lies more than √d + 10
    standard deviations of the core from the core's mean. So the covariance is equivariant under
    affine maps of the data, does not depend on a number of components, and stays bounded however
    far a few rows lie. Rows that make up more than a fraction 1/(√d + 5)² of the weight are never
    far. No row is left out if the others would have no variance in some direction (a column that is
    constant except for a few rows).

    The rows are in coordinates with their origin near the mean. The function works under jit and
    vmap, and for every kind of rows.

    References: repeated trimming by Mahalanobis distance is by Gnanadesikan & Kettenring 1972,
    Biometrics 28, sec. 3. The second bound is like the reweighting of Rousseeuw & Van Driessen
    1999, Technometrics 41.
    """
    return trim(rows)[0]


def trim(rows: SummableRows) -> tuple[jax.Array, Ellipsoid]:
    """Return `robust_covariance`, and the ellipsoid that contains the rows it is computed from."""
    d, dtype = len(rows.center), rows.center.dtype
    core, far = (jnp.asarray(d**0.5 + bound, dtype) ** 2 for bound in (CORE_ROW, FAR_ROW))

    def unfinished(loop: _Trimming) -> jax.Array:
        return ~loop.finished & (loop.passes < MOST_PASSES)

    def trim_again(loop: _Trimming) -> _Trimming:
        first = loop.passes == 0
        limit = jnp.where(loop.settled, far, core)
        ellipsoid = Ellipsoid(loop.kept.mean, loop.factor, limit)
        about_center = ellipsoid.moments(rows)
        inside = about_center._replace(mean=ellipsoid.center + about_center.mean)
        whole = where(first, inside, loop.whole)
        factor, least = _whitening(inside.covariance)
        least_of_all = jnp.where(first, least, loop.least)
        # Sums over the same rows are equal to the last bit.
        all_inside, same = inside.mass == whole.mass, inside.mass == loop.kept.mass
        flat = _is_flat(inside, whole) | ((least <= 2 * tiny) & (least_of_all > 2 * tiny))
        finished = (loop.settled | flat | ((loop.passes == 1) & all_inside)) & ~first
        keep_all = finished & (flat | all_inside)
        kept, ellipsoid = where(keep_all, (whole, everything), (inside, ellipsoid))
        return _Trimming(
            passes=loop.passes + 1,
            ellipsoid=ellipsoid,
            factor=factor,
            kept=kept,
            whole=whole,
            least=least_of_all,
            settled=~first & (same | (loop.passes == MOST_PASSES - 2)),
            finished=finished,
        )

    zeros = Moments(*(jnp.zeros(shape, dtype) for shape in ((), (d,), (d, d))))
    tiny = _rounding(zeros.covariance)
    # With a factor of zeros all rows are inside, as in the first pass.
    everything = Ellipsoid(zeros.mean, zeros.covariance, far)
    begin = _Trimming(
        passes=jnp.int32(0),
        ellipsoid=everything,
        factor=zeros.covariance,
        kept=zeros,
        whole=zeros,
        least=zeros.mass,
        settled=jnp.array(False),
        finished=jnp.array(False),
    )
    end = jax.lax.while_loop(unfinished, trim_again, begin)
    return end.kept.covariance, end.ellipsoid


@robust_covariance.defjvp
def _(primals, tangents):
    """Differentiate with the ellipsoid fixed: almost everywhere the same rows stay inside."""
    covariance, ellipsoid = trim(*primals)
    of_inside = lambda rows: ellipsoid.moments(rows).covariance
    return covariance, jax.jvp(of_inside, primals, tangents)[1]


def robust_covariance_of(rows: SummableRows) -> jax.Array:
    """Return `robust_covariance` of rows in any coordinates."""
    return robust_covariance(rows.about_mean())


def _is_flat(some: Moments, whole: Moments) -> jax.Array:
    """Return whether a feature has no variance among some rows, but has variance among all."""
    eps = jnp.finfo(some.covariance.dtype).eps
    ratio = jnp.diagonal(some.covariance) / jnp.diagonal(whole.covariance)
    return jnp.any(ratio <= (100 * eps) ** 2)  # the ratio of a constant feature is NaN
