"""The covariance of the rows that do not lie far from all others.

The default prior and the starts are made from the data's covariance. One typing error can make
that as large as it likes, so rows far from the rest are left out of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..numerics import lapack
from ..numerics.products import matmul
from ..numerics.triangular import inverse

# Standard deviations beyond √d. A row of a Gaussian lies t of them beyond with probability under
# exp(−t²/2) (Laurent & Massart 2000, lemma 1). Rows beyond the first bound do not define the core
# of the data; rows beyond the second one, measured from the core, are far away.
CORE, FAR = 5.0, 10.0
MOST_PASSES = 30
ROWS_PER_BLOCK = 4096


class Moments(NamedTuple):
    """The weight of some rows, their mean (d,) and their covariance (d, d)."""

    mass: Any
    mean: Any
    covariance: Any


def moments(rows, inside=None) -> Moments:
    """The moments of `rows`, or of those for which inside(x (d, b)) -> (b,) holds."""

    def block(x, weight):
        counts = weight if inside is None else jnp.where(inside(x), weight, 0)
        weighted = counts[None] * x
        return jnp.sum(counts), jnp.sum(weighted, axis=1), matmul(weighted, x.T)

    mass, first, second = rows.total(block, ROWS_PER_BLOCK)
    mean = first / mass
    return Moments(mass, mean, second / mass - mean[:, None] * mean[None, :])


class Ellipsoid(NamedTuple):
    """The points x with |W (x − c)|² ≤ limit, W (d, d) being `factor` and c (d,) the center."""

    center: Any
    factor: Any
    limit: Any

    def moments(self, rows) -> Moments:
        """The moments of the rows inside, the mean being that from the center."""
        inside = lambda x: jnp.sum(matmul(self.factor, x) ** 2, axis=0) <= self.limit
        return moments(rows.about(rows.center + self.center), inside)


class _Trimming(NamedTuple):
    """Where the trimming is: the moments `kept` of the rows inside the last `ellipsoid`, those of
    all rows, and the smallest variance () of a feature given those before it, among all rows."""

    passes: Any
    ellipsoid: Ellipsoid
    factor: Any
    kept: Moments
    whole: Moments
    least: Any
    settled: Any
    finished: Any


def _whitening(covariance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """W (d, d) with W S Wᵀ near I, and the smallest variance () of a feature given those before
    it, as a share of its own. A direction without variance is given that of rounding."""
    d = len(covariance)
    variance = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    correlation = covariance / (scale[:, None] * scale[None, :])
    even = correlation + _rounding(covariance) * jnp.eye(d, dtype=covariance.dtype)
    root = lapack.cholesky(even[None])
    return inverse(root, often=False)[0] / scale[None], jnp.min(jnp.diagonal(root[0])) ** 2


def _rounding(covariance: jax.Array) -> jax.Array:
    """What rounding leaves of a variance of 1 that the other features explain."""
    return 16 * len(covariance) * jnp.finfo(covariance.dtype).eps


@jax.custom_jvp
def robust_covariance(rows) -> jax.Array:
    """The weighted covariance (d, d) of the `rows` that are not far from all others, divided by
    their weight. Where none is far, it is that of all rows.

    The core of the data is found by leaving out the rows more than √d + 5 standard deviations from
    the mean, again and again until none is left to leave out. A row is far if it lies more than
    √d + 10 standard deviations of the core from the core's mean. So the covariance follows every
    affine map of the data, does not depend on any number of components, and is bounded however far
    a few rows lie; rows that make up a share of more than 1/(√d + 5)² are never far. Where
    the others would have no variance in some direction (a column that is constant but for a few
    rows), no row is left out.

    `rows` are in coordinates near their mean. Works under jit and vmap, and for every kind of rows.
    (Repeated trimming by Mahalanobis distance: Gnanadesikan & Kettenring 1972, Biometrics 28, sec.
    3; the second bound, as the reweighting of Rousseeuw & Van Driessen 1999, Technometrics 41.)
    """
    return trim(rows)[0]


def trim(rows) -> tuple[jax.Array, Ellipsoid]:
    """`robust_covariance`, and the ellipsoid inside which rows count."""
    d, dtype = len(rows.center), rows.center.dtype
    core, far = (jnp.asarray(d**0.5 + bound, dtype) ** 2 for bound in (CORE, FAR))

    def unfinished(loop: _Trimming):
        return ~loop.finished & (loop.passes < MOST_PASSES)

    def trim(loop: _Trimming) -> _Trimming:
        first = loop.passes == 0
        limit = jnp.where(loop.settled, far, core)
        ellipsoid = Ellipsoid(loop.kept.mean, loop.factor, limit)
        about = ellipsoid.moments(rows)
        found = about._replace(mean=ellipsoid.center + about.mean)
        whole = where(first, found, loop.whole)
        factor, least = _whitening(found.covariance)
        least_of_all = jnp.where(first, least, loop.least)
        # The sums of the same rows are the same to the last bit.
        all_inside, same = found.mass == whole.mass, found.mass == loop.kept.mass
        flat = _flat(found, whole) | ((least <= 2 * tiny) & (least_of_all > 2 * tiny))
        ends = (loop.settled | flat | (loop.passes == 1) & all_inside) & ~first
        last = where(ends & (flat | all_inside), (whole, everything), (found, ellipsoid))
        settled = ~first & (same | (loop.passes == MOST_PASSES - 2))
        kept, ellipsoid = last
        return _Trimming(
            loop.passes + 1, ellipsoid, factor, kept, whole, least_of_all, settled, ends
        )

    nothing = Moments(*(jnp.zeros(shape, dtype) for shape in ((), (d,), (d, d))))
    tiny = _rounding(nothing.covariance)
    no = jnp.array(False)
    # Without a factor all rows are inside, as in the first pass.
    everything = Ellipsoid(nothing.mean, nothing.covariance, far)
    begin = _Trimming(
        jnp.int32(0), everything, nothing.covariance, nothing, nothing, nothing.mass, no, no
    )
    end = jax.lax.while_loop(unfinished, trim, begin)
    return end.kept.covariance, end.ellipsoid


@robust_covariance.defjvp
def _(primals, tangents):
    """Which rows are far does not change with their values, but at single points."""
    covariance, ellipsoid = trim(*primals)
    of_inside = lambda rows: ellipsoid.moments(rows).covariance
    return covariance, jax.jvp(of_inside, primals, tangents)[1]


def covariance_of(rows) -> jax.Array:
    """`robust_covariance` of rows in any coordinates."""
    return robust_covariance(rows.about_mean())


def _flat(some: Moments, whole: Moments) -> jax.Array:
    """Whether some feature has no variance among these rows, and has one among all."""
    eps = jnp.finfo(some.covariance.dtype).eps
    ratio = jnp.diagonal(some.covariance) / jnp.diagonal(whole.covariance)
    return jnp.any(ratio <= (100 * eps) ** 2)  # of a constant feature it is NaN
