"""The path of the best mixtures for each value of a function g, from a maximum outwards.

On the path, the objective is at a maximum among the mixtures with the same value of g. The search
is for the point at which the objective has fallen by a given amount. Where the objective is nearly
quadratic, Newton's method finds it in one attempt. Where that fails, the path is followed in steps
along its tangent, and Newton's method leads each of them back to the path. A step that ends too far
from the path is halved. Where the path itself ends, because its maximum merges with a saddle, a
short step leads to another maximum with the same value of g, and the path goes on from there.

Source: Allgower & Georg 1990, Numerical Continuation Methods, ch. 2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..fitting.status import RUNNING, Status
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..objective.expected_derivatives import offsets_of
from .profile_equations import Equations, Problem, evaluate, inner

# Passes for one end, and for one attempt to reach a point of the path or, where the path ends,
# another maximum.
MOST_PASSES, PASSES_OF_ATTEMPT, PASSES_OF_SEARCH = 200, 8, 40
# Lengths of steps along the path, in relative coordinates.
LONGEST, SHORTEST = 0.5, 0.04
# A point is on the path if Newton's step is shorter than this part of the step along the path.
NEAR = 0.1
# A component with fewer rows than this cannot change the objective by more than as many nats.
FEWEST_ROWS = 1e-3


class Tangent(NamedTuple):
    """A point of the path, and how the path goes on from it.

    Attributes:
      mixture: the point.
      value: () the value of g there.
      direction: (p,) the unit vector along the path, in relative coordinates about the point.
    """

    mixture: Mixture
    value: jax.Array
    direction: jax.Array

    def follow(self, length: jax.Array) -> Mixture:
        """Return the mixture at this length along the tangent."""
        return offsets_of(self.mixture)[1](length * self.direction)


class _State(NamedTuple):
    """An attempt to reach a point of the path.

    Attributes:
      status: () how the search ended, or RUNNING.
      passes: () the passes so far.
      tries: () those of this attempt.
      mixture: where Newton's method is.
      to_end: () whether the attempt is to reach the end; otherwise the value `aim` of g.
      aim: () see `to_end`.
      base: the last point of the path before the end.
      size: () the length of the step along the path.
      radius: () the length of the longest step of Newton's method.
      excess: () the excess at the previous try, see `Equations`.
      highest: () the largest excess at a point of the path.
    """

    status: jax.Array
    passes: jax.Array
    tries: jax.Array
    mixture: Mixture
    to_end: jax.Array
    aim: jax.Array
    base: Tangent
    size: jax.Array
    radius: jax.Array
    excess: jax.Array
    highest: jax.Array

    @property
    def is_shortest(self) -> jax.Array:
        """Whether the step along the path is not to be halved again."""
        return self.size <= SHORTEST

    def attempt(
        self, problem: Problem, base: Tangent, length: jax.Array, to_end: jax.Array
    ) -> _State:
        """Return the first try at a length along a tangent of the path."""
        mixture = base.follow(length)
        return self._replace(
            tries=jnp.int32(0),
            mixture=mixture,
            to_end=to_end,
            aim=problem.g(mixture),
            base=base,
            size=jnp.abs(length),
            radius=jnp.full_like(length, LONGEST),
            excess=jnp.full_like(length, -jnp.inf),
        )


class End(NamedTuple):
    """The end of a path.

    Attributes:
      value: () the value of g, or NaN if the end was not found.
      status: () a `Status`.
      passes: () passes over the rows.
      gain: () by how much the objective on the path exceeds the one at the estimate.
    """

    value: jax.Array
    status: jax.Array
    passes: jax.Array
    gain: jax.Array


def find_end(problem: Problem, start: Tangent, length: jax.Array) -> End:
    """Follow the path to its end.

    Args:
      problem: the path and its end.
      start: the tangent at the estimate.
      length: () where the end is in a quadratic approximation of the objective; NaN if the
        estimate is no maximum.
    """
    none, fall = jnp.int32(0), problem.quantile**2 / 2
    status = jnp.where(jnp.isfinite(length), RUNNING, Status.NONFINITE).astype(jnp.int32)
    begin = _State(
        status=status, passes=none, tries=none, mixture=start.mixture,
        to_end=jnp.array(True), aim=start.value, base=start, size=length, radius=length,
        excess=fall, highest=fall,
    )  # fmt: skip
    begin = begin.attempt(problem, start, jnp.minimum(length, LONGEST), begin.to_end)
    unfinished = lambda state: state.status == RUNNING
    end = jax.lax.while_loop(unfinished, lambda state: _advance(problem, state), begin)
    value = jnp.where(end.status == Status.CONVERGED, problem.g(end.mixture), jnp.nan)
    return End(value, end.status, end.passes, end.highest - fall)


def _advance(problem: Problem, state: _State) -> _State:
    """Take a pass, and end, continue or repeat the attempt."""
    found = evaluate(problem, state.mixture)
    step = where(state.to_end, found.step_to_end(), found.step_to_value(state.aim))
    length = jnp.linalg.norm(step)
    missing = jnp.linalg.norm(jnp.append(found.across, found.excess))
    arrived = jnp.where(state.to_end, missing <= problem.noise, length <= NEAR * state.size)
    most = jnp.where(state.is_shortest, PASSES_OF_SEARCH, PASSES_OF_ATTEMPT)
    failed = jnp.where(arrived, ~_is_right(problem, state, found), state.tries >= most)
    failed |= ~jnp.isfinite(length) | ~jnp.isfinite(found.excess)
    failed |= ~state.to_end & ~state.is_shortest & (length > state.size)

    again = state.attempt(problem, state.base, state.size / 2, jnp.array(False))
    ahead = where(state.to_end, state, _go_on(problem, state, found))
    following = where(arrived, ahead, _newton(problem, state, found, step))
    following = where(failed, again, following)
    ended = jnp.where(state.to_end, Status.CONVERGED, RUNNING)
    no_end = ~state.to_end & (found.fewest_rows < FEWEST_ROWS) & (found.excess > 0)
    ended = jnp.where(no_end, Status.DEGENERATE, ended)
    status = jnp.where(arrived, ended, RUNNING)
    status = jnp.where(failed, jnp.where(state.is_shortest, Status.MAX_STEPS, RUNNING), status)
    passes = state.passes + 1
    status = jnp.where((status == RUNNING) & (passes >= MOST_PASSES), Status.MAX_STEPS, status)
    return following._replace(passes=passes, status=status.astype(jnp.int32))


def _is_right(problem: Problem, state: _State, found: Equations) -> jax.Array:
    """Return whether a solution of the equations is a point of the path, or its end."""
    outwards = problem.sign * (found.value - state.base.value) > 0
    falling = problem.sign * found.by_normal < 0
    return found.maximum & outwards & (falling | ~state.to_end)


def _newton(problem: Problem, state: _State, found: Equations, step: jax.Array) -> _State:
    """Return the state after a step, shorter where the objective was lower than the try before."""
    lower = ~state.to_end & (found.excess < state.excess - problem.noise)
    radius = jnp.where(lower, state.radius / 2, jnp.minimum(2 * state.radius, LONGEST))
    shorter = step * jnp.minimum(1, radius / jnp.linalg.norm(step))
    return state._replace(
        mixture=offsets_of(state.mixture)[1](shorter),
        tries=state.tries + 1,
        radius=radius,
        excess=found.excess,
    )


def _go_on(problem: Problem, state: _State, found: Equations) -> _State:
    """Begin the next attempt at a point of the path, to the end if it is near."""
    direction = problem.sign * found.along / jnp.linalg.norm(found.along)
    base = Tangent(state.mixture, found.value, direction)
    # Along the path, the square root of twice the fall of the objective is nearly linear.
    root = jnp.sqrt(jnp.maximum(problem.quantile**2 - 2 * found.excess, 0))
    fall = -inner(found.gradient, direction)
    rest = jnp.where((fall > 0) & (root > 0), (problem.quantile - root) * root / fall, jnp.inf)
    size = jnp.minimum(2 * state.size, LONGEST)
    following = state.attempt(problem, base, jnp.minimum(rest, size), rest <= size)
    # If the way back from behind the end fails, a shorter step begins before the end.
    before = following._replace(base=state.base, size=state.size)
    following = where(found.excess < 0, before, following)
    return following._replace(highest=jnp.maximum(state.highest, found.excess))
