"""EM as an optax gradient transformation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]  # optax ships no type information
from jax.typing import ArrayLike

from ..families.has_whitening_factor import HasWhiteningFactor
from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import statistics_of_gradient
from ..objective.m_step import m_step_from
from ..objective.prior import Prior, log_prior


def scale_by_em(
    total_weight: ArrayLike, prior: Prior | None = None
) -> optax.GradientTransformationExtraArgs:
    """Return an optax transformation that turns a gradient into EM's step.

    The gradient is that of the objective with respect to a `Mixture`'s leaves, and the step is
    m_step(params) − params.

    By Fisher's identity, the gradient determines the E-step's statistics once Σ w is known, and the
    M-step needs nothing else. Applied alone, the update is therefore EM, equal in every step up to
    rounding. It can be combined with other optax transformations, such as momentum, a schedule or a
    line search.

    In the expectation parameters (π, πμ, π(Σ + μμᵀ)), EM's step is exactly the gradient times a
    positive definite matrix (Xu & Jordan 1996, Neural Computation 8, theorem 1). The leaves are not
    linear in these parameters, so for them this is true to first order near a fixed point. The
    update is hence not linear in the gradient. It needs the full gradient of the sum over all rows,
    which must not be scaled, clipped or averaged.

    Args:
      total_weight: Σ w of the rows; the number of rows if they have no weights.
      prior: the `Prior` of the objective log_likelihood(mixture, x) + log_prior(mixture, prior);
        None for maximum likelihood.

    Returns:
      A transformation without state. Its `update` takes the gradient *of the objective itself*,
      which is maximized, and needs `params`, the mixture. For the gradient of a loss
      −objective / Σ w, put `optax.scale(-total_weight)` before it.

      For a fit, use `Gradient(optax.chain(optax.scale(-n), scale_by_em(n)), coordinates="leaves")`.
      The prior of the fit then replaces `prior`.

    Raises:
      ValueError: if `total_weight` is not positive. `update` raises it if params are not a
        mixture, in a fit whose coordinates are not the leaves, or for a family whose leaves are not
        whitening factors.

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
    prior_of_objective = prior

    def init(params: Any) -> Any:
        return optax.EmptyState()

    def update(
        updates: Any, state: Any, params: Any = None, *, at: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        # In a fit, params are offsets, and rows and prior are relative to another center.
        mixture, prior, coordinates = (params, prior_of_objective, "leaves") if at is None else at
        if not isinstance(mixture, Mixture):
            raise ValueError(
                "scale_by_em needs params, a Mixture: call update(gradient, state, params)."
            )
        if coordinates != "leaves":
            raise ValueError(
                f"scale_by_em transforms the gradient of a mixture's leaves, not of {coordinates} "
                'coordinates: pass coordinates="leaves" to Gradient.'
            )
        if not isinstance(mixture.covariance, HasWhiteningFactor):
            raise ValueError(
                f"scale_by_em needs statistics from a gradient, and those of family "
                f"{mixture.family!r} do not follow from it: use EM() instead."
            )
        total = jnp.asarray(total_weight, mixture.dtype)
        gradient = jax.tree.map(jnp.subtract, updates, jax.grad(log_prior)(mixture, prior))
        sums = statistics_of_gradient(mixture, gradient, total)
        moved = m_step_from(mixture, sums, prior).after
        # The logit of an absent component does not change; −inf − (−inf) would be NaN.
        base = jnp.where(mixture.present, mixture.logits, 0)
        logits = jnp.where(mixture.present, moved.logits, 0) - base
        step = jax.tree.map(jnp.subtract, moved, mixture)
        return Mixture(logits, step.means, step.covariance), state

    return optax.GradientTransformationExtraArgs(init, update)
