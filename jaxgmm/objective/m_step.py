"""The M-step, and EM's gain D(θ): how much the M-step raises the expected objective."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..families.family import Local
from ..internal import checks
from ..internal.trees import where_each
from ..mixture.mixture import Mixture
from ..numerics.logarithms import logarithm_and_excess
from . import prior as priors
from .prior import Prior
from .pseudo_rows import add_pseudo_rows
from .statistics import Statistics

# If a mean moves by more than this many standard deviations, in units of eps^(-1/2), fewer than
# three digits of the second moment about the new mean are correct.
FARTHEST_MOVE = 0.03


class Step(NamedTuple):
    """An M-step from a mixture: the mixture after it, and the way there.

    Attributes:
      after: the mixture after the step.
      means: (k, d) the displacement of each mean, in standard deviations of the mixture before.
      covariance: the local that describes the new covariances (see `Family`).
      em_gain: () D(θ), the increase of the expected complete-data objective per unit of row weight.
    """

    after: Mixture
    means: jax.Array
    covariance: Local
    em_gain: jax.Array

    @classmethod
    def zero(cls, mixture: Mixture) -> Step:
        """Return the step that does not change the mixture; its `em_gain` is infinite."""
        return cls(
            after=mixture,
            means=jnp.zeros_like(mixture.means),
            covariance=mixture.covariance.zero_local(),
            em_gain=jnp.full((), jnp.inf, mixture.dtype),
        )

    @property
    def local(self) -> Mixture:
        """The mixture after the step, relative to the one before it (see `coordinates.py`)."""
        return Mixture(self.after.logits, self.means, self.covariance)


def m_step_from(
    mixture: Mixture, sums: Statistics, prior: Prior | None, *, to_the_end: bool = False
) -> Step:
    """Compute the M-step and EM's gain D(θ), from the statistics at `mixture`.

    In residual units, a mean moves by ā = shift/mass and its covariance becomes
    C = spread/mass − ā āᵀ. Near a fixed point these are close to 0 and I, so the computation is
    well conditioned whatever the offset and scale of the data. EM's gain is
    D(θ) = [Q̃(M(θ)|θ) − Q̃(θ|θ)] / Σ mass, Q̃ being Q + log prior. It is computed as a sum of
    non-negative terms, which makes it accurate near a fixed point.

    The M-step of some families is a single step of an iteration. With `to_the_end` it is repeated
    until it gains nothing, which starts need.

    Source: Bishop 2006, eqs. 9.24–9.26; with a prior, Gauvain & Lee 1994, eqs. 47–49; EM's gain as
    a stopping rule, Kunstner, Kumar & Schmidt 2021, sec. 4.
    """
    d, frame, present = mixture.n_features, mixture.frame, mixture.present
    total = jnp.sum(sums.mass)

    totals = add_pseudo_rows(mixture, sums, prior)
    total_count = jnp.sum(totals.counts)
    weights = totals.counts / total_count
    excess = logarithm_and_excess(mixture.weights, jnp.where(weights > 0, weights, 1))[1]
    em_gain = total_count * jnp.sum(jnp.where(weights > 0, weights * excess, mixture.weights))

    mass, shift = totals.mass[:, None], totals.shift
    move = jnp.where(mass > 0, shift / jnp.where(mass > 0, mass, 1), 0)
    em_gain += jnp.sum(mass * move**2) / 2

    # Second moments about the new means.
    central = totals.spread - frame.outer(move, shift)
    used = frame.pool(present) > 0
    count = totals.covariance_mass
    # If a mean moves very far, the second moment about the new mean has no correct digits. Then
    # only the means move. This still cannot lower the objective, and the next move is shorter.
    near = jnp.sqrt(jnp.finfo(move.dtype).eps * jnp.sum(move**2, axis=-1)) < FARTHEST_MOVE
    all_near = frame.pool((~near & present).astype(count.dtype)) == 0
    coupled = mixture.covariance.shares_leaves(len(count))
    all_near = jnp.where(coupled, jnp.all(all_near, keepdims=True), all_near)
    updates = used & (count > 0) & all_near
    covariance, counted = mixture.covariance, jnp.where(updates, count, 0)
    if to_the_end:
        local, gain = covariance.likeliest(central, counted, d), jnp.zeros_like(count)
    else:
        local, gain = covariance.maximize(central, counted, d)
    local = where_each(updates, local, jax.tree.map(jnp.zeros_like, local))
    # The terms of covariances that share a leaf need not be positive, but their sum is, up to
    # rounding.
    gain = frame.sum_covariances(jnp.where(updates, count * gain, 0)) / 2
    em_gain += jnp.where(gain < 0, 0, gain)

    after = Mixture(jnp.log(weights), mixture.means + frame.unwhiten(move), covariance.moved(local))
    return Step(after, move, local, em_gain / total)


@jax.jit
def _m_step(mixture: Mixture, sums: Statistics, prior: Prior | None) -> Mixture:
    return m_step_from(mixture, sums, prior).after


def m_step(mixture: Mixture, statistics: Statistics, prior: Prior | None = None) -> Mixture:
    """Compute the M-step: the mixture that maximizes Q(· | mixture) + log prior.

    Args:
      mixture: the mixture at which the statistics were computed.
      statistics: the result of `e_step`, or the sum of such results for several sets of rows.
      prior: a `Prior`, or None for maximum likelihood.

    Returns:
      The updated mixture, in the dtype and units of `mixture`. A component without mass keeps its
      mean and covariance and becomes absent. A component whose covariance collapses gets non-finite
      leaves (`fit` stops before that, with status DEGENERATE).

    Raises:
      ValueError: if `mixture` is not a single finite mixture, `statistics` is not a `Statistics`,
        or `prior` is not a prior for the mixture's number of features.

    Source: Bishop 2006, eqs. 9.24–9.26; with a prior, Gauvain & Lee 1994, eqs. 47–49.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> sums = jaxgmm.e_step(m, [[-1.0], [1.0], [3.0], [5.0]])
    >>> np.asarray(jaxgmm.m_step(m, sums).means).round(1)
    array([[0.],
           [4.]], dtype=float32)
    """
    checks.one_mixture(mixture)
    checks.statistics(statistics)
    return _m_step(
        mixture, statistics, priors.check_prior(prior, mixture.n_features, mixture.dtype)
    )
