"""`Histories`: the objective and the passes after each step of all lanes, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from .lane_programs import MOST_STEPS_IN_A_CALL


class Histories:
    """The histories of all lanes, which grow with the longest one.

    Attributes:
      objectives, passes: (lanes, steps) those after each step.
    """

    def __init__(self, lanes: int, dtype: np.dtype):
        self.objectives = np.zeros((lanes, MOST_STEPS_IN_A_CALL), dtype)
        self.passes = np.zeros(self.objectives.shape, np.float32)

    def begin(self, lanes: np.ndarray, objective: np.ndarray) -> None:
        """Record the first pass."""
        self.objectives[lanes, 0], self.passes[lanes, 0] = objective, 1

    def record(self, lanes: np.ndarray, before: Any, after: Any, objectives: Any, passes: Any):
        """Record the steps from `before` to `after` of the lanes."""
        while self.objectives.shape[1] <= after.max():
            double = lambda history: np.concatenate([history, np.zeros_like(history)], axis=1)
            self.objectives, self.passes = double(self.objectives), double(self.passes)
        was_made = np.arange(MOST_STEPS_IN_A_CALL)[None] < (after - before)[:, None]
        row, entry = np.nonzero(was_made)
        counted = before[row] + 1 + entry >= 0  # the M-step of a start is no step
        row, entry = row[counted], entry[counted]
        self.objectives[lanes[row], before[row] + 1 + entry] = objectives[row, entry]
        self.passes[lanes[row], before[row] + 1 + entry] = passes[row, entry]
