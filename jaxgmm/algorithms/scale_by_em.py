"""EM as an optax transformation of the gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import statistics_of_gradient
from ..objective.m_step import m_step_from
from ..objective.prior import Prior, log_prior


def scale_by_em(total_weight, prior: Prior | None = None) -> optax.GradientTransformationExtraArgs:
    """Turns the gradient of the objective with respect to a `Mixture`'s leaves into EM's step,
    m_step(params) − params.

    By Fisher's identity the gradient *is* the E-step's statistics, once Σ w is known, so the M-step
    needs nothing else: applied alone, the update is EM, step for step and to rounding. What optax
    offers goes on top of it: momentum, a schedule, a line search.

    EM is the gradient times a positive definite matrix (Xu & Jordan 1996, Neural Computation 8,
    theorem 1) exactly in the expectation parameters (π, πμ, π(Σ + μμᵀ)); in the leaves, which are
    not linear in those, to first order near a fixed point. So the update is not linear in the
    gradient: it wants the whole gradient of the sum over all rows, not scaled, clipped or averaged.

    Args:
      total_weight: Σ w of the rows, the number of rows where they have no weights.
      prior: the `Prior` that the objective log_likelihood(mixture, x) + log_prior(mixture, prior)
        has; None for maximum likelihood.

    Returns:
      A transformation without state. Its `update` takes the gradient *of the objective itself*,
      which is to rise (a gradient of a loss −objective / Σ w comes back to it by
      `optax.scale(-total_weight)` before it), and needs `params`, the mixture.

      In a fit: `Gradient(optax.chain(optax.scale(-n), scale_by_em(n)), coordinates="leaves")`,
      where the fit's own prior takes the place of `prior`.

    Raises:
      ValueError: for a total weight that is not positive; in `update` for params that are not a
        mixture, and in a fit in coordinates other than the leaves.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> em = jaxgmm.scale_by_em(200)
    >>> slope = jax.grad(jaxgmm.log_likelihood)(start, x)
    >>> step, _ = em.update(slope, em.init(start), start)
    >>> moved = optax.apply_updates(start, step)
    >>> updated = jaxgmm.m_step(start, jaxgmm.e_step(start, x))
    >>> bool(jnp.allclose(moved.means, updated.means, atol=1e-4))
    True
    """
    checks.positive(total_weight, "total_weight")
    own = prior

    def init(params):
        return optax.EmptyState()

    def update(updates, state, params=None, *, at=None, **_):
        # In a fit, params are offsets, and rows and prior lie about another center.
        mixture, prior, coordinates = (params, own, "leaves") if at is None else at
        if not isinstance(mixture, Mixture):
            raise ValueError(
                "scale_by_em needs params, a Mixture: update(gradient, state, params)."
            )
        if coordinates != "leaves":
            raise ValueError(
                f"scale_by_em transforms the gradient of a mixture's leaves, not of {coordinates} "
                'coordinates: pass coordinates="leaves" to Gradient.'
            )
        total = jnp.asarray(total_weight, mixture.dtype)
        slope = jax.tree.map(jnp.subtract, updates, jax.grad(log_prior)(mixture, prior))
        sums = statistics_of_gradient(mixture, slope, total)
        moved = m_step_from(mixture, sums, prior).taken_from(mixture)
        # An absent component stays where it is: −inf − (−inf) is no step.
        base = jnp.where(mixture.present, mixture.logits, 0)
        logits = jnp.where(mixture.present, moved.logits, 0) - base
        step = jax.tree.map(jnp.subtract, moved, mixture)
        return Mixture(logits, step.means, step.covariance), state

    return optax.GradientTransformationExtraArgs(init, update)
