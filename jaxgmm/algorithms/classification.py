"""Classification EM: EM that assigns each row to one component."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ..kernels.responsibilities import most_probable, weighted_responsibilities
from ..mixture.mixture import Mixture
from ..objective.m_step import Step, m_step_from
from ..objective.objective_value import objective_value
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .protocol import Pass, StoppingValues


class _ClassificationState(NamedTuple):
    """The next M-step, and the classification objective now and before the last move."""

    step: Step
    objective: jax.Array
    previous: jax.Array


@dataclasses.dataclass(frozen=True)
class Classification:
    """Classification EM (CEM): EM in which each row belongs to its most probable component.

    It maximizes the classification likelihood Σ w max_k log(π_k N(x; μ_k, Σ_k)) + log prior, which
    never falls, instead of ℓ + log prior. With equal weights and one variance for all components
    and features (family "EII", and a prior with a large `concentration`), it is the k-means
    algorithm of Lloyd.

    A fit reports ℓ, the objective and EM's gain at the mixtures that CEM visits, as for every other
    algorithm. There the objective may fall, and EM's gain does not go to 0, because a maximum of
    the classification likelihood is not one of the likelihood: components are too narrow where they
    overlap. The stopping rule reads the classification objective in place of the objective, and in
    place of EM's gain what the next step would gain in it, per unit of row weight. That is 0 up to
    rounding once assignments no longer change.

    Each move makes one pass. The first move does not change the mixture, because its pass assigns
    the rows for the first time. A component to which no row is assigned becomes absent.

    Source: Celeux & Govaert 1992, Computational Statistics & Data Analysis 14, sec. 3.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.Classification())
    >>> bool(found.converged), bool(found.passes == found.steps + 1)
    (True, True)
    """

    name: ClassVar[str] = "classification em"

    def init(self, mixture: Mixture, statistics: Statistics) -> _ClassificationState:
        """Return a state whose first step does not change the mixture."""
        unknown = jnp.full((), -jnp.inf, mixture.dtype)
        return _ClassificationState(Step.zero(mixture), unknown, unknown)

    def stopping_values(
        self, state: _ClassificationState, values: StoppingValues
    ) -> StoppingValues:
        """Return the classification objective, and what the next step gains in it."""
        return StoppingValues(state.step.em_gain, state.objective, state.previous)

    def move(
        self,
        mixture: Mixture,
        state: _ClassificationState,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, _ClassificationState, Statistics, int]:
        """Take the M-step of the assignments, then assign the rows again in one pass."""
        moved = state.step.after
        sums, assigned = evaluate.by_rules(moved, weighted_responsibilities, most_probable)
        after = _ClassificationState(
            step=m_step_from(moved, assigned, prior),
            objective=objective_value(moved, assigned, prior),
            previous=state.objective,
        )
        return moved, after, sums, 1
