"""How a fit ended."""

from __future__ import annotations

import enum

RUNNING = -1  # inside a loop: the fit has not ended


class Status(enum.IntEnum):
    """How a fit ended, for each lane of a batch.

    CONVERGED: the stopping rule was met, for what the algorithm maximizes.
    MAX_STEPS: the fit made max_steps steps before the stopping rule was met.
    NONFINITE: a step led to NaN or infinity. The mixture is the last finite one.
    DEGENERATE: a component of the returned mixture has no rows, or the next step shrinks its
      covariance below the rounding error of the data (a constant or collinear column, identical
      rows, a component on fewer rows than it needs). The likelihood has no maximum there.
    DROPPED: `sweep` stopped the fit early, because other starts had reached a higher objective.

    >>> jaxgmm.Status(2).name
    'NONFINITE'
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    DEGENERATE = 3
    DROPPED = 4
