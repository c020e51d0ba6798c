"""One algorithm, then another: EM while it is quick, a quasi-Newton method once it is slow."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..internal import checks
from ..internal.trees import cast_like, where
from ..mixture.mixture import Mixture
from ..objective.statistics import Statistics
from .em import em_step
from .protocol import Algorithm


@dataclasses.dataclass(frozen=True)
class GainBelow:
    """Switch once D(θ), what one EM step would gain per unit of row weight, is under `threshold`
    nats: most of the climb is over (Redner & Walker 1984, SIAM Review 26, sec. 5). Raises
    ValueError for a negative threshold.

    >>> bool(jaxgmm.GainBelow(1e-3)(2e-4, 3e-4))
    True
    """

    threshold: float = 1e-3

    def __post_init__(self):
        checks.not_negative(self.threshold, "threshold")

    def __call__(self, gain: jax.Array, previous: jax.Array) -> jax.Array:
        """Whether to switch, at D = gain; D was `previous` a move ago."""
        return gain < self.threshold


@dataclasses.dataclass(frozen=True)
class SlowerThan:
    """Switch once EM's rate, for which √(D/previous D) stands, is over `rate`: near an optimum each
    EM step leaves that share of the distance, the share of information that is missing
    (Salakhutdinov, Roweis & Ghahramani 2003, ICML, which judge it by the responsibilities'
    entropy). Raises ValueError for a rate that is not in [0, 1].

    >>> bool(jaxgmm.SlowerThan(0.9)(0.95, 1.0))  # √0.95 > 0.9
    True
    """

    rate: float = 0.9

    def __post_init__(self):
        checks.between(self.rate, "rate", 0, 1)

    def __call__(self, gain: jax.Array, previous: jax.Array) -> jax.Array:
        """Whether to switch, at D = gain; D was `previous` a move ago."""
        return gain > self.rate**2 * previous


class _SwitchingState(NamedTuple):
    switched: jax.Array
    previous: jax.Array
    moves: jax.Array
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Then:
    """`first` until `when` says so, and `second` from there to the end.

    Args:
      first, second: algorithms, e.g. Then(EM(), Gradient(optax.lbfgs)).
      when: a hashable function of (D now, D a move ago) → boolean, such as `SlowerThan(0.9)` or
        `GainBelow(1e-3)`.
      least: moves that `first` makes in any case.

    Under vmap both algorithms are computed at every move, and one is kept.

    Raises:
      ValueError: for something that is not an algorithm or not a function.

    >>> jaxgmm.Then(jaxgmm.EM(), jaxgmm.Gradient(optax.lbfgs), when=jaxgmm.SlowerThan(0.8)).name
    'EM then lbfgs'
    """

    first: Algorithm
    second: Algorithm
    when: Any = SlowerThan()
    least: int = 5

    def __post_init__(self):
        checks.algorithm(self.first)
        checks.algorithm(self.second)
        checks.whole(self.least, "least", 0)
        if not callable(self.when):
            raise ValueError(f"when is {self.when!r}: pass a rule such as SlowerThan(0.9).")

    @property
    def name(self) -> str:
        """How tables call it."""
        first, second = (getattr(a, "name", type(a).__name__) for a in (self.first, self.second))
        return f"{first} then {second}"

    def init(self, mixture: Mixture, statistics: Statistics) -> _SwitchingState:
        """Both at their start, the first at work."""
        return _SwitchingState(
            jnp.array(False), jnp.full((), jnp.inf, mixture.dtype), jnp.int32(0),
            self.first.init(mixture, statistics), self.second.init(mixture, statistics),
        )  # fmt: skip

    def move(
        self, mixture: Mixture, state: _SwitchingState, statistics: Statistics, evaluate, prior
    ):
        """A move of the one whose turn it is."""
        gain = em_step(mixture, statistics, evaluate, prior).em_gain
        ready = (state.moves >= self.least) & self.when(gain, state.previous)
        begins = ready & ~state.switched
        fresh = self.second.init(mixture, statistics)
        second_state = where(begins, fresh, state.second)
        switched = state.switched | begins

        def take(algorithm, own, other, order):
            moved, own_after, sums, passes = algorithm.move(
                mixture, own, statistics, evaluate, prior
            )
            states = order(cast_like(own_after, own), other)
            moved, sums = cast_like((moved, sums), (mixture, statistics))
            return moved, states, sums, jnp.asarray(passes, jnp.float32)

        moved, (first, second), sums, passes = jax.lax.cond(
            switched,
            lambda: take(self.second, second_state, state.first, lambda own, other: (other, own)),
            lambda: take(self.first, state.first, second_state, lambda own, other: (own, other)),
        )
        return moved, _SwitchingState(switched, gain, state.moves + 1, first, second), sums, passes
