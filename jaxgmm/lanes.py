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
from .kernels import SAFE_ROUNDING, Choice, rounding
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
# While lanes climb, the natural kernel may add this much rounding to a log-density; to its end each
# goes under SAFE_ROUNDING.
CLIMBING_ROUNDING = 5e-2
CALLED: set = set()  # programs that were called before: compiling is timed apart


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
    splits: bool
    mesh: Mesh
    lanes: int = 0

    @property
    def size(self) -> int:
        """Lanes in a group, over all devices."""
        return self.lanes * self.mesh.size


class Data(NamedTuple):
    """What all lanes share. fold (n,) is the fold that leaves a row out, from 1; or None."""

    x: jax.Array
    weight: jax.Array | None
    fold: jax.Array | None
    prior: Prior | None
    tolerance: jax.Array
    max_steps: jax.Array
    key: jax.Array


class Frame(NamedTuple):
    """What the first program finds out about the data. `covariance` and `prior` have a leading axis
    of folds; fold 0 leaves nothing out."""

    centre: jax.Array
    resolution: jax.Array
    covariance: jax.Array
    prior: Prior | None


class Task(NamedTuple):
    """Where lanes start: from a restart's key, or from a parent with a component split."""

    n_components: Any
    restart: Any
    fold: Any
    parent: Any
    component: Any


class Report(NamedTuple):
    """What is asked of each lane beside its climb: the entropy of the responsibilities, whether a
    component is spurious, the log-likelihood of the rows that its fold leaves out, and the rounding
    of the natural kernel there."""

    entropy: jax.Array
    spurious: jax.Array
    held_out: jax.Array
    rounding: jax.Array


def _weights(data: Data, fold, left_out: bool = False):
    """The rows' weights for a lane: 0 for those its fold leaves out, or for all but those."""
    if data.fold is None:
        return data.weight
    weight = jnp.ones(len(data.x), data.x.dtype) if data.weight is None else data.weight
    return jnp.where((data.fold == fold) == left_out, weight, 0)


def _frame(plan: Plan, data: Data) -> Frame:
    rows = Rows.centred(data.x, data.weight)
    folds = jnp.arange(plan.folds + 1)
    of_fold = lambda fold: priors.covariance_of(Rows(data.x, _weights(data, fold), rows.centre))
    covariance = jax.lax.map(of_fold, folds) if plan.folds else priors.covariance_of(rows)[None]
    prior = data.prior
    if plan.default_prior:
        prior = jax.vmap(priors.default)(covariance)
    elif prior is not None:
        repeat = lambda leaf: jnp.broadcast_to(leaf, (len(folds), *jnp.shape(leaf)))
        prior = jax.tree.map(repeat, prior.translate(-rows.centre))
    return Frame(rows.centre, rows.magnitude(), covariance, prior)


def _ascent(plan: Plan, data: Data, frame: Frame, kernel: Choice, fold, tolerance) -> Ascent:
    fold = 0 if data.fold is None else fold  # unbatched: what lanes share is computed once
    return Ascent(
        Rows(data.x, _weights(data, fold), frame.centre),
        jax.tree.map(lambda leaf: leaf[fold], frame.prior),
        frame.resolution, tolerance, data.max_steps, plan.algorithm, plan.stopping, kernel,
    )  # fmt: skip


def _report(data: Data, frame: Frame, kernel: Choice, climb: Climb, fold) -> Report:
    def one(climb, fold):
        if data.fold is None:
            held_out = jnp.zeros_like(climb.objective)
        else:
            rows = Rows(data.x, _weights(data, fold, left_out=True), frame.centre)
            held_out = statistics(climb.mixture, rows, kernel).log_likelihood
        doubtful = spurious(climb.mixture, climb.sums, frame.covariance[0])
        return Report(
            entropy(climb.mixture, climb.sums), doubtful, held_out, rounding(climb.mixture)
        )

    return jax.vmap(one)(climb, fold)


def _on_devices(plan: Plan, function, n_shared: int, n_lanes: int):
    """function(*shared, *of lanes), each device taking its own lanes and waiting for no other."""
    specs = (P(),) * n_shared + (P(DEVICES),) * n_lanes
    return jax.shard_map(
        function, mesh=plan.mesh, in_specs=specs, out_specs=P(DEVICES), check_vma=False
    )


