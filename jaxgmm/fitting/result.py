"""`Fit`, the result of `fit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..internal import checks
from ..internal.pytrees import pytree
from ..mixture.mixture import Mixture
from .status import Status


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Fit:
    """The result of `fit`; under vmap every field has a leading axis of lanes.

    Attributes:
      mixture: the last accepted mixture. It is finite, unless the start was not.
      log_likelihood: () ℓ of `mixture`, in nats.
      objective: () ℓ + log prior of `mixture`, which the fit maximizes.
      steps: () number of steps made.
      passes: () number of passes over the rows, including the first evaluation of the start. It is
        a float, because an algorithm may pass over a part of the rows.
      status: () a `Status` value.
      em_gain: () D(θ) of `mixture`: the increase of the expected complete-data objective by one
        more EM step, per unit of row weight. It is exactly 0 at a fixed point of EM, and NaN or
        infinite where that step collapses.
      history: (steps + 1,) objective at the start and after each step. Under jit or vmap it is
        (max_steps + 1,), with the last value repeated.
      history_passes: like `history`, the number of passes made up to each entry.
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
        """Whether the stopping rule was met, as a boolean ()."""
        return self.status == Status.CONVERGED

    @property
    def _is_concrete(self) -> bool:
        """Whether the leaves are values, and not tracers or the axes of a vmap specification."""
        return hasattr(self.status, "dtype") and not checks.traced(self)

    def __repr__(self) -> str:
        if jnp.ndim(self.status) or not self._is_concrete:
            return f"Fit({self.mixture!r})"
        status, objective = Status(int(self.status)).name, float(self.objective)
        return f"Fit({self.mixture!r}: {status}, objective {objective:.2f})"

    def __str__(self) -> str:
        return self.summary() if self._is_concrete else repr(self)

    def summary(
        self,
        x: Any = None,
        *,
        weight: ArrayLike | None = None,
        features: Sequence[str] | None = None,
        errors: bool = False,
        prior: Any = "default",
    ) -> str:
        """Return the fit as text.

        With the rows `x`, the text also contains n, BIC, ICL and the components' sizes. See
        `jaxgmm.summary` for the arguments.
        """
        from ..reports.summary import summary

        return summary(self, x, weight=weight, features=features, errors=errors, prior=prior)
