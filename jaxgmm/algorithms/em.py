"""EM, and the EM step that other algorithms build on."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from ..mixture.mixture import Mixture
from ..objective.m_step import Step, m_step_from
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .protocol import Evaluate, Pass


@dataclasses.dataclass(frozen=True)
class EM:
    """The expectation–maximization algorithm (EM).

    Each step is one M-step and one pass over the rows. The objective never decreases (Dempster,
    Laird & Rubin 1977, theorem 1).

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(1), x, 2), jaxgmm.EM())
    >>> bool(found.converged), bool((found.history[1:] - found.history[:-1] > -1e-2).all())
    (True, True)
    """

    starts_without_pass: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # A subclass with a `move` of its own may need statistics at its first move, so it does not
        # inherit `starts_without_pass`: it has to declare the attribute itself.
        super().__init_subclass__(**kwargs)
        declaring = next(base for base in cls.__mro__ if "starts_without_pass" in vars(base))
        if cls.move is not getattr(declaring, "move", None):
            cls.starts_without_pass = False

    def init(self, mixture: Mixture, statistics: Statistics) -> tuple:
        """Return the empty state."""
        return ()

    def move(
        self,
        mixture: Mixture,
        state: tuple,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, tuple, Statistics, int]:
        """Take the M-step, then make one pass."""
        moved = em_step(mixture, statistics, evaluate, prior).after
        return moved, state, evaluate(moved), 1


def em_step(
    mixture: Mixture, statistics: Statistics, evaluate: Evaluate, prior: Prior | None
) -> Step:
    """Return EM's step from `mixture`.

    The step in `evaluate.em_step` is used if there is one. Otherwise it is computed from the
    statistics.
    """
    known = evaluate.em_step if isinstance(evaluate, Pass) else None
    return m_step_from(mixture, statistics, prior) if known is None else known
