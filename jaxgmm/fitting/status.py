"""How a fit ended."""

from __future__ import annotations

import enum

RUNNING = -1  # inside loops: has not ended


class Status(enum.IntEnum):
    """How a fit ended, for each lane of a batch.

    CONVERGED: the stopping rule was met.
    MAX_STEPS: max_steps were made first.
    NONFINITE: a step led to NaN or infinity; the mixture is the last finite one.
    DEGENERATE: from the mixture returned, a component empties, or its covariance collapses to less
      than the data can resolve (a constant or collinear column, identical rows, a component on
      fewer rows than it needs): the likelihood has no maximum there.
    DROPPED: `sweep` stopped it early, since other starts had come farther.

    >>> jaxgmm.Status(2).name
    'NONFINITE'
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    DEGENERATE = 3
    DROPPED = 4
