"""`solution`: a fitted mixture as a differentiable function; the derivatives of `Fit`."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..data.arrays import ArrayData
from ..data.sources import Data
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.implicit_derivatives import Solved, attach_derivatives, attach_derivatives_of_data
from ..objective.prior import Prior
from .result import Fit


def solution(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
) -> Mixture:
    """Return the same mixture as a differentiable function of the rows, weights and prior.

    The mixture is a maximum of the objective ℓ + log prior, from `fit`, a `sweep`, a file or
    another library. Its derivatives are those of the maximum, by the implicit function theorem.
    `fit` calls this for its own result.

    Args:
      mixture: a maximum of the objective. Its own derivative is 0: the maximum does not depend on
        where the search for it began.
      x: (n, d) rows: an array or `Blocks`; for `Shards` or a `Stream`, only derivatives with
        respect to the prior are available.
      weight: (n,) row weights, or None for ones.
      prior: the prior with which the mixture was fitted, as in `fit`. The default prior's own
        dependence on x and weight is included.

    Returns:
      The mixture, in the wider dtype of mixture and x. Where a derivative is taken, it is the
      mixture one Newton step further, which removes what the tolerance of a fit left: derivatives
      of any function of the result are those at the maximum. A derivative takes two passes over the
      rows that each cost about n p² operations for p parameters, in forward or reverse mode. For
      more than 1000 parameters and an array of rows, conjugate gradients solve the equations
      without a matrix. They need about 30 / √(1 − ρ) products with the information, each of three
      passes, where ρ is EM's rate. Second derivatives, `jit` and `vmap` work. Derivatives are NaN
      where the mixture is a saddle or the objective is flat; conjugate gradients may not notice a
      saddle that is symmetric in the rows. Those of a mixture that has not converged are of the
      linearized problem.

    Raises:
      ValueError: as in `fit`.

    Source: Blondel et al. 2022, Efficient and Modular Implicit Differentiation, NeurIPS 35.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2)).mixture
    >>> mean = lambda shift: jaxgmm.solution(found, x + shift).means[0, 0]
    >>> print(f"{jax.grad(mean)(0.0):.2f}")
    1.00
    """
    mixture, data = open_for_mixture(mixture, x, weight)
    prior = priors.resolve_prior(prior, data)
    if not checks.traced(data, prior):
        return mixture
    zero = jnp.zeros((), mixture.dtype)
    return _attach(Solved(mixture, zero, zero), data, prior).mixture


def with_derivatives(result: Fit, data: Data, prior: Prior | None) -> Fit:
    """Return a fit whose mixture, log-likelihood and objective have their derivatives."""
    if not checks.traced(data, prior):
        return result
    solved = Solved(result.mixture, result.log_likelihood, result.objective)
    return dataclasses.replace(result, **_attach(solved, data, prior)._asdict())


# Under jit, so that a derivative is one program.
_attach_to_array = jax.jit(attach_derivatives, static_argnums=0)


def _attach(solved: Solved, data: Data, prior: Prior | None) -> Solved:
    if isinstance(data, ArrayData):
        layout = data.rows_per_block, data.columns
        return _attach_to_array(layout, solved, (data.x, data.weight, prior))
    return attach_derivatives_of_data(data, solved, prior)
