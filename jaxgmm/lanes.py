"""`Lanes`: many climbs over the same rows, side by side in programs of a fixed shape.

The programs, `begin` and `advance`, take a *group* of lanes: as many as stand side by side on each
device, vmapped inside one loop, so that the natural kernel's features serve all of them. `Lanes`
keeps every lane on the host and fills groups with those that still climb, so that a lane that has
ended costs nothing, whatever K and whichever fold it has.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from . import prior as priors
from .climb import Algorithm, Ascent, Climb, where
from .covariance import Covariance
from .initialize import split, start
from .kernels import LANES
from .mixture import Mixture
from .prior import Prior
from .rows import Rows
from .select import entropy
from .statistics import statistics
from .status import RUNNING, Status, spurious

DEVICES = "devices"
MOST_STEPS_IN_A_CALL = 64  # so that an interrupt is heard
MOST_LANES = 64
# Each lane of a group keeps a few numbers per row while it starts (and weights, where there are
# folds): they may take this much.
ROW_BYTES = 1 << 30
# A second, smaller group is worth compiling where a step of the larger one computes this much.
WORTH_COMPILING = 1e8


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the programs are compiled for: `k` places for components, `lanes` on each device."""

    algorithm: Algorithm
    family: type[Covariance]
    k: int
    restarts: int
    method: str
    kernel: str
    stopping: str
    default_prior: bool
    folds: int
    mesh: Mesh
    lanes: int = 0

    @property
    def size(self) -> int:
        """Lanes in a group, over all devices."""
        return self.lanes * self.mesh.size


class Data(NamedTuple):
    """What all lanes share. fold (n,) is which fold leaves a row out, from 1; None without folds."""

    x: jax.Array
    weight: jax.Array | None
    fold: jax.Array | None
    prior: Prior | None
    tolerance: jax.Array
    max_steps: jax.Array
    key: jax.Array


class Frame(NamedTuple):
    """What the first program finds out about the data. `priors` has a leading axis of folds; fold 0
    leaves nothing out."""

    centre: jax.Array
    resolution: jax.Array
    covariance: jax.Array
    priors: Prior | None


class Task(NamedTuple):
    """Where lanes start: from a restart's key, or from a parent with a component split."""

    n_components: Any
    restart: Any
    fold: Any
    parent: Any
    component: Any


class Report(NamedTuple):
    """What is asked of each lane beside its climb: the entropy of the responsibilities, whether a
    component is spurious, and the log-likelihood of the rows that its fold leaves out."""

    entropy: jax.Array
    spurious: jax.Array
    held_out: jax.Array


def _weights(data: Data, fold, left_out: bool = False):
    """The rows' weights for a lane: those its fold leaves out have weight 0, or only they have not."""
    if data.fold is None:
        return data.weight
    weight = jnp.ones(len(data.x), data.x.dtype) if data.weight is None else data.weight
    return jnp.where((data.fold == fold) == left_out, weight, 0)


def _frame(plan: Plan, data: Data) -> Frame:
    rows = Rows.centred(data.x, data.weight)
    prior = data.prior
    if plan.default_prior:
        of_fold = lambda fold: priors.of_rows(Rows(data.x, _weights(data, fold), rows.centre))
        prior = jax.lax.map(of_fold, jnp.arange(plan.folds + 1))
    elif prior is not None:
        repeat = lambda leaf: jnp.broadcast_to(leaf, (plan.folds + 1, *jnp.shape(leaf)))
        prior = jax.tree.map(repeat, prior.translate(-rows.centre))
    covariance = priors.of_rows(rows, 1.0).scatter
    return Frame(rows.centre, rows.magnitude(), covariance, prior)


def _ascent(plan: Plan, data: Data, frame: Frame, fold) -> Ascent:
    fold = 0 if data.fold is None else fold  # unbatched: what lanes share is computed once
    return Ascent(
        Rows(data.x, _weights(data, fold), frame.centre),
        jax.tree.map(lambda leaf: leaf[fold], frame.priors),
        frame.resolution, data.tolerance, data.max_steps, plan.algorithm, plan.stopping,
        plan.kernel, plan.lanes,
    )  # fmt: skip


def _report(plan: Plan, data: Data, frame: Frame, climb: Climb, fold) -> Report:
    def one(climb, fold):
        if data.fold is None:
            held_out = jnp.zeros_like(climb.objective)
        else:
            rows = Rows(data.x, _weights(data, fold, left_out=True), frame.centre)
            held_out = statistics(climb.mixture, rows, plan.kernel, plan.lanes).log_likelihood
        doubtful = spurious(climb.mixture, climb.sums, frame.covariance)
        return Report(entropy(climb.mixture, climb.sums), doubtful, held_out)

    return jax.vmap(one, axis_name=LANES)(climb, fold)


def _on_devices(plan: Plan, function, n_shared: int, n_lanes: int):
    """function(*shared, *of lanes), each device taking its own lanes and never waiting for others."""
    specs = (P(),) * n_shared + (P(DEVICES),) * n_lanes
    return jax.shard_map(
        function, mesh=plan.mesh, in_specs=specs, out_specs=P(DEVICES), check_vma=False
    )


