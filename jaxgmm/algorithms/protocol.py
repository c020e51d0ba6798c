"""What `fit` asks of an algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax

from ..data.rows import Rows
from ..kernels.choice import Choice
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import evaluate
from ..objective.m_step import Step
from ..objective.prior import Prior
from ..objective.statistics import Statistics


class Algorithm(Protocol):
    """What `fit` asks of a method. Frozen and hashable by value, so that building an equal one
    again does not compile again."""

    def init(self, mixture: Mixture, statistics: Statistics) -> Any:
        """The state before the first move: a pytree of arrays of fixed shape."""

    def move(
        self,
        mixture: Mixture,
        state: Any,
        statistics: Statistics,
        evaluate: Callable[[Mixture], Statistics],
        prior: Prior | None,
    ) -> tuple[Mixture, Any, Statistics, jax.Array | float]:
        """One move from an accepted mixture with its statistics.

        `evaluate` is one pass over the rows; the log-likelihood it returns carries its gradient
        with respect to the mixture. Returns the next accepted mixture, the state, the statistics
        *of that mixture*, and how many passes were made.

        `evaluate.em_step` is EM's step from `mixture`, which the stopping rule has computed (None
        if it has not). A move that is not taken returns what it was given."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """What `Algorithm.move` gets for `evaluate`."""

    rows: Rows
    kernel: str | Choice
    em_step: Step | None

    def __call__(self, mixture: Mixture) -> Statistics:
        """One pass over the rows."""
        return evaluate(mixture, self.rows, self.kernel)
