"""The interface between `fit` and an algorithm.

`Algorithm` is what an algorithm implements, and `Pass` is the `evaluate` argument of its moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..kernels.choice import Choice
from ..kernels.responsibilities import Rule
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate
from ..objective.m_step import Step
from ..objective.prior import Prior
from ..objective.statistics import Statistics, statistics_by_rules


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass over the rows: the `evaluate` argument of `Algorithm.move`.

    Attributes:
      rows: the rows, for algorithms that read them by themselves, such as minibatches.
      kernel: how a pass is computed (see `fit`).
      em_step: EM's step from the current mixture, which was computed for the stopping rule; None if
        it was not computed. An algorithm that starts with an EM step can use it.
      tolerance: the threshold of the stopping rule, or None.
    """

    rows: Rows
    kernel: str | Choice
    em_step: Step | None
    tolerance: jax.Array | None = None

    def __call__(self, mixture: Mixture) -> Statistics:
        """Compute the statistics at `mixture`, in one pass.

        Their log-likelihood has its first derivative with respect to the mixture.
        """
        return evaluate(mixture, self.rows, self.kernel)

    def by_rules(self, mixture: Mixture, *rules: Rule) -> tuple[Statistics, ...]:
        """Compute the statistics at `mixture` for several rules, in one pass.

        A rule says how responsibilities follow from the log-joint (see `kernels/responsibilities`).
        """
        return statistics_by_rules(mixture, self.rows, self.kernel, rules)


# Algorithms that do not read `rows` also accept a plain function. EM's step is then computed from
# the statistics.
Evaluate = Pass | Callable[[Mixture], Statistics]


class StoppingValues(NamedTuple):
    """What a stopping rule reads.

    Attributes:
      gain: () what the next step would gain per unit of row weight: EM's gain D.
      objective: () the objective now.
      previous: () the objective before the last move.
    """

    gain: jax.Array
    objective: jax.Array
    previous: jax.Array

    def unless(self, unfinished: jax.Array) -> StoppingValues:
        """Return values that meet no stopping rule where `unfinished` () is true."""
        gain = jnp.where(unfinished, jnp.inf, self.gain)
        return StoppingValues(gain, self.objective, jnp.where(unfinished, -jnp.inf, self.previous))


def stopping_values_of(algorithm: Any, state: Any, values: StoppingValues) -> StoppingValues:
    """Return what the stopping rule reads of an algorithm (see `Algorithm`) in this state."""
    own = getattr(algorithm, "stopping_values", None)
    return values if own is None else own(state, values)


class Algorithm(Protocol):
    """The interface that `fit` requires of an algorithm.

    An algorithm must be immutable and hashable by value (a frozen dataclass), so that an equal
    algorithm reuses the compiled program.

    Attributes:
      starts_without_pass: an optional class attribute, a `bool`, which is False if it is missing.
        If it is True, a fit makes no pass before the first move. The first move then gets
        placeholders for the state (zeros) and the statistics, together with a step
        `evaluate.em_step` that does not change the mixture. It must take this step and make the
        first pass; the fit does not count it as a step. The attribute is True for `EM`. A subclass
        of `EM` that overrides `move` has False, unless it declares the attribute itself.
      stopping_values: an optional method, which replaces what the stopping rule reads. It maps the
        state and the `StoppingValues` of EM to those of this algorithm. An algorithm defines it if
        it must not be stopped yet, or if it maximizes something else than the objective.
    """

    def init(self, mixture: Mixture, statistics: Statistics) -> Any:
        """Return the state before the first move: a pytree of arrays of fixed shapes."""

    def move(
        self,
        mixture: Mixture,
        state: Any,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, Any, Statistics, jax.Array | float]:
        """Make one move from the current mixture.

        Args:
          mixture: the current mixture.
          state: the algorithm's state.
          statistics: the statistics at `mixture`.
          evaluate: evaluate(mixture) makes one pass and returns the statistics at another mixture.
          prior: the prior of the objective, or None.

        Returns:
          The next mixture, the next state, the statistics *at the next mixture*, and the number of
          passes made. A move that is rejected returns the current mixture and its statistics.
        """
