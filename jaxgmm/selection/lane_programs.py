"""`begin` and `advance`: many climbs over the same rows, side by side on the devices.

Both take a *group* of lanes: as many as stand side by side on each device, vmapped inside one loop,
so that the natural kernel's features serve all of them. Their shapes are fixed by a `Plan`, so that
whatever K and fold a lane has, the same two programs serve it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ..algorithms.protocol import Algorithm
from ..data.robust_covariance import robust_covariance
from ..data.rows import Rows
from ..families.family import Family
from ..fitting.status import RUNNING
from ..fitting.step import FitState, Problem
from ..internal.compiling import jit_with_options
from ..internal.trees import pack, unpack, where
from ..kernels.choice import Choice
from ..kernels.natural import rounding
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.prior import Prior
from ..objective.statistics import statistics
from ..starts.initialization import split, start
from .criteria import entropy
from .spurious import doubts

DEVICES = "devices"
MOST_STEPS_IN_A_CALL = 64  # so that an interrupt is heard


@dataclasses.dataclass(frozen=True)
class LaneSettings:
    """What the programs are compiled for: `k` places for components, `lanes` on each device."""

    algorithm: Algorithm
    family: type[Family]
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
    quickly: bool = False  # compiled
    products: bool = False  # are most of the work

    @property
    def begin(self):
        """The function `begin`, compiled as it should be."""
        return jit_with_options(begin, self.quickly, runs_once=True)

    @property
    def advance(self):
        """The function `advance`, compiled as it should be."""
        return jit_with_options(advance, self.quickly, products=self.products)

    @property
    def size(self) -> int:
        """Lanes in a group, over all devices."""
        return self.lanes * self.mesh.size


class LaneData(NamedTuple):
    """What all lanes share. fold (n,) is the fold that leaves a row out, from 1; or None. See
    `spurious.steps_of` for steps (d,)."""

    x: jax.Array
    weight: jax.Array | None
    fold: jax.Array | None
    steps: jax.Array
    prior: Prior | None
    tolerance: jax.Array
    max_steps: jax.Array
    key: jax.Array


class LaneSummary(NamedTuple):
    """What the first program finds out about the data. `covariance` and `prior` have a leading axis
    of folds; fold 0 leaves nothing out."""

    center: jax.Array
    resolution: jax.Array
    covariance: jax.Array
    prior: Prior | None


class LaneStart(NamedTuple):
    """Where lanes start: from a restart's key, or from a parent with a component split."""

    n_components: Any
    restart: Any
    fold: Any
    parent: Any
    component: Any


class LaneMove(NamedTuple):
    """Where lanes are, and how far they go: up to `limit` steps in all, or a gain below their
    tolerance."""

    climb: Any
    fold: Any
    tolerance: Any
    limit: Any


class LaneReport(NamedTuple):
    """What is asked of each lane beside its climb: the entropy of the responsibilities, which
    components (k,) are artifacts and which are outliers (see `spurious.Doubts`), the log-likelihood
    of the rows that its fold leaves out, and the rounding of the natural kernel there."""

    entropy: jax.Array
    artifact: jax.Array
    outlier: jax.Array
    held_out: jax.Array
    rounding: jax.Array


def _weights(data: LaneData, fold, left_out: bool = False):
    """The rows' weights for a lane: 0 for those its fold leaves out, or for all but those."""
    if data.fold is None:
        return data.weight
    weight = jnp.ones(len(data.x), data.x.dtype) if data.weight is None else data.weight
    return jnp.where((data.fold == fold) == left_out, weight, 0)


def _summarize_rows(plan: LaneSettings, data: LaneData) -> LaneSummary:
    rows = Rows.about_own_mean(data.x, data.weight)
    folds = jnp.arange(plan.folds + 1)
    of_fold = lambda fold: robust_covariance(Rows(data.x, _weights(data, fold), rows.center))
    covariance = jax.lax.map(of_fold, folds) if plan.folds else robust_covariance(rows)[None]
    prior = data.prior
    if plan.default_prior:
        prior = jax.vmap(priors.prior_of_covariance)(covariance)
    elif prior is not None:
        repeat = lambda leaf: jnp.broadcast_to(leaf, (len(folds), *jnp.shape(leaf)))
        prior = jax.tree.map(repeat, prior.translate(-rows.center))
    return LaneSummary(rows.center, rows.detail(), covariance, prior)


def _problem_of(
    plan: LaneSettings, data: LaneData, frame: LaneSummary, kernel: Choice, fold, tolerance
) -> Problem:
    fold = 0 if data.fold is None else fold  # unbatched: what lanes share is computed once
    return Problem(
        Rows(data.x, _weights(data, fold), frame.center),
        jax.tree.map(lambda leaf: leaf[fold], frame.prior),
        frame.resolution, tolerance, data.max_steps, plan.algorithm, plan.stopping, kernel,
    )  # fmt: skip


def _report(
    data: LaneData, frame: LaneSummary, kernel: Choice, climb: FitState, fold
) -> LaneReport:
    def one(climb, fold):
        fold = 0 if data.fold is None else fold
        if data.fold is None:
            held_out = jnp.zeros_like(climb.objective)
        else:
            rows = Rows(data.x, _weights(data, fold, left_out=True), frame.center)
            held_out = statistics(climb.mixture, rows, kernel).log_likelihood
        prior = jax.tree.map(lambda leaf: leaf[fold], frame.prior)
        found = doubts(climb.mixture, climb.sums, frame.covariance[0], prior, data.steps)
        of_components = lambda doubt: jnp.broadcast_to(doubt, climb.sums.mass.shape)
        return LaneReport(
            entropy(climb.mixture, climb.sums),
            of_components(found.artifact), of_components(found.outlier),
            held_out, rounding(climb.mixture),
        )  # fmt: skip

    return jax.vmap(one)(climb, fold)