@functools.partial(jax.jit, static_argnums=0)
def begin(plan: Plan, data: Data, task: Task, splits) -> tuple[Frame, Climb]:
    """Starts a group of lanes, and takes the first pass. All lanes start by their restart's key, or
    if `splits` from their parents."""
    # One pass is not worth compiling two kernels.
    plan = dataclasses.replace(plan, kernel="whitened" if plan.kernel == LANES else plan.kernel)

    def starts(data, frame, task):
        keys = jax.random.split(data.key, plan.restarts)

        def drawn(task):
            rows = _ascent(plan, data, frame, task.fold).rows
            key = keys[task.restart]
            return start(key, rows, plan.k, task.n_components, plan.family, plan.method)

        def halved(task):
            key = jax.random.fold_in(data.key, task.component)
            return split(key, task.parent, task.component)

        return jax.lax.cond(splits, jax.vmap(halved), jax.vmap(drawn), task)

    def group(data, frame, task):
        first = lambda start, fold: _ascent(plan, data, frame, fold).begin(start)
        return jax.vmap(first, axis_name=LANES)(starts(data, frame, task), task.fold)

    frame = _frame(plan, data)
    return frame, _on_devices(plan, group, 2, 1)(data, frame, task)


@functools.partial(jax.jit, static_argnums=0)
def advance(plan: Plan, data: Data, frame: Frame, climb: Climb, fold, limit, leave):
    """Moves a group of lanes on, each up to `limit` (lanes,) steps in all, as long as more than
    `leave` of them climb on their device.

    Returns the climbs, their reports, and the objectives and passes after each step of this call
    (lanes, MOST_STEPS_IN_A_CALL)."""

    def group(data, frame, leave, climb, fold, limit):
        before = climb.steps

        def active(climb):
            return (climb.status == RUNNING) & (climb.steps < limit)

        def body(carry):
            climb, objectives, passes = carry
            moving = active(climb)
            # A lane that has ended repeats what a moving one does, and is put back.
            some = jnp.argmax(moving)
            stand_in = jax.tree.map(
                lambda leaf: jnp.where(
                    moving.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf[some][None]
                ),
                climb,
            )
            step = lambda climb, fold: _ascent(plan, data, frame, fold).step(climb)
            moved, objective = jax.vmap(step, axis_name=LANES)(stand_in, fold)
            entry = jnp.where(moving, climb.steps - before, MOST_STEPS_IN_A_CALL)
            lane = jnp.arange(len(entry))
            objectives = objectives.at[lane, entry].set(objective, mode="drop")
            passes = passes.at[lane, entry].set(moved.passes, mode="drop")
            return jax.vmap(where)(moving, moved, climb), objectives, passes

        trace = jnp.zeros((len(limit), MOST_STEPS_IN_A_CALL), climb.objective.dtype)
        end, objectives, passes = jax.lax.while_loop(
            lambda carry: jnp.sum(active(carry[0])) > leave, body,
            (climb, trace, trace.astype(climb.passes.dtype)),
        )  # fmt: skip
        return end, _report(plan, data, frame, end, fold), objectives, passes

    return _on_devices(plan, group, 3, 3)(data, frame, leave, climb, fold, limit)