@functools.partial(jax.jit, static_argnums=0)
def begin(plan: Plan, data: Data, task: Task, splits) -> tuple[Frame, Climb, jax.Array]:
    """Starts a group of lanes, and takes the first pass. All lanes start by their restart's key, or
    if `splits` from their parents.

    Returns the frame, the climbs, and each one's `rounding`."""
    # One pass is not worth compiling two kernels.
    kernel = Choice("whitened" if plan.kernel == "auto" else plan.kernel, plan.lanes)

    def group(data, frame, task):
        ascent = lambda fold: _ascent(plan, data, frame, kernel, fold, data.tolerance)
        keys = jax.random.split(data.key, plan.restarts)

        def drawn(task):
            fold = 0 if data.fold is None else task.fold
            return start(
                keys[task.restart], ascent(fold).rows, frame.covariance[fold], plan.k,
                task.n_components, plan.family, plan.method, plan.lanes,
            )  # fmt: skip

        def halved(task):
            return split(task.parent, task.component)

        if plan.splits:
            mixture = jax.lax.cond(splits, jax.vmap(halved), jax.vmap(drawn), task)
        else:
            mixture = jax.vmap(drawn)(task)
        climb = jax.vmap(lambda mixture, fold: ascent(fold).begin(mixture))(mixture, task.fold)
        return climb, jax.vmap(rounding)(mixture)

    frame = _frame(plan, data)
    return frame, *_on_devices(plan, group, 2, 1)(data, frame, task)


@functools.partial(jax.jit, static_argnums=0)
def advance(
    plan: Plan, data: Data, frame: Frame, natural, leave, climb: Climb, fold, tolerance, limit
):
    """Moves a group of lanes on, each up to `limit` (lanes,) steps in all, as long as more than
    `leave` of them climb on their device. `natural` says which kernel all of them take.

    Returns the climbs, their reports, and the objectives and passes after each step of this call
    (lanes, MOST_STEPS_IN_A_CALL)."""

    def group(data, frame, natural, leave, climb, fold, tolerance, limit):
        kernel = Choice(plan.kernel, plan.lanes, natural if plan.kernel == "auto" else None)
        before, lane = climb.steps, jnp.arange(len(limit))

        def active(climb):
            return (climb.status == RUNNING) & (climb.steps < limit)

        def step(climb, fold, tolerance):
            return _ascent(plan, data, frame, kernel, fold, tolerance).step(climb)

        def body(carry):
            climb, objectives, passes = carry
            moving = active(climb)
            moved, objective = jax.vmap(step)(climb, fold, tolerance)
            entry = jnp.where(moving, climb.steps - before, MOST_STEPS_IN_A_CALL)
            objectives = objectives.at[lane, entry].set(objective, mode="drop")
            passes = passes.at[lane, entry].set(moved.passes, mode="drop")
            return jax.vmap(where)(moving, moved, climb), objectives, passes

        trace = jnp.zeros((len(limit), MOST_STEPS_IN_A_CALL), climb.objective.dtype)
        end, objectives, passes = jax.lax.while_loop(
            lambda carry: jnp.sum(active(carry[0])) > leave, body,
            (climb, trace, trace.astype(climb.passes.dtype)),
        )  # fmt: skip
        return end, _report(data, frame, kernel, end, fold), objectives, passes

    return _on_devices(plan, group, 4, 4)(
        data, frame, natural, leave, climb, fold, tolerance, limit
    )


