"""Which components are artifacts: spikes of the likelihood on few rows, on rows in a plane, or on
one value of a feature. A component on a few rows far away is an outlier, and no artifact."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.robust_covariance import CORE, FAR
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics

# A component on few rows is an artifact where its volume is under a tenth of the others'.
SMALL_VOLUME = 0.1
# A component is no outlier, but a spike, where it is narrower than a hundredth of the others.
SPIKE_WIDTH = 0.01
# In no direction may a component have less of the data's variance than this.
LEAST_VARIANCE = 1e-6
# Pseudo-rows with the data's covariance are not to make up most of a component's variance, as far
# as they are so few. A stronger prior is meant to, and so is a ridge.
WEAK_STRENGTH = 0.01
# Rows that stand for all of them where steps are looked for.
MOST_ROWS = 1 << 14


class Doubts(NamedTuple):
    """Signs that a component is an artifact, for each covariance held, as (c,).

    few_rows: less mass than 2p/d + 1, p being the parameters of its covariance (d + 2 for a full
    one), and a volume far below the others'.
    near_singular: a direction in which most of the variance comes from the prior's pseudo-rows, or
    in which it is under a millionth of the data's; or a feature whose width is less than rounding
    to the feature's own step leaves.
    outlier: neither of the two, since the few rows lie far from every other component."""

    few_rows: jax.Array
    near_singular: jax.Array
    outlier: jax.Array

    @property
    def artifact(self) -> jax.Array:
        """(c,) either of the first two."""
        return self.few_rows | self.near_singular


def doubts(
    mixture: Mixture, sums: Statistics, covariance: jax.Array, prior: Prior | None, steps: jax.Array
) -> Doubts:
    """The doubts about the components of a mixture, from the statistics there.

    covariance (d, d) is the data's, and steps (d,) the least gap between values of each feature
    where many rows share a value, else 0."""
    d, frame = mixture.n_features, mixture.frame
    held = frame.pool(mixture.present) > 0
    mass = frame.pool(sums.mass)

    few = held & (mass < 2 * mixture.covariance.n_parameters(1, d) / d + 1)
    # how many times the variance of a component the data have in some direction, at the most
    excess = frame.largest(frame.whiten_second(covariance))
    flat = held & (excess > 1 / LEAST_VARIANCE)
    widths = jnp.diagonal(frame.dense, axis1=-2, axis2=-1)
    coarse = jnp.any(widths < steps[None] ** 2 / 12, axis=-1)
    strength = 0 if prior is None else prior.strength
    propped = jnp.minimum(strength, WEAK_STRENGTH) * excess > (mass + strength) / 2
    thin = held & (propped | coarse)

    # the components that the others are measured against
    sound = held & ~(few | thin | flat)
    log_volume = -frame.log_determinant
    counted = jnp.where(sound, mass, 0)
    total = jnp.sum(counted)
    usual = jnp.sum(jnp.where(sound, counted * log_volume, 0)) / jnp.where(total > 0, total, 1)
    usual = jnp.where(total > 0, usual, jnp.inf)
    small = log_volume < usual + np.log(SMALL_VOLUME)
    wide = log_volume > usual + d * np.log(SPIKE_WIDTH)
    share = mass < jnp.sum(sums.mass) / (d**0.5 + CORE) ** 2
    outlier = (few | thin) & share & wide & _far(mixture, sound)
    return Doubts(few & small & ~outlier, (thin & ~outlier) | flat, outlier)


def _far(mixture: Mixture, sound: jax.Array) -> jax.Array:
    """Whether the mean of a component is far from every other one that is `sound`, in standard
    deviations of that one, as (c,)."""
    frame, k = mixture.frame, mixture.n_components

    def from_one(mean):
        return jnp.sum(frame.whiten(mean[None] - mixture.means) ** 2, axis=-1)

    square = jax.vmap(from_one)(mixture.means)
    others = jnp.broadcast_to(sound, (k,))[None] & ~jnp.eye(k, dtype=bool)
    nearest = jnp.min(jnp.where(others, square, jnp.inf), axis=1)
    far = (nearest > (mixture.n_features**0.5 + FAR) ** 2) & jnp.any(others, axis=1)
    return frame.pool(far.astype(square.dtype)) > 0


def steps_of(x: np.ndarray) -> np.ndarray:
    """(d,) the least gap between two values of each feature in which at least half of the rows
    share their value with another, else 0: the step of a scale, or of rounding. Of many rows, some
    stand for all."""
    some = np.asarray(x[:: -(-len(x) // MOST_ROWS)])
    steps = np.zeros(x.shape[1], x.dtype)
    for feature, column in enumerate(some.T):
        values, counts = np.unique(column, return_counts=True)
        if len(values) > 1 and 2 * np.sum(counts[counts > 1]) >= len(column):
            gaps = np.diff(values)
            # Equal decimals that were computed differ in their last digits.
            real = gaps[gaps > 1e-6 * (values[-1] - values[0])]
            steps[feature] = np.min(real, initial=np.inf) if len(real) else 0
    return steps
