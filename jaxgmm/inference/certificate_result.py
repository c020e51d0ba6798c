"""`Certificate`: the kind of a point, and EM's rate of convergence there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np

from ..internal.pytrees import pytree

# With more parameters than this, the Hessian is not computed.
MOST_PARAMETERS = 3000


@pytree
@dataclasses.dataclass(frozen=True)
class Certificate:
    """The result of `certificate`; `print` shows it.

    Under vmap every field has a leading axis.

    Attributes:
      objective: () ℓ + log prior, in nats.
      log_likelihood: () ℓ, in nats.
      weight: () Σ w, the total weight of the rows.
      n_parameters: () the number of free parameters.
      gradient_norm: () the norm of the gradient of the objective per unit of row weight, in the
        free relative coordinates.
      em_gain: () EM's gain D(θ), as in `Fit`.
      smallest_eigenvalue: () the smallest eigenvalue of the Hessian of the objective per unit of
        row weight, in the free relative coordinates; NaN if there are more than 3000 parameters.
      largest_eigenvalue: () the largest eigenvalue of this Hessian, or NaN.
      rate: () ρ, the spectral radius of the Jacobian of EM's map. Near a maximum, each EM step
        multiplies the error by ρ, and D by ρ². If ρ is above 1, EM moves away from the point. Far
        from a stationary point, ρ is only a hint.
      rate_error: () a bound: at a stationary point, the Jacobian has an eigenvalue within this
        distance of `rate`. The error of the rate is usually much smaller.
      few_rows: (k,) booleans for components that are likely artifacts because they are small and
        their mass is below d + 2 (for a full covariance). See `spurious.Doubts`.
      near_singular: (k,) booleans for components that are likely artifacts because in some
        direction, most of their variance comes from the prior, or their variance is below a
        millionth of the data's. See `spurious.Doubts`.
      tolerance: () the bound of D below which the mixture counts as stationary.
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
        """The kind of point, as one of four words; for a batch, an array of them.

        - "not stationary": D is not below the tolerance.
        - "saddle": the objective curves up in some direction.
        - "flat": the largest eigenvalue is 0 up to rounding (the square root of the dtype's eps),
          so second derivatives cannot decide.
        - "maximum": the objective curves down in every direction. The maximum is a local one.

        If there are no eigenvalues, ρ decides: ρ > 1 at a saddle.
        """
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
        """() EM steps until D < tolerance, each multiplying D by ρ²; infinite for ρ ≥ 1."""
        em_gain, tolerance, rate = self._numbers()
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.ceil(np.log(tolerance / em_gain) / (2 * np.log(np.clip(rate, 0, 1))))
        steps = np.where(rate < 1, np.maximum(steps, 1), np.inf)
        return np.where(em_gain < tolerance, 0.0, np.where(np.isnan(em_gain), np.nan, steps))

    @property
    def gap(self) -> np.ndarray:
        """() estimate of the objective that EM would still gain, Σw · D/(1 − ρ), in nats.

        It is exact to second order if the remaining error lies in EM's slowest direction, and too
        large otherwise. It is infinite for ρ ≥ 1.
        """
        em_gain, _, rate = self._numbers()
        with np.errstate(divide="ignore"):
            return np.asarray(self.weight) * em_gain / np.maximum(1 - rate, 0)

    @property
    def spurious(self) -> np.ndarray:
        """Indices of the components that are likely artifacts."""
        return np.flatnonzero(np.asarray(self.few_rows) | np.asarray(self.near_singular))

    def _numbers(self) -> Iterator[np.ndarray]:
        """Return D, the tolerance and ρ in float64."""
        fields = (self.em_gain, self.tolerance, self.rate)
        return (np.asarray(value, np.float64) for value in fields)

    def __str__(self) -> str:
        if np.ndim(self.objective):
            return f"certificates of a batch {np.shape(self.objective)}: {self.verdict}"
        eigenvalues = f"{self.smallest_eigenvalue:.4g} to {self.largest_eigenvalue:.4g}"
        if np.isnan(self.largest_eigenvalue):
            eigenvalues = f"not computed: more than {MOST_PARAMETERS} parameters"
        remaining = f"{self.predicted_steps:.0f} more steps, about {self.gap:.1e} nats to gain"
        if not self.rate < 1:
            remaining = "no estimate: EM does not converge at a rate of 1 or more"
        reasons = (("few rows", self.few_rows), ("near-singular", self.near_singular))
        named = [
            f"component {i} ({', '.join(reason for reason, flags in reasons if flags[i])})"
            for i in self.spurious
        ]
        lines = {
            "objective": f"{self.objective:.4f} (log-likelihood {self.log_likelihood:.4f})",
            "gradient": f"{self.gradient_norm:.2e}, of {self.n_parameters} parameters",
            "D": f"{self.em_gain:.2e}",
            "curvature": eigenvalues,
            "EM's rate": f"{self.rate:.5f} ± {self.rate_error:.0e}",
            f"EM to D < {self.tolerance:.0e}": remaining,
            "spurious": ", ".join(named) or "none",
        }
        width = max(map(len, lines))
        return "\n".join(
            [str(self.verdict), *(f"  {name.ljust(width)}  {text}" for name, text in lines.items())]
        )
