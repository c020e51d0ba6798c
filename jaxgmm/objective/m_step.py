"""The M-step and what it would gain."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..mixture.mixture import Mixture
from ..numerics.logarithms import logarithm_and_excess
from . import prior as priors
from .prior import Prior
from .statistics import Statistics

# A mean that moves farther than this many standard deviations, in units of eps^(-1/2), leaves
# fewer than three digits in the second moment about it.
FAR = 0.03


class Step(NamedTuple):
    """An M-step from a mixture, in that mixture's own frame.

    Attributes:
      logits: (k,) the new logarithms of the weights.
      means: (k, d) how far each mean moves, in standard deviations.
      covariance: the local that describes the new covariances (see `Family`).
      gain: () what the step adds to the expected complete-data objective, per unit of weight.
    """

    logits: jax.Array
    means: jax.Array
    covariance: object
    gain: jax.Array

    @classmethod
    def nowhere(cls, mixture: Mixture) -> Step:
        """The step that leads back to the mixture."""
        covariance = mixture.covariance.still()
        gain = jnp.full((), jnp.inf, mixture.dtype)
        return cls(mixture.logits, jnp.zeros_like(mixture.means), covariance, gain)

    @property
    def local(self) -> Mixture:
        """The mixture after the step, as seen from the one before it (see `coordinates.py`)."""
        return Mixture(self.logits, self.means, self.covariance)

    def taken_from(self, mixture: Mixture) -> Mixture:
        """The mixture after the step."""
        return Mixture(
            self.logits,
            mixture.means + mixture.frame.unwhiten(self.means),
            mixture.covariance.moved(self.covariance),
        )


def _where(condition, a, b):
    """Leaf by leaf, `a` where the leading axis's condition holds."""
    shaped = lambda x: condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim))
    return jax.tree.map(lambda x, y: jnp.where(shaped(x), x, y), a, b)


def m_step_from(mixture: Mixture, sums: Statistics, prior: Prior | None) -> Step:
    """The M-step and its gain D, from the statistics at `mixture`.

    With residual frames, shift/mass is how far a mean moves and C = spread/mass − ā āᵀ is what its
    covariance becomes, both near (0, I): well conditioned whatever the data's offset and scale.
    The gain is D(θ) = [Q̃(M(θ)|θ) − Q̃(θ|θ)] / Σ mass as a sum of non-negative terms, so that it
    is accurate near a fixed point. (Bishop 2006, eqs. 9.24–9.26; with a prior, Gauvain & Lee 1994,
    eqs. 47–49; the gain as stopping rule, Kunstner, Kumar & Schmidt 2021, sec. 4.)
    """
    d, frame, present = mixture.n_features, mixture.frame, mixture.present
    total = jnp.sum(sums.mass)

    # weights
    count = sums.mass
    if prior is not None and prior.concentration is not None:
        count = jnp.where(present, jnp.maximum(count + prior.concentration - 1, 0), 0)
    all_count = jnp.sum(count)
    weights = count / all_count
    lost = logarithm_and_excess(mixture.weights, jnp.where(weights > 0, weights, 1))[1]
    gain = all_count * jnp.sum(jnp.where(weights > 0, weights * lost, mixture.weights))

    # means: pseudo-rows at the prior's mean join the rows
    mass, shift, spread = sums.mass, sums.shift, sums.spread
    if prior is not None and prior.mean is not None:
        pull = jnp.where(present, prior.mean_strength, 0)
        towards = frame.whiten(prior.mean[None] - mixture.means)
        spread = spread + frame.outer(pull[:, None] * towards, towards)
        shift = shift + pull[:, None] * towards
        mass = mass + pull
    move = jnp.where(mass[:, None] > 0, shift / jnp.where(mass > 0, mass, 1)[:, None], 0)
    gain += jnp.sum(mass[:, None] * move**2) / 2

    # covariances: pseudo-rows about the new means join the rows
    central = spread - frame.outer(move, shift)
    held = frame.pool(present) > 0
    count = frame.pool(sums.mass)
    if prior is not None:
        count = count + jnp.where(held, prior.strength, 0)
        if prior.scatter is not None:
            central = central + frame.whiten_second(prior.scatter)
    local, divergence = mixture.covariance.maximize(central, jnp.where(count > 0, count, 1), d)
    # A mean that jumps very far leaves no digits for a second moment about the new one. Then the
    # means move alone, which still cannot lower the objective, and the next step is near.
    near = jnp.sqrt(jnp.finfo(move.dtype).eps * jnp.sum(move**2, axis=-1)) < FAR
    settled = frame.pool((~near & present).astype(count.dtype)) == 0
    keep = held & (count > 0) & settled
    local = _where(keep, local, jax.tree.map(jnp.zeros_like, local))
    gain += jnp.sum(jnp.where(keep, count * divergence, 0)) / 2

    return Step(jnp.log(weights), move, local, gain / total)


@jax.jit
def _m_step(mixture, sums, prior):
    return m_step_from(mixture, sums, prior).taken_from(mixture)


def m_step(mixture: Mixture, statistics: Statistics, prior: Prior | None = None) -> Mixture:
    """The M-step: the mixture that maximizes Q(· | mixture) + log prior.

    Args:
      mixture: where the statistics were taken.
      statistics: its `e_step`, or a sum of those of several sets of rows.
      prior: a `Prior`, or None for maximum likelihood.

    Returns:
      The updated mixture. A component with no mass keeps its mean and covariance and becomes
      absent; one whose covariance collapses comes back with non-finite leaves (`fit` stops before
      that and says DEGENERATE). It has the mixture's dtype and units.

    Raises:
      ValueError: for what is not one finite mixture, `Statistics`, or a prior in its dimensions.

    (Bishop 2006, eqs. 9.24–9.26; with a prior, Gauvain & Lee 1994, eqs. 47–49.)

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
