"""`Fit`, the result of `fit`."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..internal import checks
from ..mixture.mixture import Mixture
from .status import Status


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Fit:
    """The result of `fit`; under vmap every field has a leading axis of lanes.

    Attributes:
      mixture: the last accepted mixture; always finite, unless the start was not.
      log_likelihood: () ℓ of `mixture`, in nats.
      objective: () ℓ + log prior of `mixture`: what was climbed.
      steps: () moves made.
      passes: () passes over the rows, the first evaluation of the start included; a float, since
        a method may pass over a part of them.
      status: () a `Status` value.
      em_gain: () D(θ) of `mixture`: what one more EM step would gain in the expected complete-data
        objective, per unit of row weight; 0 exactly at a fixed point of EM, and NaN or infinite
        where that step collapses.
      history: (steps + 1,) objective at the start and after each step. Under jit or vmap
        (max_steps + 1,), the last value repeated.
      history_passes: like history, passes made up to each.
    """

    mixture: Mixture
    log_likelihood: jax.Array
    objective: jax.Array
    steps: jax.Array
    passes: jax.Array
    status: jax.Array
    em_gain: jax.Array
    history: jax.Array
    history_passes: jax.Array

    @property
    def converged(self) -> jax.Array:
        """() boolean: the stopping rule was met."""
        return self.status == Status.CONVERGED

    @property
    def _readable(self) -> bool:
        """Whether the leaves are values: not tracers, nor the axes or names of a tree like this."""
        return hasattr(self.status, "dtype") and not checks.traced(self)

    def __repr__(self) -> str:
        if jnp.ndim(self.status) or not self._readable:
            return f"Fit({self.mixture!r})"
        ended, objective = Status(int(self.status)).name, float(self.objective)
        return f"Fit({self.mixture!r}: {ended}, objective {objective:.2f})"

    def __str__(self) -> str:
        return self.summary() if self._readable else repr(self)

    def summary(self, x=None, *, weight=None, features=None) -> str:
        """The fit as text; with the rows x, also what they are needed for: n, BIC, ICL and the
        components' sizes. See `jaxgmm.summary`."""
        from ..reports.summary import summary

        return summary(self, x, weight=weight, features=features)