class Moved(NamedTuple):
    """Where lanes came to, and the objectives and passes after each step of the call
    (MOST_STEPS_IN_A_CALL,)."""

    climb: Any
    report: Any
    objectives: Any
    passes: Any


@functools.lru_cache
def lane_of(plan: LaneSettings, d: int, dtype) -> dict[type, Any]:
    """The shapes and dtypes of one lane: of a `Climb`, and of what programs take and return, which
    is packed (see `trees.pack`)."""

    def begin():
        x = jnp.zeros((2, d), dtype)
        ascent = Problem(
            Rows(x, None, x[0]), None, x[0], x[0, 0], 0, plan.algorithm, plan.stopping, "whitened"
        )
        unit = plan.family.identity(plan.k, d, dtype)
        return ascent.begin(Mixture(jnp.zeros(plan.k, dtype), jnp.zeros((plan.k, d), dtype), unit))

    climb = jax.eval_shape(begin)
    number = jax.ShapeDtypeStruct((), dtype)
    whole = jax.ShapeDtypeStruct((), np.int32)
    trace = lambda dtype: jax.ShapeDtypeStruct((MOST_STEPS_IN_A_CALL,), dtype)
    truths = jax.ShapeDtypeStruct((plan.k,), bool)
    report = LaneReport(number, truths, truths, number, number)
    return {
        FitState: climb,
        LaneStart: LaneStart(whole, whole, whole, climb.mixture, whole),
        LaneMove: LaneMove(climb, whole, number, whole),
        Moved: Moved(climb, report, trace(dtype), trace(climb.passes.dtype)),
    }


def _on_devices(plan: LaneSettings, function, n_shared: int, n_lanes: int):
    """function(*shared, *of lanes), each device taking its own lanes and waiting for no other."""
    specs = (P(),) * n_shared + (P(DEVICES),) * n_lanes
    return jax.shard_map(
        function, mesh=plan.mesh, in_specs=specs, out_specs=P(DEVICES), check_vma=False
    )


def begin(plan: LaneSettings, data: LaneData, task: dict, splits) -> tuple[LaneSummary, dict]:
    """Starts a group of lanes, each with its (packed) `Task`: all by their restart's key, or if
    `splits` from their parents; see `Ascent.opening` for where they are then.

    Returns the frame, and the climbs with each one's `rounding` (packed)."""
    # One pass is not worth compiling two kernels.
    kernel = Choice("whitened" if plan.kernel == "auto" else plan.kernel, plan.lanes)

    def group(data, frame, task):
        task = unpack(task, lane_of(plan, data.x.shape[1], data.x.dtype)[LaneStart])
        ascent = lambda fold: _problem_of(plan, data, frame, kernel, fold, data.tolerance)
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
        climb = jax.vmap(lambda mixture, fold: ascent(fold).opening(mixture))(mixture, task.fold)
        return pack((climb, jax.vmap(rounding)(mixture)))

    frame = _summarize_rows(plan, data)
    return frame, _on_devices(plan, group, 2, 1)(data, frame, task)


def advance(
    plan: LaneSettings, data: LaneData, frame: LaneSummary, natural, leave, move: dict
) -> dict:
    """Makes the (packed) `Move` of each of a group of lanes, as long as more than `leave` of them
    climb on their device. `natural` says which kernel all of them take. Returns what `Moved` they
    then are (packed)."""

    def group(data, frame, natural, leave, move):
        move = unpack(move, lane_of(plan, data.x.shape[1], data.x.dtype)[LaneMove])
        climb, fold, tolerance, limit = move
        kernel = Choice(plan.kernel, plan.lanes, natural if plan.kernel == "auto" else None)
        before, entries = climb.steps, jnp.arange(MOST_STEPS_IN_A_CALL)

        def active(climb):
            return (climb.status == RUNNING) & (climb.steps < limit)

        def step(climb, fold, tolerance):
            return _problem_of(plan, data, frame, kernel, fold, tolerance).step(climb)

        def body(carry):
            climb, objectives, passes = carry
            moving = active(climb)
            moved, objective = jax.vmap(step)(climb, fold, tolerance)
            made = moving[:, None] & (entries[None] == (climb.steps - before)[:, None])
            objectives = jnp.where(made, objective[:, None], objectives)
            passes = jnp.where(made, moved.passes[:, None], passes)
            return jax.vmap(where)(moving, moved, climb), objectives, passes

        trace = jnp.zeros((len(limit), MOST_STEPS_IN_A_CALL), climb.objective.dtype)
        end, objectives, passes = jax.lax.while_loop(
            lambda carry: jnp.sum(active(carry[0])) > leave, body,
            (climb, trace, trace.astype(climb.passes.dtype)),
        )  # fmt: skip
        return pack(Moved(end, _report(data, frame, kernel, end, fold), objectives, passes))

    return _on_devices(plan, group, 4, 1)(data, frame, natural, leave, move)
