"""`Lanes`: all fits of a sweep, on the host, and the choice of those that run in one batch.

Groups of lanes go through the programs of `lane_programs.py`. A group is filled with lanes that
have not ended, whatever their K and fold, so that a lane that has ended costs nothing.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from ..families.universal import code_of_starts, starts_of_families, turns_axes
from ..fitting.status import RUNNING, Status
from ..fitting.step import FitState
from ..internal.trees import pack, put, take, unpack
from ..kernels.choice import kernel_position
from ..kernels.divide_into_cells import may_divide
from ..kernels.rounding_bounds import SAFE_ROUNDING
from .lane_batches import batches_of, fill_group, is_much_work
from .lane_histories import Histories
from .lane_programs import MOST_STEPS_IN_A_CALL, LaneSettings, lane_of
from .lane_records import LaneData, LaneMove, LaneOutcome, LaneStart

# Until a lane nears its end, the natural kernel may add this much rounding error to a log-density.
# The last steps of every lane use the bound SAFE_ROUNDING.
LOOSE_ROUNDING = 5e-2
# Least number of seconds between two reports of progress, since each of them ends a program. Longer
# where one step takes longer.
REPORT_SECONDS = 0.1


class Lanes:
    """All lanes of a sweep over one family, with NumPy arrays that have a leading axis of lanes.

    Attributes:
      state: a `FitState`. A lane that was not begun is DROPPED, with objective −inf.
      report: a `LaneReport`.
      constants: the `LaneConstants` of the data; None before the first lane begins.
      histories: the `Histories` of all lanes.
      seconds: (lanes,) time of each lane. Lanes of one batch share its time by their passes.
      compile_seconds: time that compiling the programs took.
      seconds_per_step: time of a step of the group that was advanced last.
    """

    def __init__(
        self,
        settings: LaneSettings,
        data: LaneData,
        n_components: np.ndarray,
        restart: np.ndarray,
        fold: np.ndarray,
        code: np.ndarray | None = None,
        on_progress: Callable[[Lanes], None] | None = None,
    ):
        n, columns, dtype = len(data.x), settings.columns, np.dtype(data.x.dtype)
        self.d = d = data.x.shape[1] if columns is None else columns.features
        self.data = jax.device_put(data, jax.NamedSharding(settings.mesh, P()))
        self.tolerance = np.asarray(data.tolerance)
        self.safe_rounding = SAFE_ROUNDING[str(data.x.dtype)]
        self.n_components, self.restart, self.fold = n_components, restart, fold
        self.code = None if code is None else code.astype(data.x.dtype)
        self.on_progress, self.seconds_per_step = on_progress, np.inf
        # If a batch turns no axes, its M-steps take half the time.
        self._turns = np.zeros(len(fold), bool) if code is None else turns_axes(code)
        self.constants: Any = None
        self.seconds, self.compile_seconds = np.zeros(len(fold)), 0.0
        self._prepared: set[LaneSettings] = set()

        self.batches = batches_of(settings, n, d, dtype, len(fold), len(set(n_components)) > 1)
        self.large, self.small = self.batches.large, self.batches.small
        shared = self.large.kernel == "auto" and is_much_work(settings, n, d)
        self.loose_rounding = LOOSE_ROUNDING if shared else self.safe_rounding

        empty = lambda leaf: np.zeros((len(fold), *leaf.shape), leaf.dtype)
        self.shapes = lane_of(settings, d, dtype)
        # State and report are views of one array for each dtype, so that a lane is copied at once.
        # A packed `LaneOutcome` begins with the same columns, and a packed `LaneMove` with those of
        # the state.
        kept = self.shapes[FitState], self.shapes[LaneOutcome].report
        self._packed = pack(jax.tree.map(empty, kept), np)
        self.state, self.report = unpack(self._packed, kept)
        of_state = pack(
            jax.tree.map(lambda leaf: np.empty((1, *leaf.shape), leaf.dtype), kept[0]), np
        )
        self._packed_state = {
            dtype: self._packed[dtype][:, : columns.shape[1]] for dtype, columns in of_state.items()
        }
        self.state.status[:] = Status.DROPPED
        self.state.objective[:] = self.state.sums.log_likelihood[:] = -np.inf
        self.histories = Histories(len(fold), dtype)

    @property
    def running(self) -> np.ndarray:
        """Which lanes have begun and not ended, as booleans."""
        return self.state.status == RUNNING

    def drop(self, lanes: np.ndarray) -> None:
        """Stop those of the lanes that are running."""
        self.state.status[lanes[self.running[lanes]]] = Status.DROPPED

    def resume(self, lanes: np.ndarray) -> None:
        """Mark lanes that were stopped as running again."""
        self.state.status[lanes] = RUNNING

    def begin(
        self, lanes: np.ndarray, parent: np.ndarray | None = None, component: Any = None
    ) -> None:
        """Begin the lanes, each from its restart's key.

        With `parent` and `component` (arrays as long as `lanes`), each begins from the mixture of
        its parent lane instead, with that component split.
        """
        if parent is not None:
            self._begin(lanes, self.code, parent, component)
        elif self.large.starts_in_loop:
            self._begin_in_all_families(lanes)
        else:
            self._begin(lanes, self.code)
        ended = lanes[~self.running[lanes]]  # at their starts: only a report is missing
        for first in range(0, len(ended), self.large.size):
            part = ended[first : first + self.large.size]
            self._advance(self.large, part, self.state.steps[part], 0, self.safe_rounding)

    def _begin_in_all_families(self, lanes: np.ndarray) -> None:
        """Begin the lanes, which share their rows' labels with those of other families."""
        assert self.code is not None
        codes = code_of_starts(self.code)
        table = np.stack([self.n_components, self.restart, self.fold, *codes.T])[:, lanes]
        _, first, same = np.unique(table, axis=1, return_index=True, return_inverse=True)
        self._begin(lanes[first], codes)
        source = lanes[first][same.ravel()]
        put((self.state, self.report), lanes, take((self.state, self.report), source))
        mixture, sums = take((self.state.mixture, self.state.sums), lanes)
        own = starts_of_families(mixture.covariance, sums.spread, self.code[lanes])
        put((self.state.mixture.covariance, self.state.sums.spread), lanes, own)

    def _begin(
        self,
        lanes: np.ndarray,
        code: np.ndarray | None,
        parent: np.ndarray | None = None,
        component: Any = None,
    ) -> None:
        settings, splits = self.large, parent is not None
        if parent is None:  # these values are not used
            parent = component = np.zeros(len(lanes), np.int32)
        for first in range(0, len(lanes), settings.size):
            began = time.perf_counter()
            group, own = fill_group(np.arange(len(lanes))[first : first + settings.size], settings)
            chosen = lanes[group]
            start = LaneStart(
                n_components=self.n_components[chosen],
                restart=self.restart[chosen],
                fold=self.fold[chosen],
                parent=take(self.state.mixture, parent[group]),
                component=component[group].astype(np.int32),
                code=None if code is None else code[chosen],
            )
            task = pack(start, np)
            if settings not in self._prepared:
                self._compile(settings, task, splits)
                began = time.perf_counter()
            packed = jax.device_get(
                settings.begin(settings, self.data, self.constants, splits, task)
            )
            like = self.shapes[FitState], self.shapes[LaneMove].tolerance
            state, rounding = take(unpack(packed, like), own)
            put(self.state, chosen[own], state)
            self.report.rounding[chosen[own]] = rounding
            self.histories.begin(chosen[own], state.objective)
            self._add_seconds(chosen[own], state.passes, began)

    def run(self, lanes: np.ndarray, steps: int | None = None, *, leave_few: bool = False) -> None:
        """Advance the lanes by at most `steps` steps, or to their end.

        With `leave_few`, it returns once so few of them run that they do not fill a batch. At first
        the natural kernel is used even where its rounding error is visible, until a step gains less
        than that error. The last steps are made without it wherever it is not safe.
        """
        if steps is not None:
            goals = np.maximum(self.state.steps[lanes], 0) + steps
            return self._run(lanes, goals, self.loose_rounding)
        n_left = self.large.size // 2 if leave_few else 0
        most = int(self.data.max_steps)
        if self.loose_rounding > self.safe_rounding:
            self._run(lanes, np.full(len(lanes), most - 1), self.loose_rounding, n_left)
            lanes = lanes[~self.running[lanes] | (self.state.steps[lanes] >= most - 1)]
            converged = self.state.status[lanes] == Status.CONVERGED
            doubtful = converged & (self.report.rounding[lanes] > self.safe_rounding)
            self.resume(lanes[doubtful & (self.state.steps[lanes] < most)])
            n_left = 0
        self._run(lanes, np.full(len(lanes), most), self.safe_rounding, n_left)

    def _run(
        self, lanes: np.ndarray, goals: np.ndarray, most_rounding: float, least: int = 0
    ) -> None:
        """Advance the lanes to their goals, or until at most `least` of them run."""
        goal = np.zeros(len(self.fold), np.int32)
        goal[lanes] = goals
        # Fits of few components end early, and at about the same time.
        order = self.n_components[lanes], self.report.rounding[lanes], self._turns[lanes]
        waiting = lanes[np.lexsort(order)]
        while True:
            unfinished = self.running[waiting] & (self.state.steps[waiting] < goal[waiting])
            waiting = waiting[unfinished]
            if len(waiting) <= least:
                return
            coarse = self.report.rounding[waiting] > self.loose_rounding
            settings, group = self.batches.next_group(waiting, coarse, self._may_divide)
            n_left = self.batches.may_run_at_end(settings, len(group), len(waiting), least)
            steps = np.maximum(self.state.steps[group], 0)  # −1 before the first pass
            at_once = np.clip(3 * steps, 16, MOST_STEPS_IN_A_CALL)
            if self.on_progress:
                most = np.clip(REPORT_SECONDS / self.seconds_per_step, 1, MOST_STEPS_IN_A_CALL)
                at_once = np.minimum(at_once, most.astype(np.int32))
            until = np.minimum(goal[group], steps + at_once)
            self._advance(settings, group, until, n_left // settings.mesh.size, most_rounding)
            waiting = np.concatenate([waiting[len(group) :], group])
            if self.on_progress:
                self.on_progress(self)

    def _may_divide(self, lane: int) -> bool:
        """Return whether a lane takes less time alone, with its rows divided."""
        n = len(self.data.x)
        return may_divide(jax.device_put(take(self.state.mixture, lane)), n, n)

    def _advance(
        self,
        settings: LaneSettings,
        lanes: np.ndarray,
        until: np.ndarray,
        n_left: int,
        most_rounding: float,
    ) -> None:
        group, own = fill_group(np.arange(len(lanes)), settings)
        chosen = lanes[group]
        target = chosen[own]
        steps, passes = self.state.steps[target], self.state.passes[target]
        limit = np.full(settings.size, -2, np.int32)
        limit[own] = until[group[own]]
        rounding = self.report.rounding[chosen]
        position = kernel_position(rounding.max(), self.d, most_rounding)
        # Steps with a smaller gain than this are noise of a kernel with such a rounding error.
        noisy = position == 0 and most_rounding > self.safe_rounding
        noise = (rounding / 10) ** 2 if noisy else np.zeros_like(rounding)
        tolerance = np.maximum(self.tolerance, noise).astype(rounding.dtype)
        state = take(self._packed_state, chosen)
        move = pack(LaneMove(state, self.fold[chosen], tolerance, limit), np)
        arguments = settings, self.data, self.constants, np.int32(position), np.int32(n_left), move
        began = time.perf_counter()
        if settings not in self._prepared:  # the small group, which never begins lanes
            settings.advance.lower(*arguments).compile()
            self._prepared.add(settings)
            self.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        packed = jax.device_get(settings.advance(*arguments))
        for dtype, columns in self._packed.items():
            columns[target] = packed[dtype][own, : columns.shape[1]]
        outcome = unpack(packed, self.shapes[LaneOutcome])
        made = self.state.steps[target]
        self.histories.record(target, steps, made, outcome.objectives[own], outcome.passes[own])
        most_steps = max(1, (made - steps).max())
        self.seconds_per_step = (time.perf_counter() - began) / most_steps
        self._add_seconds(target, self.state.passes[target] - passes, began)

    def _compile(self, settings: LaneSettings, task: dict[str, np.ndarray], splits: bool) -> None:
        """Compile both programs at the same time, since XLA uses one core for half of the work.

        Where JAX has them in its cache this takes about a millisecond. So nothing has to remember
        what other sweeps compiled, and `compile_seconds` is right after `jax.clear_caches` too.
        """
        began, zero = time.perf_counter(), np.int32(0)
        self.constants = constants = settings.prepare(self.data)
        first = settings.begin.lower(settings, self.data, constants, splits, task)
        lanes = lambda leaf: np.zeros((settings.size, *leaf.shape), leaf.dtype)
        move = pack(jax.tree.map(lanes, self.shapes[LaneMove]), np)
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            compiled = executor.submit(first.compile)
            settings.advance.lower(settings, self.data, constants, zero, zero, move).compile()
            compiled.result()
        self._prepared.add(settings)
        self.compile_seconds += time.perf_counter() - began

    def _add_seconds(self, lanes: np.ndarray, passes: np.ndarray, began: float) -> None:
        """Divide the time since `began` among the lanes by the passes that each made."""
        seconds = time.perf_counter() - began
        amounts = passes if passes.any() else np.ones(len(lanes))
        self.seconds[lanes] += seconds * amounts / amounts.sum()
