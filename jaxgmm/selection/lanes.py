"""`Lanes`: every climb of a sweep, on the host, and which of them stand side by side.

Groups of lanes go through the programs of `programs.py`, filled with those that still climb, so
that a lane that has ended costs nothing, whatever K and whichever fold it has.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from ..fitting.status import RUNNING, Status
from ..fitting.step import FitState
from ..internal.compiling import LITTLE_TO_RUN
from ..internal.trees import pack, unpack
from ..kernels.natural import SAFE_ROUNDING
from .lane_programs import (
    MOST_STEPS_IN_A_CALL,
    LaneData,
    LaneMove,
    LaneReport,
    LaneSettings,
    LaneStart,
    Moved,
    lane_of,
)

MOST_LANES = 64
# Each lane of a group keeps a few numbers per row while it starts (and weights, where there are
# folds): they may take this much.
ROW_BYTES = 1 << 30
# A second, smaller group is worth compiling where a step of the larger one computes this much.
WORTH_COMPILING = 1e8
# While lanes climb, the natural kernel may add this much rounding to a log-density; to its end each
# goes under SAFE_ROUNDING.
CLIMBING_ROUNDING = 5e-2
# A step of MOST_LANES that computes less than this takes its time to call small functions, whatever
# they compute. Beyond, the natural kernel is the faster one, and on CPUs half as many lanes are as
# fast, and wait less for the last of them.
LITTLE_WORK = 1e6
# Seconds between two reports of progress, unless a step takes longer: each is a call of a program.
REPORT_SECONDS = 0.1
COMPILED: set = set()  # (plan, shape, dtype, structure of the data) of the programs there are


class Lanes:
    """Every lane, on the host.

    Attributes:
      climb, report: a `Climb` and a `Report` of arrays with a leading axis of lanes. A lane that
        was not begun is DROPPED, with objective −inf.
      frame: the `Frame` of the data.
      objectives, passes: (lanes, steps) the histories.
      seconds: (lanes,) time of each lane; that of lanes side by side is shared by passes.
      compile_seconds: what the programs took to compile.
      pace: seconds of a step of the group that moved last.
    """

    def __init__(
        self, plan: LaneSettings, data: LaneData, n_components, restart, fold, on_progress=None
    ):
        n, d = data.x.shape
        self.data = jax.device_put(data, jax.NamedSharding(plan.mesh, P()))
        self.plan, self.tolerance = plan, np.asarray(data.tolerance)
        self.safe = SAFE_ROUNDING[str(data.x.dtype)]
        self.n_components, self.restart, self.fold = n_components, restart, fold
        self.on_progress, self.pace = on_progress, np.inf
        self.frame = None
        self.seconds, self.compile_seconds = np.zeros(len(fold)), 0.0

        of_a_lane = n * plan.k * d * (d + 1)  # what a step computes, about
        of_a_step = MOST_LANES * of_a_lane
        much, cpu = of_a_step >= LITTLE_WORK, plan.mesh.devices.flat[0].platform == "cpu"
        # A grid over K is mostly run once.
        quickly = cpu and of_a_step < LITTLE_TO_RUN and len(set(n_components)) > 1
        halved = much and cpu
        room = max(1, ROW_BYTES // (n * 4 * data.x.dtype.itemsize))
        most = min(MOST_LANES // (2 if halved else 1), room, -(-len(fold) // plan.mesh.size))
        shared = much and plan.kernel == "auto"
        plan = dataclasses.replace(
            plan, lanes=most, quickly=quickly, products=shared and cpu and not quickly
        )
        self.large = self.small = plan
        if self.large.size * of_a_lane >= WORTH_COMPILING:
            self.small = dataclasses.replace(plan, lanes=max(1, most // 8))
        self.climbing = CLIMBING_ROUNDING if shared else self.safe

        dtype = np.dtype(data.x.dtype)
        empty = lambda leaf: np.zeros((len(fold), *leaf.shape), leaf.dtype)
        self.one = lane_of(plan, d, dtype)
        self.climb = jax.tree.map(empty, self.one[FitState])
        self.climb.status[:], self.climb.objective[:] = Status.DROPPED, -np.inf
        self.climb.sums.log_likelihood[:] = -np.inf
        zeros = np.zeros(len(fold), dtype)
        none = np.zeros((len(fold), plan.k), bool)
        self.report = LaneReport(zeros, none, none.copy(), zeros.copy(), zeros.copy())
        self.objectives = np.zeros((len(fold), MOST_STEPS_IN_A_CALL), dtype)
        self.passes = np.zeros(self.objectives.shape, np.float32)

    @property
    def running(self) -> np.ndarray:
        """Which lanes still climb."""
        return self.climb.status == RUNNING

    def drop(self, lanes) -> None:
        """Stops those of the lanes that still climb."""
        self.climb.status[lanes[self.running[lanes]]] = Status.DROPPED

    def resume(self, lanes) -> None:
        """Lets lanes that were stopped climb on."""
        self.climb.status[lanes] = RUNNING

    def begin(self, lanes: np.ndarray, parent=None, component=None) -> None:
        """Starts the lanes, each by its restart's key, or by splitting a component of lane
        `parent` (arrays as long as `lanes`)."""
        plan = self.large
        splits = parent is not None
        if not splits:  # not looked at
            parent = component = np.zeros(len(lanes), np.int32)
        for first in range(0, len(lanes), plan.size):
            began = time.perf_counter()
            group, own = _deal(np.arange(first, min(first + plan.size, len(lanes))), plan)
            chosen = lanes[group]
            task = LaneStart(
                self.n_components[chosen], self.restart[chosen], self.fold[chosen],
                _take(self.climb.mixture, parent[group]), component[group].astype(np.int32),
            )  # fmt: skip
            task = pack(task, np)
            if self._is_new(plan):
                self._compile(plan, task, splits)
                began = time.perf_counter()
            self.frame, made = jax.device_get(plan.begin(plan, self.data, task, splits))
            climb, around = _take(
                unpack(made, (self.one[FitState], self.one[LaneMove].tolerance)), own
            )
            _put(self.climb, chosen[own], climb)
            self.report.rounding[chosen[own]] = around
            self.objectives[chosen[own], 0] = climb.objective
            self.passes[chosen[own], 0] = 1
            self._charge(chosen[own], climb.passes, began)
        ended = lanes[~self.running[lanes]]  # where they began, without a report
        for first in range(0, len(ended), plan.size):
            part = ended[first : first + plan.size]
            self._advance(plan, part, self.climb.steps[part], 0, self.safe)

    def run(self, lanes: np.ndarray, steps: int | None = None) -> None:
        """Moves the lanes on, by `steps` steps at the most, or to their end.

        They climb by the natural kernel even where its rounding shows, until a step gains less than
        that; those that it may have misled go to their end without it."""
        if steps is not None:
            self._run(lanes, np.maximum(self.climb.steps[lanes], 0) + steps, self.climbing)
            return
        everything = np.full(len(lanes), int(self.data.max_steps))
        if self.climbing > self.safe:
            self._run(lanes, everything - 1, self.climbing)
            misled = (self.report.rounding > self.safe) & (self.climb.status == Status.CONVERGED)
            misled &= self.climb.steps < everything[0]
            self.resume(lanes[misled[lanes]])
        self._run(lanes, everything, self.safe)

    def _run(self, lanes: np.ndarray, goals: np.ndarray, limit: float) -> None:
        goal = np.zeros(len(self.fold), np.int32)
        goal[lanes] = goals
        waiting = lanes[np.argsort(self.report.rounding[lanes], kind="stable")]
        while True:
            unfinished = self.running[waiting] & (self.climb.steps[waiting] < goal[waiting])
            waiting = waiting[unfinished]
            if not len(waiting):
                return
            plan = self.small if len(waiting) <= self.small.size else self.large
            group = waiting[: plan.size]
            # Once half of a group has ended, others take their places; few need only a small one.
            leave = plan.size // 2 if len(waiting) > plan.size else 0
            if leave == 0 and plan is not self.small and len(waiting) > self.small.size:
                leave = self.small.size
            made = np.maximum(self.climb.steps[group], 0)  # −1 before the first pass
            at_once = np.clip(3 * made, 16, MOST_STEPS_IN_A_CALL)
            if self.on_progress:
                soon = np.clip(REPORT_SECONDS / self.pace, 1, MOST_STEPS_IN_A_CALL)
                at_once = np.minimum(at_once, soon.astype(np.int32))
            until = np.minimum(goal[group], made + at_once)
            self._advance(plan, group, until, leave // plan.mesh.size, limit)
            # Those that waited come first, and all move on together.
            waiting = np.concatenate([waiting[plan.size :], group])
            if self.on_progress:
                self.on_progress(self)

    def _advance(self, plan: LaneSettings, lanes, until, leave, limit) -> None:
        group, own = _deal(np.arange(len(lanes)), plan)
        chosen = lanes[group]
        before = _take(self.climb, chosen)
        until = np.where(np.isin(np.arange(plan.size), own), until[group], -1).astype(np.int32)
        around = self.report.rounding[chosen]
        # Below this gain, steps by a kernel of such rounding wander.
        shown = (around / 10) ** 2 if limit > self.safe else 0 * around
        tolerance = np.maximum(self.tolerance, shown).astype(around.dtype)
        move = pack(LaneMove(before, self.fold[chosen], tolerance, until), np)
        natural = bool(around.max() <= limit)
        given = plan, self.data, self.frame, natural, np.int32(leave), move
        began = time.perf_counter()
        if self._is_new(plan):  # the small one, whose lanes have begun
            plan.advance.lower(*given).compile()
            self.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        moved = unpack(jax.device_get(plan.advance(*given)), self.one[Moved])
        end, report, objectives, passes = _take(moved, own)
        _put((self.climb, self.report), chosen[own], (end, report))
        self._record(chosen[own], before.steps[own], end.steps, objectives, passes)
        self.pace = (time.perf_counter() - began) / max(1, (end.steps - before.steps[own]).max())
        self._charge(chosen[own], end.passes - before.passes[own], began)

    def _record(self, lanes, before, after, objectives, passes) -> None:
        """Adds the steps that were made to the histories."""
        while self.objectives.shape[1] <= after.max():
            double = lambda history: np.concatenate([history, np.zeros_like(history)], axis=1)
            self.objectives, self.passes = double(self.objectives), double(self.passes)
        made = np.arange(MOST_STEPS_IN_A_CALL)[None] < (after - before)[:, None]
        row, entry = np.nonzero(made)
        self.objectives[lanes[row], before[row] + 1 + entry] = objectives[made]
        self.passes[lanes[row], before[row] + 1 + entry] = passes[made]

    def _is_new(self, plan: LaneSettings) -> bool:
        """Whether the plan's programs were not compiled for such data before; from now on they
        are."""
        x = self.data.x
        compiled = plan, x.shape, x.dtype, jax.tree.structure(self.data)
        is_new = compiled not in COMPILED
        COMPILED.add(compiled)
        return is_new

    def _compile(self, plan: LaneSettings, task: dict, splits: bool) -> None:
        """Compiles both programs at once: XLA uses one core for half of its time."""
        began = time.perf_counter()
        first = plan.begin.lower(plan, self.data, task, splits)
        frame, _ = first.out_info
        lanes = lambda leaf: np.zeros((plan.size, *leaf.shape), leaf.dtype)
        move = pack(jax.tree.map(lanes, self.one[LaneMove]), np)
        with concurrent.futures.ThreadPoolExecutor(1) as aside:
            compiled = aside.submit(first.compile)
            plan.advance.lower(plan, self.data, frame, True, np.int32(0), move).compile()
            compiled.result()
        self.compile_seconds += time.perf_counter() - began

    def _charge(self, lanes, passes, began) -> None:
        """Books the time since `began` to the lanes by the passes that each made."""
        seconds = time.perf_counter() - began
        share = passes if passes.any() else np.ones(len(lanes))
        self.seconds[lanes] += seconds * share / share.sum()


def _deal(lanes: np.ndarray, plan: LaneSettings) -> tuple[np.ndarray, np.ndarray]:
    """A full group of these lanes, dealt to the devices in turn, the first standing in where there
    are too few; and the places of the others, once each."""
    filled = np.concatenate([lanes, np.repeat(lanes[:1], plan.size - len(lanes))])
    order = np.arange(plan.size).reshape(-1, plan.mesh.size).T.ravel()
    return filled[order], np.flatnonzero(order < len(lanes))


def _take(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _put(tree, index, values) -> None:
    jax.tree.map(lambda leaf, new: leaf.__setitem__(index, new), tree, values)
