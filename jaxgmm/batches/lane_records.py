"""The records that the programs for lanes take and return.

Their leaves are JAX arrays inside the programs, NumPy arrays on the host, and shapes in `lane_of`:
hence the annotation `Any`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..objective.prior import Prior


class LaneData(NamedTuple):
    """What all lanes share.

    x (n, d), or packed rows that are not fully observed, whose features are `filled` (n, d).
    fold (n,) is None, or the number from 1 of the fold that leaves a row out; steps (d,) is
    documented in `spurious.spacing_of`.
    """

    x: Any
    weight: Any
    fold: Any
    steps: Any
    prior: Prior | None
    tolerance: Any
    max_steps: Any
    key: Any
    filled: Any = None


class LaneConstants(NamedTuple):
    """What `prepare` computes once from the rows.

    `covariance` and `prior` have a leading axis of folds. Fold 0 leaves nothing out.
    """

    center: Any
    resolution: Any
    covariance: Any
    prior: Prior | None


class LaneStart(NamedTuple):
    """Where lanes start: from a restart's key, or from a parent with one component split.

    `code` is that of the lane's family (see `universal.py`), or None if all lanes have one class.
    """

    n_components: Any
    restart: Any
    fold: Any
    parent: Any
    component: Any
    code: Any


class LaneMove(NamedTuple):
    """Lanes to advance, each to `limit` steps in all or to a gain below its tolerance."""

    fit_state: Any
    fold: Any
    tolerance: Any
    limit: Any


class LaneReport(NamedTuple):
    """What is computed of each lane in addition to its state.

    Attributes:
      entropy: entropy of the responsibilities.
      artifact, outlier: (k,) which components are artifacts or outliers (see `spurious.Doubts`).
      held_out: log-likelihood of the rows that the lane's fold leaves out.
      rounding: bound on the rounding error of the natural kernel at the lane's mixture; 0 if all
        lanes use another one.
    """

    entropy: Any
    artifact: Any
    outlier: Any
    held_out: Any
    rounding: Any


class LaneOutcome(NamedTuple):
    """What `advance` returns of each lane.

    `objectives` and `passes` (MOST_STEPS_IN_A_CALL,) are those after each step of the call.
    """

    fit_state: Any
    report: Any
    objectives: Any
    passes: Any
