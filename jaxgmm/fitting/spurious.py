"""Detection of components that are artifacts of the likelihood.

An artifact is a narrow maximum of the likelihood at which a component describes few rows, rows in a
plane, or one value of a feature. A component that describes a few rows far from all others is an
outlier, not an artifact.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.robust_covariance import CORE_ROW, FAR_ROW
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics

# A component on few rows is an artifact where its volume is below a tenth of the others' volume.
SMALL_VOLUME = 0.1
# A component narrower than a hundredth of the others is a spike, wherever it lies.
SPIKE_WIDTH = 0.01
# The least variance of a component in any direction, as a fraction of the data's variance.
LEAST_VARIANCE = 1e-6
# A prior of at most this strength should not supply most of a component's variance. A stronger
# prior is meant to, and so is a ridge.
WEAK_STRENGTH = 0.01
# The most rows in which `spacing_of` looks for steps.
MOST_ROWS = 1 << 14


class Doubts(NamedTuple):
    """Signs that a component is an artifact, as booleans (c,) for the c covariances of the family.

    Attributes:
      few_rows: the mass is below 2p/d + 1, where p is the number of a covariance's own parameters
        (2p/d + 1 is d + 2 for a full one), and the volume is far below the others'.
      near_singular: in some direction most of the variance comes from the prior's pseudo-rows, or
        the variance is below a millionth of the data's; or in some feature the variance is below
        that of rounding to the feature's step.
      outlier: the component would be few_rows or near_singular, but its few rows lie far from every
        other component.
    """

    few_rows: jax.Array
    near_singular: jax.Array
    outlier: jax.Array

    @property
    def artifact(self) -> jax.Array:
        """Whether a component has few rows or is nearly singular, as booleans (c,)."""
        return self.few_rows | self.near_singular


def doubts(
    mixture: Mixture, sums: Statistics, covariance: jax.Array, prior: Prior | None, steps: jax.Array
) -> Doubts:
    """Return the doubts about the components of a mixture, from the statistics there.

    `covariance` (d, d) is that of the data, and `steps` (d,) is documented in `spacing_of`.
    """
    d, frame = mixture.n_features, mixture.frame
    held = frame.pool(mixture.present) > 0
    mass = frame.pool(sums.mass)

    few = held & (mass < 2 * mixture.covariance.n_own_parameters(d) / d + 1)
    # The largest ratio, over all directions, of the data's variance to the component's.
    excess = frame.largest(covariance)
    flat = held & (excess > 1 / LEAST_VARIANCE)
    widths = jnp.diagonal(frame.dense, axis1=-2, axis2=-1)
    coarse = jnp.any(widths < steps[None] ** 2 / 12, axis=-1)
    strength = 0 if prior is None else prior.strength
    propped = jnp.minimum(strength, WEAK_STRENGTH) * excess > (mass + strength) / 2
    thin = held & (propped | coarse)

    # The components that the others are compared with.
    sound = held & ~(few | thin | flat)
    log_volume = -frame.log_determinant
    counted = jnp.where(sound, mass, 0)
    total = jnp.sum(counted)
    usual = jnp.sum(jnp.where(sound, counted * log_volume, 0)) / jnp.where(total > 0, total, 1)
    usual = jnp.where(total > 0, usual, jnp.inf)
    small = log_volume < usual + np.log(SMALL_VOLUME)
    wide = log_volume > usual + d * np.log(SPIKE_WIDTH)
    share = mass < jnp.sum(sums.mass) / (d**0.5 + CORE_ROW) ** 2
    outlier = (few | thin) & share & wide & _far(mixture, sound)
    return Doubts(few & small & ~outlier, (thin & ~outlier) | flat, outlier)


def _far(mixture: Mixture, sound: jax.Array) -> jax.Array:
    """Return which means lie far from every other component that is `sound`, as booleans (c,).

    The distance is in standard deviations of the other component.
    """
    frame, k = mixture.frame, mixture.n_components
    # In a row are the distances from one component to the means of all.
    square = jnp.sum(frame.residuals(mixture.means, mixture.means.T) ** 2, axis=1)
    others = jnp.broadcast_to(sound, (k,))[:, None] & ~jnp.eye(k, dtype=bool)
    nearest = jnp.min(jnp.where(others, square, jnp.inf), axis=0)
    far = (nearest > (mixture.n_features**0.5 + FAR_ROW) ** 2) & jnp.any(others, axis=0)
    return frame.pool(far.astype(square.dtype)) > 0


def spacing_of(x: np.ndarray) -> np.ndarray:
    """Return the step (d,) of each feature: the least gap between two of its values.

    It is the step of a scale, or of rounding. It is 0 for a feature in which fewer than half of the
    rows share their value with another row. Of many rows, an even sample is used.
    """
    some = np.asarray(x[:: -(-len(x) // MOST_ROWS)])
    steps = np.zeros(x.shape[1], x.dtype)
    for feature, column in enumerate(some.T):
        column = column[~np.isnan(column)]
        values, counts = np.unique(column, return_counts=True)
        if len(values) > 1 and 2 * np.sum(counts[counts > 1]) >= len(column):
            gaps = np.diff(values)
            # Computed values that should be equal differ in their last digits.
            real = gaps[gaps > 1e-6 * (values[-1] - values[0])]
            steps[feature] = np.min(real, initial=np.inf) if len(real) else 0
    return steps
