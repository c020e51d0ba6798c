"""Two algorithms in succession, such as EM while it is fast and then a quasi-Newton method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import cast_like, where
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import em_step
from .protocol import Algorithm, Pass, StoppingValues, stopping_values_of


@dataclasses.dataclass(frozen=True)
class GainBelow:
    """A rule for `Then`: switch when EM's gain D(θ) is below a threshold.

    Then EM has made most of its progress (Redner & Walker 1984, SIAM Review 26, sec. 5).

    Args:
      threshold: the threshold of D(θ), in nats per unit of row weight.

    Raises:
      ValueError: if the threshold is negative.

    >>> bool(jaxgmm.GainBelow(1e-3)(2e-4, 3e-4))
    True
    """

    threshold: float = 1e-3

    def __post_init__(self) -> None:
        checks.not_negative(self.threshold, "threshold")

    def __call__(self, em_gain: jax.Array, previous: jax.Array) -> jax.Array:
        """Return whether to switch, from D now and D before the last move."""
        return em_gain < self.threshold


@dataclasses.dataclass(frozen=True)
class SlowerThan:
    """A rule for `Then`: switch when EM's convergence rate is above a limit.

    The rate is estimated by √(D / previous D). Near an optimum, each EM step multiplies the
    distance to it by the rate, which is the fraction of missing information. Salakhutdinov, Roweis
    & Ghahramani 2003, ICML, estimate it by the entropy of the responsibilities instead.

    Args:
      rate: the limit, in [0, 1].

    Raises:
      ValueError: if the rate is not in [0, 1].

    >>> bool(jaxgmm.SlowerThan(0.9)(0.95, 1.0))  # √0.95 > 0.9
    True
    """

    rate: float = 0.9

    def __post_init__(self) -> None:
        checks.between(self.rate, "rate", 0, 1)

    def __call__(self, em_gain: jax.Array, previous: jax.Array) -> jax.Array:
        """Return whether to switch, from D now and D before the last move."""
        return em_gain > self.rate**2 * previous


class SwitchingState(NamedTuple):
    """`previous` is D before the last move; `first` and `second` are the algorithms' states."""

    switched: jax.Array
    previous: jax.Array
    moves: jax.Array
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Then:
    """Two algorithms in succession: `first` until a rule is met, then `second`.

    Args:
      first: the first algorithm, e.g. `EM()`.
      second: the second algorithm, e.g. `Gradient(optax.lbfgs)`. It starts from the mixture that
        the first one reached, and is never switched back.
      when: the rule, a hashable function of (D now, D before the last move) that returns a boolean,
        such as `SlowerThan(0.9)` or `GainBelow(1e-3)`. D is EM's gain.
      least: the minimum number of moves that `first` makes.

    Under vmap, both algorithms are computed at every move, and one result is used.

    Raises:
      ValueError: if `first` or `second` is not an algorithm, `when` is not a function, or `least`
        is not a whole number, 0 or more.

    >>> jaxgmm.Then(jaxgmm.EM(), jaxgmm.Gradient(optax.lbfgs), when=jaxgmm.SlowerThan(0.8)).name
    'EM then lbfgs'
    """

    first: Algorithm
    second: Algorithm
    when: Callable[[jax.Array, jax.Array], jax.Array] = SlowerThan()
    least: int = 5

    def __post_init__(self) -> None:
        checks.algorithm(self.first)
        checks.algorithm(self.second)
        checks.whole(self.least, "least", 0)
        if not callable(self.when):
            raise ValueError(f"when is {self.when!r}: pass a rule such as SlowerThan(0.9).")

    @property
    def name(self) -> str:
        """The name in tables."""
        first, second = (getattr(a, "name", type(a).__name__) for a in (self.first, self.second))
        return f"{first} then {second}"

    def init(self, mixture: Mixture, statistics: Statistics) -> SwitchingState:
        """Return the initial states of both algorithms."""
        return SwitchingState(
            switched=jnp.array(False),
            previous=jnp.full((), jnp.inf, mixture.dtype),
            moves=jnp.int32(0),
            first=self.first.init(mixture, statistics),
            second=self.second.init(mixture, statistics),
        )

    def move(
        self,
        mixture: Mixture,
        state: SwitchingState,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, SwitchingState, Statistics, jax.Array]:
        """Make a move of the current algorithm, after switching if the rule is met."""
        em_gain = em_step(mixture, statistics, evaluate, prior).em_gain
        ready = (state.moves >= self.least) & self.when(em_gain, state.previous)
        switches = ready & ~state.switched
        second_state = where(switches, self.second.init(mixture, statistics), state.second)
        switched = state.switched | switches

        def move_by(algorithm: Algorithm, inner: Any) -> tuple[Mixture, Any, Statistics, jax.Array]:
            moved, inner_after, sums, passes = algorithm.move(
                mixture, inner, statistics, evaluate, prior
            )
            # Both branches of `cond` must return the same dtypes.
            moved, sums = cast_like((moved, sums), (mixture, statistics))
            return moved, cast_like(inner_after, inner), sums, jnp.asarray(passes, jnp.float32)

        def move_by_first() -> tuple[Mixture, Any, Any, Statistics, jax.Array]:
            moved, first, sums, passes = move_by(self.first, state.first)
            return moved, first, second_state, sums, passes

        def move_by_second() -> tuple[Mixture, Any, Any, Statistics, jax.Array]:
            moved, second, sums, passes = move_by(self.second, second_state)
            return moved, state.first, second, sums, passes

        moved, first, second, sums, passes = jax.lax.cond(switched, move_by_second, move_by_first)
        state = SwitchingState(switched, em_gain, state.moves + 1, first, second)
        return moved, state, sums, passes

    def stopping_values(self, state: SwitchingState, values: StoppingValues) -> StoppingValues:
        """Return what the stopping rule reads of the current algorithm."""
        first = stopping_values_of(self.first, state.first, values)
        second = stopping_values_of(self.second, state.second, values)
        return where(state.switched, second, first)