class Lanes:
    """Every lane, on the host.

    Attributes:
      climb, report: a `Climb` and a `Report` of arrays with a leading axis of lanes. A lane that was
        not begun is DROPPED, with objective −inf.
      frame: the `Frame` of the data.
      parent: (lanes,) the lane that each was split from, or −1.
      objectives, passes: (lanes, steps) the histories.
      seconds: (lanes,) time of each lane; that of lanes side by side is shared by passes.
      compile_seconds: what the second program took to compile; the first one's is in `seconds`.
    """

    def __init__(self, plan: Plan, data: Data, n_components, restart, fold, on_progress=None):
        n, d = data.x.shape
        self.data = jax.device_put(data, jax.NamedSharding(plan.mesh, P()))
        self.n_components, self.restart, self.fold = n_components, restart, fold
        self.on_progress = on_progress
        self.frame, self.parent = None, np.full(len(fold), -1, np.int32)
        self.seconds, self.compile_seconds, self.compiled = np.zeros(len(fold)), 0.0, set()

        room = max(1, ROW_BYTES // (n * 4 * data.x.dtype.itemsize))
        most = min(MOST_LANES, room, -(-len(fold) // plan.mesh.size))
        few = max(1, most // 8)
        self.large = self.small = dataclasses.replace(plan, lanes=most)
        if self.large.size * n * plan.k * d * (d + 1) >= WORTH_COMPILING:
            self.small = dataclasses.replace(plan, lanes=few)

        dtype = np.dtype(data.x.dtype)
        empty = lambda leaf: np.zeros((len(fold), *leaf.shape), leaf.dtype)
        mixture = Mixture(np.zeros(plan.k, dtype), np.zeros((plan.k, d), dtype), None)
        covariance = jax.eval_shape(lambda: plan.family.identity(plan.k, d, dtype))
        mixture = jax.tree.map(empty, dataclasses.replace(mixture, covariance=covariance))
        self.climb = Climb(mixture, *[None] * (len(Climb._fields) - 1))
        self.report = Report(np.zeros(len(fold), dtype), np.zeros(len(fold), bool), np.zeros(len(fold)))
        self.objectives = np.zeros((len(fold), MOST_STEPS_IN_A_CALL), dtype)
        self.passes = np.zeros(self.objectives.shape, np.float32)

    @property
    def running(self) -> np.ndarray:
        """Which lanes still climb."""
        return self.climb.status == RUNNING

    def drop(self, lanes) -> None:
        """Stops those of the lanes that still climb."""
        self.climb.status[lanes[self.running[lanes]]] = Status.DROPPED

    def begin(self, lanes: np.ndarray, parent=None, component=None) -> None:
        """Starts the lanes, each by its restart's key, or by splitting a component of lane
        `parent` (arrays as long as `lanes`)."""
        plan = self.large
        splits = parent is not None
        self.parent[lanes] = parent if splits else -1
        pick = component if splits else np.zeros(len(lanes), np.int32)
        for first in range(0, len(lanes), plan.size):
            began = time.perf_counter()
            group, own = _dealt(np.arange(first, min(first + plan.size, len(lanes))), plan)
            chosen = lanes[group]
            task = Task(
                self.n_components[chosen], self.restart[chosen], self.fold[chosen],
                _take(self.climb.mixture, self.parent[chosen]), pick[group].astype(np.int32),
            )  # fmt: skip
            self.frame, climb = begin(plan, self.data, task, splits)
            climb = _take(jax.device_get(climb), own)
            if self.climb.status is None:
                full = lambda leaf: np.zeros((len(self.fold), *leaf.shape[1:]), leaf.dtype)
                self.climb = jax.tree.map(full, climb)
                self.climb.status[:], self.climb.objective[:] = Status.DROPPED, -np.inf
            _put(self.climb, chosen[own], climb)
            self.objectives[chosen[own], 0] = climb.objective
            self.passes[chosen[own], 0] = climb.passes
            self._charge(chosen[own], climb.passes, began)

    def run(self, lanes: np.ndarray, steps: int | None = None) -> None:
        """Moves the lanes on, by `steps` steps at the most, or to their end."""
        goal = np.full(len(self.fold), np.iinfo(np.int32).max, np.int32)
        if steps is not None:
            goal[lanes] = self.climb.steps[lanes] + steps
        at_once = 1 if self.on_progress else MOST_STEPS_IN_A_CALL
        waiting = lanes
        while True:
            unfinished = self.running[waiting] & (self.climb.steps[waiting] < goal[waiting])
            waiting = waiting[unfinished]
            if not len(waiting):
                return
            plan = self.small if len(waiting) <= self.small.size else self.large
            group = waiting[: plan.size]
            # Once half of a group has ended, others take their places; or few need only a small one.
            leave = plan.size // 2 if len(waiting) > plan.size else 0
            if leave == 0 and plan is not self.small and len(waiting) > self.small.size:
                leave = self.small.size
            limit = np.minimum(goal[group], self.climb.steps[group] + at_once)
            self._advance(plan, group, limit, leave // plan.mesh.size)
            # Those that waited come first, and all move on together.
            waiting = np.concatenate([waiting[plan.size :], group])
            if self.on_progress:
                self.on_progress(self)

    def _advance(self, plan: Plan, lanes, limit, leave) -> None:
        group, own = _dealt(np.arange(len(lanes)), plan)
        chosen = lanes[group]
        before = _take(self.climb, chosen)
        limit = np.where(np.isin(np.arange(plan.size), own), limit[group], -1).astype(np.int32)
        program = functools.partial(
            advance, plan, self.data, self.frame, before, self.fold[chosen], leave=np.int32(leave)
        )
        began = time.perf_counter()
        if plan not in self.compiled:  # apart, by a call that moves nothing
            jax.block_until_ready(program(np.full_like(limit, -1)))
            self.compiled.add(plan)
            self.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        end, report, objectives, passes = _take(jax.device_get(program(limit)), own)
        _put((self.climb, self.report), chosen[own], (end, report))
        self._record(chosen[own], before.steps[own], end.steps, objectives, passes)
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

    def _charge(self, lanes, passes, began) -> None:
        """Books the time since `began` to the lanes by the passes that each made."""
        seconds = time.perf_counter() - began
        self.seconds[lanes] += seconds * passes / max(passes.sum(), 1)


def _dealt(lanes: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """A full group of these lanes, dealt to the devices in turn, the first standing in where there
    are too few; and the places of the others, once each."""
    filled = np.concatenate([lanes, np.repeat(lanes[:1], plan.size - len(lanes))])
    order = np.arange(plan.size).reshape(-1, plan.mesh.size).T.ravel()
    return filled[order], np.flatnonzero(order < len(lanes))


def _take(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _put(tree, index, values) -> None:
    jax.tree.map(lambda leaf, new: leaf.__setitem__(index, new), tree, values)
