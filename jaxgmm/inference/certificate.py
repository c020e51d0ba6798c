"""`certificate`: what kind of point a mixture is, and how fast EM would leave or reach it.

Everything is measured in the free parameters about the mixture, in relative coordinates (see
`coordinates.Relative`): means in standard deviations of their component, covariances by factors
near the identity, each times the root of its weight. The logits' common shift, absent components
and covariances that nobody uses are no parameters. So no number depends on the data's units; the
objective is divided by the weight of the rows, so none depends on how many there are. In these
coordinates the complete-data information is the identity at a fixed point of EM (without a prior),
so the Hessian's largest eigenvalue is ρ − 1, and D is half the squared gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..data.robust_covariance import covariance_of
from ..data.rows import Rows
from ..internal import checks
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.eigenvalues import columns_of, extremes, project, spectral_radius, start_like
from ..numerics.products import matmul
from ..objective import prior as priors
from ..objective.curvature import RELATIVE, complete_information, free_directions, slope_of
from ..objective.m_step import m_step_from
from ..objective.prior import Prior, log_prior
from ..objective.statistics import about_mixture, statistics
from ..selection.spurious import doubts

# The Hessian takes some three passes for each parameter, up to this many.
MOST_PARAMETERS = 1000


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Certificate:
    """What `certificate` found; `print` shows it. Under vmap every field has a leading axis.

    Attributes:
      objective: () ℓ + log prior, in nats.
      log_likelihood: () ℓ, in nats.
      weight: () Σ w of the rows.
      n_parameters: () free parameters.
      gradient_norm: () of the objective per unit of weight, in the free relative coordinates.
      em_gain: () D(θ), as in `Fit`.
      smallest_eigenvalue, largest_eigenvalue: () of the Hessian of the objective per unit of
        weight, likewise; NaN where there are more than 1000 parameters.
      rate: () ρ, the spectral radius of the Jacobian of EM's map: near a maximum, each step of EM
        leaves a share ρ of the error, and ρ² of D. Above 1, EM leaves the point. Far from a
        stationary point it is no more than a hint.
      rate_error: () at a stationary point, an eigenvalue of the Jacobian lies within this of
        `rate`; the rate itself is much closer as a rule.
      few_rows, near_singular: (k,) booleans, components that are likely artifacts: small ones of
        less mass than d + 2 (a full covariance), or with a direction in which most of their
        variance is the prior's, or less than a millionth of the data's (see `spurious.Doubts`).
      tolerance: () of D, below which the mixture counts as stationary.
    """

    objective: jax.Array
    log_likelihood: jax.Array
    weight: jax.Array
    n_parameters: jax.Array
    gradient_norm: jax.Array
    em_gain: jax.Array
    smallest_eigenvalue: jax.Array
    largest_eigenvalue: jax.Array
    rate: jax.Array
    rate_error: jax.Array
    few_rows: jax.Array
    near_singular: jax.Array
    tolerance: jax.Array

    @property
    def verdict(self) -> str | np.ndarray:
        """One of

        "not stationary": D is not below the tolerance;
        "saddle": some direction curves up;
        "flat": the largest eigenvalue is 0 to rounding (the root of the dtype's), so that second
          derivatives do not decide;
        "maximum": every direction curves down. A local one, as always.

        Without eigenvalues, ρ decides (a saddle has ρ > 1). An array of them for a batch."""
        em_gain, top, rate = map(np.asarray, (self.em_gain, self.largest_eigenvalue, self.rate))
        noise = np.sqrt(np.finfo(em_gain.dtype).eps)
        unknown = np.isnan(top)
        top = np.where(unknown, rate - 1, top)
        noise = np.where(unknown, np.maximum(noise, self.rate_error), noise)
        words = np.select(
            [~(em_gain < np.asarray(self.tolerance)), top > noise, top >= -noise, top < -noise],
            ["not stationary", "saddle", "flat", "maximum"],
            "not stationary",
        )
        return words if words.ndim else str(words)

    @property
    def predicted_steps(self) -> np.ndarray:
        """() EM steps left until D < tolerance, as D falls by ρ² a step; infinite for ρ ≥ 1."""
        em_gain, tolerance, rate = self._numbers()
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.ceil(np.log(tolerance / em_gain) / (2 * np.log(np.clip(rate, 0, 1))))
        left = np.where(rate < 1, np.maximum(left, 1), np.inf)
        return np.where(em_gain < tolerance, 0.0, np.where(np.isnan(em_gain), np.nan, left))

    @property
    def gap(self) -> np.ndarray:
        """() about how many nats of objective EM would still gain, Σw · D/(1 − ρ): exact to second
        order if what is left lies in EM's slowest direction, and else too much. Infinite for
        ρ ≥ 1."""
        em_gain, _, rate = self._numbers()
        with np.errstate(divide="ignore"):
            return np.asarray(self.weight) * em_gain / np.maximum(1 - rate, 0)

    @property
    def spurious(self) -> np.ndarray:
        """Indices of the components that are likely artifacts."""
        return np.flatnonzero(np.asarray(self.few_rows) | np.asarray(self.near_singular))

    def _numbers(self):
        fields = (self.em_gain, self.tolerance, self.rate)
        return (np.asarray(value, np.float64) for value in fields)

    def __str__(self) -> str:
        if np.ndim(self.objective):
            return f"certificates of a batch {np.shape(self.objective)}: {self.verdict}"
        eigenvalues = f"{self.smallest_eigenvalue:.4g} to {self.largest_eigenvalue:.4g}"
        if np.isnan(self.largest_eigenvalue):
            eigenvalues = f"not computed: more than {MOST_PARAMETERS} parameters"
        left = f"{self.predicted_steps:.0f} more steps, about {self.gap:.1e} nats to gain"
        if not self.rate < 1:
            left = "no estimate: at a rate of 1 or more EM does not come nearer"
        reasons = (("few rows", self.few_rows), ("near-singular", self.near_singular))
        named = [
            f"component {i} ({', '.join(why for why, which in reasons if which[i])})"
            for i in self.spurious
        ]
        lines = {
            "objective": f"{self.objective:.4f} (log-likelihood {self.log_likelihood:.4f})",
            "gradient": f"{self.gradient_norm:.2e}, of {self.n_parameters} parameters",
            "D": f"{self.em_gain:.2e}",
            "curvature": eigenvalues,
            "EM's rate": f"{self.rate:.5f} ± {self.rate_error:.0e}",
            f"EM to D < {self.tolerance:.0e}": left,
            "spurious": ", ".join(named) or "none",
        }
        width = max(map(len, lines))
        return "\n".join(
            [self.verdict, *(f"  {name.ljust(width)}  {text}" for name, text in lines.items())]
        )


def certificate(
    mixture: Mixture,
    x,
    *,
    weight=None,
    prior: Prior | str | None = "default",
    tolerance: float = 1e-9,
    devices: Sequence | None = None,
) -> Certificate:
    """Says what kind of point of the objective ℓ + log prior a mixture is.

    Args:
      mixture: any mixture of any family, from `fit` or from elsewhere.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      prior: as in `fit`; give what the mixture was fitted with.
      tolerance: of D, below which the mixture counts as stationary; as in `fit`.
      devices: which devices share an array of many rows; all local ones by default.

    Returns:
      A `Certificate` in the wider dtype of mixture and x; its `verdict` is "maximum", "saddle",
      "flat" or "not stationary". The Hessian is exact: it takes some three passes for each of at
      most 1000 parameters, a few columns at a time; beyond, the verdict rests on EM's rate, which
      takes at most 60 products with EM's Jacobian, of some three passes each. In float32
      eigenvalues below 3e-4 cannot be told from 0: where it matters, give float64. Its numbers have
      derivatives in forward mode (`jax.jvp`); in reverse mode JAX refuses the loop for the rate.

    Raises:
      ValueError: as `fit`.

    (EM's Jacobian is I − I_c⁻¹ I_o of the complete and observed information: Dempster, Laird &
    Rubin 1977, sec. 3; Meng & Rubin 1991, JASA 86, sec. 2. Its leading eigenvalue is found in the
    Krylov space that power iteration runs through: Saad 2011, Numerical Methods for Large
    Eigenvalue Problems, sec. 6.2.)
    """
    mixture, data = open_for_mixture(mixture, x, weight, devices)
    prior = priors.resolve_prior(prior, data)
    tolerance = jnp.asarray(checks.not_negative(tolerance, "tolerance"), data.dtype)
    return data.compute(_certify, mixture, prior, tolerance, data.compute_once(covariance_of))[0]


def _certify(rows: Rows, mixture, prior, tolerance, covariance):
    """The certificate, and the Hessian (p, p) in relative coordinates, leaf after leaf."""
    # One kernel, the safe one: choosing inside the program would compile both.
    take_pass = lambda at: statistics(*about_mixture(at, rows), "whitened")
    sums = take_pass(mixture)
    total, step = jnp.sum(sums.mass), m_step_from(mixture, sums, prior)
    zero, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.zeros_like, mixture))

    def at(offsets):
        return RELATIVE.place(mixture, RELATIVE.local(mixture, unravel(offsets)))

    def slope(offsets, sums):
        return slope_of(at, offsets, sums, prior) / total

    def slope_and_step(offsets):
        """The gradient, and where EM's step leads: one pass."""
        here = at(offsets)
        sums = take_pass(here)
        after = RELATIVE.offsets(mixture, m_step_from(here, sums, prior).taken_from(here))
        return slope(offsets, sums), jax.flatten_util.ravel_pytree(after)[0]

    derivative = lambda along: jax.jvp(slope_and_step, (zero,), (along,))[1]
    free, shift = free_directions(mixture)
    gradient = project(slope(zero, sums), free, shift)
    if len(zero) > MOST_PARAMETERS:
        hessian, (smallest, largest) = None, jnp.full(2, jnp.nan, zero.dtype)
        em = lambda along: derivative(along)[1]
    else:
        hessian, columns = columns_of(derivative, zero)
        smallest, largest = extremes(hessian, free, shift)
        columns = jnp.where(free[:, None] > 0, columns, 0)
        em = lambda along: matmul(along, columns)

    # Scaled by the root of the complete information, EM's Jacobian is symmetric at a fixed point.
    scale = complete_information(mixture, sums, prior) ** 0.5
    unit = shift * scale / jnp.linalg.norm(shift * scale)
    product = lambda along: project(scale * em(along / scale), free, unit)
    rate, error = spectral_radius(product, project(start_like(zero), free, unit))
    k, broadcast = mixture.n_components, lambda doubt: jnp.broadcast_to(doubt, (k,))
    steps = jnp.zeros_like(mixture.means[0])  # those of the rows are not known here
    found = doubts(mixture, sums, covariance, prior, steps)
    few, tight = (broadcast(doubt) & mixture.present for doubt in found[:2])
    value = sums.log_likelihood + log_prior(mixture, prior)
    found = Certificate(
        value, sums.log_likelihood, total, jnp.sum(free, dtype=jnp.int32) - 1,
        jnp.linalg.norm(gradient), step.em_gain, smallest, largest, rate, error, few, tight,
        tolerance,
    )  # fmt: skip
    return found, hessian
