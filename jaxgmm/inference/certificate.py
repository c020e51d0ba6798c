"""`certificate`: what kind of point a mixture is, and EM's rate of convergence there.

All numbers refer to the free parameters around the mixture, in relative coordinates (see
`coordinates.Relative`): means in standard deviations of their component, and covariances as factors
near the identity, each multiplied by the square root of the component's weight. The common shift of
all logits, absent components, unused covariances and rotations of factors are not free parameters.
The numbers therefore do not depend on the data's units. The objective is divided by the total
weight of the rows, so they do not depend on the number of rows either. At a fixed point of EM
without a prior, the complete-data information is the identity in these coordinates, unless the
family constrains the covariances in more ways than full, tied, diagonal and spherical ones do. The
Hessian's largest eigenvalue is then ρ − 1, and D is half the squared norm of the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from numpy.typing import ArrayLike

from ..data.rows import Rows
from ..families.has_whitening_factor import HasWhiteningFactor
from ..fitting.spurious import doubts
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.eigenvalues import (
    Held,
    n_free,
    project,
    scaled_curvature,
    spectral_radius,
    start_like,
)
from ..numerics.extreme_eigenvalues import largest_eigenvalue, smallest_eigenvalue
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.curvature import (
    RELATIVE,
    complete_information,
    free_directions,
    orthonormal,
    slope_of,
)
from ..objective.data_covariance import data_covariance
from ..objective.expected_derivatives import offsets_of
from ..objective.information import dtype_of_moments, information, numbers_in_information
from ..objective.m_step import m_step_from
from ..objective.newton_system import inverse_on_free
from ..objective.objective_value import objective_value
from ..objective.prior import Prior
from ..objective.statistics import about_mixture, statistics
from .certificate_result import MOST_PARAMETERS, Certificate


def certificate(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    tolerance: jax.Array | float = 1e-9,
    devices: Sequence[jax.Device] | None = None,
) -> Certificate:
    """Determine what kind of point of the objective ℓ + log prior a mixture is.

    Args:
      mixture: any mixture of any family, from `fit` or from elsewhere.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      prior: the prior with which the mixture was fitted; the same options as in `fit`.
      tolerance: the bound of D below which the mixture counts as stationary, as in `fit`.
      devices: the devices over which an array of many rows is divided; all local devices by
        default.

    Returns:
      A `Certificate` in the wider dtype of mixture and x. Its `verdict` is "maximum", "saddle",
      "flat" or "not stationary".

      The Hessian is exact. It comes from one pass over the rows, by Louis' identity (see
      `jaxgmm.objective.information`). At a maximum with more than 20 parameters, its largest
      eigenvalue has a relative error of about 1e-10, and its smallest one of about 1e-6. If there
      are more than 3000 parameters, the verdict is based on EM's rate instead, which takes at most
      60 products with EM's Jacobian, of about three passes each. In float32, eigenvalues below 3e-4
      cannot be distinguished from 0; use float64 if this matters.
      The numbers are differentiable in forward mode (`jax.jvp`). JAX does not support reverse mode
      for the loop that computes the rate.

    Raises:
      ValueError: as in `fit`.

    Source: EM's Jacobian is I − I_c⁻¹ I_o, from the complete-data and the observed information
    (Dempster, Laird & Rubin 1977, sec. 3; Meng & Rubin 1991, JASA 86, sec. 2). Its leading
    eigenvalue is computed by a Krylov method (Saad 2011, Numerical Methods for Large Eigenvalue
    Problems, sec. 6.2).
    """
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    prior = priors.resolve_prior(prior, data)
    tolerance = jnp.asarray(checks.not_negative(tolerance, "tolerance"), data.dtype)
    covariance = data.compute_once(data_covariance)
    numbers = numbers_in_information(mixture, data.n)
    operands = mixture, prior, tolerance, covariance
    moments = dtype_of_moments(mixture, data.n)
    return data.compute_once(_certify, *operands, numbers=numbers, moments=moments)[0]


def _certify(
    rows: Rows,
    mixture: Mixture,
    prior: Prior | None,
    tolerance: jax.Array,
    covariance: jax.Array,
    moments: str | None = None,
) -> tuple[Certificate, jax.Array | None]:
    """Return the certificate, and the Hessian (p, p) in relative coordinates.

    The Hessian's order is that of the mixture's leaves; it is None if there are too many
    parameters.
    """
    # The whitened kernel is always accurate. A choice inside the program would compile both.
    take_pass = lambda at: statistics(*about_mixture(at, rows), "whitened")
    zero, mixture_at = offsets_of(mixture)
    free, shift = free_directions(mixture)
    hessian, smallest, largest = None, *jnp.full(2, jnp.nan, zero.dtype)
    if len(zero) > MOST_PARAMETERS:
        sums = take_pass(mixture)
        total = jnp.sum(sums.mass)
        gradient = slope_of(mixture_at, zero, sums, prior) / total
    else:
        found = information(rows, mixture, prior, scores=False, moments=moments)
        sums, total = found.sums, jnp.sum(found.sums.mass)
        gradient, hessian = found.gradient / total, -found.observed / total
        held = Held(free, shift)
        inverse = inverse_on_free(found.observed, held)
        smallest = -largest_eigenvalue(found.observed, held, inverse) / total
        largest = -smallest_eigenvalue(found.observed, held, inverse) / total
    step, gradient = m_step_from(mixture, sums, prior), project(gradient, free, shift)

    def em_step(offsets: jax.Array) -> jax.Array:
        """Return the offsets after EM's step, from one pass."""
        here = mixture_at(offsets)
        after = m_step_from(here, take_pass(here), prior).after
        return ravel_pytree(RELATIVE.offsets(mixture, after))[0]

    # At a fixed point, EM's Jacobian is symmetric when it is scaled by the square root of the
    # complete-data information, which is a diagonal matrix if the family has no constraints.
    scale = complete_information(mixture, sums, prior) ** 0.5
    if hessian is None:
        unit = orthonormal(shift * scale[None])
        along = lambda direction: jax.jvp(em_step, (zero,), (direction,))[1]
        product = lambda vector: project(scale * along(vector / scale), free, unit)
    elif isinstance(mixture.covariance, HasWhiteningFactor):
        unit = orthonormal(shift * scale[None])
        scaled = hessian / (scale[:, None] * scale[None])
        product = lambda vector: project(vector + matmul(vector, scaled), free, unit)
    else:
        scaled, unit = scaled_curvature(hessian, found.complete / total, free, shift), shift
        product = lambda vector: project(vector + matmul(vector, scaled), free, unit)
    rate, error = spectral_radius(product, project(start_like(zero), free, unit))
    steps = jnp.zeros_like(mixture.means[0])  # The steps between the rows' values are unknown here.
    signs = doubts(mixture, sums, covariance, prior, steps)
    for_each = lambda sign: jnp.broadcast_to(sign, (mixture.n_components,)) & mixture.present
    certificate = Certificate(
        objective=objective_value(mixture, sums, prior),
        log_likelihood=sums.log_likelihood,
        weight=total,
        n_parameters=n_free(free, shift),
        gradient_norm=jnp.linalg.norm(gradient),
        em_gain=step.em_gain,
        smallest_eigenvalue=smallest,
        largest_eigenvalue=largest,
        rate=rate,
        rate_error=error,
        few_rows=for_each(signs.few_rows),
        near_singular=for_each(signs.near_singular),
        tolerance=tolerance,
    )
    return certificate, hessian