class Lanes:
    """Every lane, on the host.

    Attributes:
      climb, report: a `Climb` and a `Report` of arrays with a leading axis of lanes. A lane that
        was not begun is DROPPED, with objective −inf.
      frame: the `Frame` of the data.
      objectives, passes: (lanes, steps) the histories.
      seconds: (lanes,) time of each lane; that of lanes side by side is shared by passes.
      compile_seconds: what the programs took to compile (with the first run of `begin`).
    """

    def __init__(self, plan: Plan, data: Data, n_components, restart, fold, on_progress=None):
        n, d = data.x.shape
        self.data = jax.device_put(data, jax.NamedSharding(plan.mesh, P()))
        self.plan, self.tolerance = plan, np.asarray(data.tolerance)
        self.safe = SAFE_ROUNDING[str(data.x.dtype)]
        self.n_components, self.restart, self.fold = n_components, restart, fold
        self.on_progress = on_progress
        self.frame = None
        self.seconds, self.compile_seconds = np.zeros(len(fold)), 0.0

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
        zeros = np.zeros(len(fold), dtype)
        self.report = Report(zeros, zeros > 0, zeros.copy(), zeros.copy())
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
        if not splits:  # not looked at
            parent = component = np.zeros(len(lanes), np.int32)
        for first in range(0, len(lanes), plan.size):
            began = time.perf_counter()
            group, own = _dealt(np.arange(first, min(first + plan.size, len(lanes))), plan)
            chosen = lanes[group]
            task = Task(
                self.n_components[chosen], self.restart[chosen], self.fold[chosen],
                _take(self.climb.mixture, parent[group]), component[group].astype(np.int32),
            )  # fmt: skip
            self.frame, *made = begin(plan, self.data, task, splits)
            climb, around = _take(jax.device_get(made), own)
            if self.climb.status is None:
                full = lambda leaf: np.zeros((len(self.fold), *leaf.shape[1:]), leaf.dtype)
                self.climb = jax.tree.map(full, climb)
                self.climb.status[:], self.climb.objective[:] = Status.DROPPED, -np.inf
            _put(self.climb, chosen[own], climb)
            self.report.rounding[chosen[own]] = around
            self.objectives[chosen[own], 0] = climb.objective
            self.passes[chosen[own], 0] = climb.passes
            if self._is_new("begin", plan):  # nearly all of it compiling
                self.compile_seconds += time.perf_counter() - began
            else:
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
            self._run(lanes, self.climb.steps[lanes] + steps, CLIMBING_ROUNDING)
            return
        everything = np.full(len(lanes), int(self.data.max_steps))
        if self.plan.kernel == "auto":
            self._run(lanes, everything - 1, CLIMBING_ROUNDING)
            misled = (self.report.rounding > self.safe) & (self.climb.status == Status.CONVERGED)
            misled &= self.climb.steps < everything[0]
            self.climb.status[lanes[misled[lanes]]] = RUNNING
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
            made = self.climb.steps[group]
            at_once = 1 if self.on_progress else np.clip(3 * made, 16, MOST_STEPS_IN_A_CALL)
            until = np.minimum(goal[group], made + at_once)
            self._advance(plan, group, until, leave // plan.mesh.size, limit)
            # Those that waited come first, and all move on together.
            waiting = np.concatenate([waiting[plan.size :], group])
            if self.on_progress:
                self.on_progress(self)

    def _advance(self, plan: Plan, lanes, until, leave, limit) -> None:
        group, own = _dealt(np.arange(len(lanes)), plan)
        chosen = lanes[group]
        before = _take(self.climb, chosen)
        until = np.where(np.isin(np.arange(plan.size), own), until[group], -1).astype(np.int32)
        around = self.report.rounding[chosen]
        # Below this gain, steps by a kernel of such rounding wander.
        shown = (around / 10) ** 2 if limit == CLIMBING_ROUNDING else 0 * around
        tolerance = np.maximum(self.tolerance, shown).astype(around.dtype)
        program = functools.partial(
            advance, plan, self.data, self.frame, bool(around.max() <= limit), np.int32(leave),
            before, self.fold[chosen], tolerance,
        )  # fmt: skip
        began = time.perf_counter()
        if self._is_new("advance", plan):  # apart, by a call that moves nothing
            jax.block_until_ready(program(np.full_like(until, -1)))
            self.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        end, report, objectives, passes = _take(jax.device_get(program(until)), own)
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

    def _is_new(self, program: str, plan: Plan) -> bool:
        """Whether a program was not called with such data before; from now on it was."""
        called = program, plan, self.data.x.shape, self.data.x.dtype
        is_new = called not in CALLED
        CALLED.add(called)
        return is_new

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
