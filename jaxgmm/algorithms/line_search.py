"""A line search that uses exact slopes, for a function that is maximized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..objective.objective_value import rounding_error

# A trial is accepted if the value rises by SUFFICIENT of what the slope at 0 promises, and if the
# slope there is at most FLAT times that at 0 (the strong conditions of Wolfe).
SUFFICIENT, FLAT = 1e-4, 0.4

# The number of trials after which the best one is taken.
MOST_TRIALS = 10

# A trial within an interval keeps at least this fraction of it from both ends.
MARGIN = 0.1

# A trial beyond the interval extends it by a factor in this range.
LEAST_EXTENSION, MOST_EXTENSION = 1.0, 9.0


class Point(NamedTuple):
    """A point of a line: its length α, the value φ(α) and the slope φ'(α), each ()."""

    length: jax.Array
    value: jax.Array
    slope: jax.Array


class Search(NamedTuple):
    """The state of a line search.

    Attributes:
      low: the best point so far, where φ ascends towards `high`.
      high: the other end of an interval with acceptable points; its length is infinite if none is
        known, and it may be less than that of `low`.
      behind: the best point before `low`.
      length: () of the next trial.
      results: what the function returned at `low` beside the point.
      trials: () their number.
      done: () whether `low` is accepted.
    """

    low: Point
    high: Point
    behind: Point
    length: jax.Array
    results: Any
    trials: jax.Array
    done: jax.Array


def search_line(
    function: Callable[[jax.Array], tuple[Point, Any]],
    start: Point,
    results: Any,
    length: jax.Array,
    takes_first: jax.Array,
) -> Search:
    """Return the end of a line search, whose `low` is the best point found.

    Its value is not below that of `start`, up to rounding, and it is `start` itself if no trial was
    better.

    Args:
      function: returns the point at a length, and anything else that is known there.
      start: the point of length 0; its slope is positive.
      results: what is known at `start`, as `function` returns it.
      length: () of the first trial.
      takes_first: () whether the first trial is accepted whatever its value is.

    Source: Nocedal & Wright 2006, algorithms 3.5 and 3.6, eq. 3.59.
    """
    slack = rounding_error(start.value, start.value.dtype)

    def look(search: Search) -> Search:
        trial, new = function(search.length)
        low, high = search.low, search.high
        promised = start.value + SUFFICIENT * trial.length * start.slope
        # A value or slope that is NaN counts as a fall.
        rises = trial.value >= jnp.maximum(promised, low.value) - slack
        rises = (rises & jnp.isfinite(trial.slope)) | takes_first
        done = rises & ((jnp.abs(trial.slope) <= FLAT * start.slope) | takes_first)
        ascends_to_high = trial.slope * jnp.sign(high.length - trial.length) > 0
        new_low, new_results = where(rises, (trial, new), (low, search.results))
        new_high = where(rises, where(ascends_to_high, high, low), trial)
        behind = where(rises, low, search.behind)
        length = next_length(new_low, new_high, behind)
        return Search(new_low, new_high, behind, length, new_results, search.trials + 1, done)

    unknown = start._replace(length=jnp.full_like(start.length, jnp.inf))
    search = Search(start, unknown, start, length, results, jnp.int32(0), jnp.array(False))
    return jax.lax.while_loop(lambda s: ~s.done & (s.trials < MOST_TRIALS), look, search)


def next_length(low: Point, high: Point, behind: Point) -> jax.Array:
    """Return the length at which the slope is about 0, within the interval or beyond it."""
    bounded = jnp.isfinite(high.length)
    span = jnp.where(bounded, high.length - low.length, 1)
    # The top of the cubic through both values and slopes, as a fraction of the interval.
    near, far = -low.slope * span, -high.slope * span
    bend = 3 * (high.value - low.value) + near + far
    root = jnp.sqrt(jnp.maximum(bend**2 - near * far, 0))
    fraction = 1 - (far + root - bend) / (far - near + 2 * root)
    # What is not finite is replaced by the shortest step.
    fraction = jnp.where(fraction >= MARGIN, jnp.minimum(fraction, 1 - MARGIN), MARGIN)
    # Beyond the interval, from the slopes at the last two points.
    last = low.length - behind.length
    fall = behind.slope - low.slope
    extension = jnp.where(fall > 0, low.slope / jnp.where(fall > 0, fall, 1), jnp.inf)
    extension = jnp.clip(extension, LEAST_EXTENSION, MOST_EXTENSION)
    return jnp.where(bounded, low.length + fraction * span, low.length + extension * last)
