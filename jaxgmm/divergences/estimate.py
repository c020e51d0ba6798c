"""`Estimate`: a number from random draws, with its standard error."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Estimate:
    """A Monte-Carlo estimate and its standard error.

    An estimate is a pytree. Under vmap every field has a leading axis.

    Attributes:
      value: () the estimate.
      standard_error: () the standard deviation of the estimate over random keys.

    >>> jaxgmm.entropy(jax.random.key(0), jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]]))
    Estimate(1.41... ± 0.002...)
    """

    value: jax.Array
    standard_error: jax.Array

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
