"""`Estimate`: a value with its standard error."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ..internal.pytrees import pytree


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Estimate:
    """An estimate and its standard error.

    An estimate is a pytree. Under vmap every field has a leading axis.

    Attributes:
      value: the estimate: () for a Monte-Carlo estimate; for `Uncertainty.of(g)` any array or
        pytree, as g returns it.
      standard_error: like `value`, its standard deviation: over random keys for a Monte-Carlo
        estimate, or over data sets.
      covariance: (q, q) the covariance of the q numbers in `value`, or None.

    >>> jaxgmm.entropy(jax.random.key(0), jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]]))
    Estimate(1.41... ± 0.002...)
    """

    value: Any
    standard_error: Any
    covariance: jax.Array | None = None

    def __repr__(self) -> str:
        """Return the value and its standard error in one line."""
        if getattr(self.value, "shape", None) != () or isinstance(self.value, jax.core.Tracer):
            return f"Estimate({self.value!r} ± {self.standard_error!r})"
        return f"Estimate({float(self.value):.6g} ± {float(self.standard_error):.2g})"

    @classmethod
    def of_mean(cls, draws: jax.Array) -> Estimate:
        """Return the estimate of an expectation by the mean of n independent draws (n,)."""
        return cls(
            jnp.mean(draws), jnp.std(draws, ddof=1) / jnp.sqrt(len(draws)).astype(draws.dtype)
        )
