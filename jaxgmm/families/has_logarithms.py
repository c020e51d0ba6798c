"""`HasLogarithms`: a family of which one leaf contains logarithms that depend on the unit."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax

from ..numerics.powers_of_two import add_logarithm_of_power
from .family import Family


class HasLogarithms(Family):
    """A family that contains each member in other units, with one leaf changed by a constant.

    Attributes:
      log_leaf: the name of the leaf, whose numbers grow by log c if all features are divided by c.
    """

    log_leaf: ClassVar[str]

    @property
    def logarithms(self) -> jax.Array:
        """The leaf that `log_leaf` names."""
        return getattr(self, self.log_leaf)

    def rescale(self, exponent: int) -> Any:
        """Return the covariances of features times 2 to the power `exponent`."""
        logarithms = add_logarithm_of_power(self.logarithms, -exponent)
        return dataclasses.replace(self, **{self.log_leaf: logarithms})  # type: ignore[type-var]
