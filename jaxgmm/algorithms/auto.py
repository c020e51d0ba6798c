"""`Auto`: EM while it is quick, and L-BFGS where EM would take long."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]  # optax ships no type information

from ..internal import checks
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..objective.statistics import Statistics
from .em import EM, em_step
from .gradient import Gradient
from .protocol import Pass
from .switching import SwitchingState, Then

# Early gains, or a single small fall, say little about EM's rate at the optimum. L-BFGS takes over
# after this many moves at least, of which the last were all forecast to be slow.
LEAST_MOVES, SLOW_MOVES = 3, 2
# The forecast is for EM's gain to fall below the tolerance, or below this if that is smaller. Under
# the other stopping rules the tolerance is no bound of EM's gain.
FORECAST_TO = 1e-9

_THEN = Then(EM(), Gradient(optax.lbfgs))


class AutoState(NamedTuple):
    """`slow` is the number of moves in succession after which EM was forecast to take long."""

    slow: jax.Array
    switching: SwitchingState


@dataclasses.dataclass(frozen=True)
class Auto:
    """EM while it is quick, and L-BFGS in relative coordinates once EM would take long.

    Near an optimum, EM's gain D falls by a constant factor in each step. Two gains in succession
    therefore forecast, without further passes, how many steps EM needs until D is below the
    tolerance. If the forecast exceeds `patience` twice in succession, L-BFGS takes over from the
    mixture that EM reached. Its number of passes depends much less on how strongly the components
    overlap than EM's does. Like every method but EM, it may end at another optimum than EM would,
    which may be lower or higher.

    Args:
      patience: the number of further EM steps above which L-BFGS takes over.

    Raises:
      ValueError: if `patience` is not positive.

    Source: Redner & Walker 1984, SIAM Review 26, sec. 5, recommend EM followed by a quasi-Newton
    method.

    >>> x = jaxgmm.simulate(jax.random.key(0), 500, 2, 2, separation=1.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> passes = [jaxgmm.fit(x, start, a).passes for a in (jaxgmm.Auto(), jaxgmm.EM())]
    >>> bool(passes[0] < passes[1])
    True
    """

    patience: float = 15.0

    def __post_init__(self) -> None:
        checks.positive(self.patience, "patience")
        object.__setattr__(self, "patience", float(self.patience))

    def init(self, mixture: Mixture, statistics: Statistics) -> AutoState:
        """Return the state before the first EM step."""
        return AutoState(jnp.int32(0), _THEN.init(mixture, statistics))

    def move(
        self,
        mixture: Mixture,
        state: AutoState,
        statistics: Statistics,
        evaluate: Pass,
        prior: Prior | None,
    ) -> tuple[Mixture, AutoState, Statistics, jax.Array]:
        """Make a move of EM, or of L-BFGS after the switch."""
        gain = em_step(mixture, statistics, evaluate, prior).em_gain
        previous = state.switching.previous
        is_slow = steps_to_go(gain, previous, evaluate.tolerance) > self.patience
        slow = jnp.where(is_slow & jnp.isfinite(previous), state.slow + 1, 0)
        ready = (slow >= SLOW_MOVES) & (state.switching.moves >= LEAST_MOVES)
        moved, switching, sums, passes = _THEN.switch_and_move(
            mixture, state.switching, statistics, evaluate, prior, ready, gain
        )
        return moved, AutoState(slow, switching), sums, passes


def steps_to_go(gain: jax.Array, previous: jax.Array, tolerance: jax.Array | None) -> jax.Array:
    """Return how many EM steps remain until D is below the tolerance, if it falls as it just did.

    It is infinite if D did not fall.
    """
    goal = FORECAST_TO if tolerance is None else jnp.minimum(tolerance, FORECAST_TO)
    fall = jnp.log(previous / gain)
    falls = fall > 0
    return jnp.where(falls, jnp.log(gain / goal) / jnp.where(falls, fall, 1), jnp.inf)
