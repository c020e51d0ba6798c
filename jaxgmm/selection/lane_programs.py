"""`begin` and `advance`: the two programs that run the fits of a sweep in batches.

Both take a *group* of lanes. Each device runs `LaneSettings.lanes` of them, vmapped inside one
loop, so that they share the natural kernel's features. The programs' shapes are fixed by the
`LaneSettings`, so that the same two programs serve every K and every fold.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ..algorithms.protocol import Algorithm
from ..data.columns import Columns
from ..data.robust_covariance import robust_covariance
from ..data.rows import Rows
from ..families.family import Family
from ..families.universal import CodedFamily, Universal
from ..families.universal_step import Code
from ..fitting.status import RUNNING
from ..fitting.step import FitState, Problem
from ..internal.compiling import jit_with_options
from ..internal.trees import pack, unpack, where
from ..kernels.choice import Choice
from ..kernels.natural import rounding
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.data_covariance import data_covariance
from ..objective.statistics import statistics
from ..starts.initialization import split, start
from .criteria import entropy_at
from .lane_records import LaneConstants, LaneData, LaneMove, LaneOutcome, LaneReport, LaneStart
from .spurious import doubts

DEVICES = "devices"
MOST_STEPS_IN_A_CALL = 64  # between two calls Python can handle an interrupt


@dataclasses.dataclass(frozen=True)
class LaneSettings:
    """What the programs are compiled for.

    `k` is the largest number of components, and `lanes` the number of lanes on each device.
    `quickly` saves compilation time at the cost of slower code. `products` says that matrix
    products are most of the work (see `jit_with_options`).
    """

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
    columns: Columns | None = None
    lanes: int = 0
    quickly: bool = False
    products: bool = False

    @property
    def codes(self) -> bool:
        """Whether lanes differ in their family, which is a code of each lane."""
        return self.family is Universal

    @property
    def begin(self) -> Any:
        """The function `begin` under jit, with the compiler options for these settings.

        Starts of families with axes are too much work for code that is not optimized.
        """
        return jit_with_options(begin, self.quickly, runs_once=not self.codes)

    @property
    def advance(self) -> Any:
        """The function `advance` under jit, with the compiler options for these settings."""
        return jit_with_options(advance, self.quickly, products=self.products)

    @property
    def size(self) -> int:
        """The number of lanes in a group, over all devices."""
        return self.lanes * self.mesh.size


def _weights(data: LaneData, fold: Any, left_out: bool = False) -> Any:
    """Return row weights for a lane: 0 for the rows its fold leaves out, or for all the others."""
    if data.fold is None:
        return data.weight
    weight = jnp.ones(len(data.x), data.x.dtype) if data.weight is None else data.weight
    return jnp.where((data.fold == fold) == left_out, weight, 0)


def _rows_of(
    settings: LaneSettings, data: LaneData, center: jax.Array, fold: Any, left_out: bool = False
) -> Rows:
    """Return the rows with a lane's row weights, in coordinates with their origin at `center`."""
    return Rows(data.x, _weights(data, fold, left_out), center, columns=settings.columns)


def _prepare_rows(settings: LaneSettings, data: LaneData) -> LaneConstants:
    rows = Rows.about_own_mean(data.x, data.weight, settings.columns)
    folds = jnp.arange(settings.folds + 1)
    of_fold = lambda fold: robust_covariance(_rows_of(settings, data, rows.center, fold))
    if rows.has_gaps:
        of_fold = lambda fold: data_covariance(_rows_of(settings, data, rows.center, fold))
    covariance = jax.lax.map(of_fold, folds) if settings.folds else of_fold(0)[None]
    prior = data.prior
    if settings.default_prior:
        prior = jax.vmap(priors.prior_of_covariance)(covariance)
    elif prior is not None:
        repeat = lambda leaf: jnp.broadcast_to(leaf, (len(folds), *jnp.shape(leaf)))
        prior = jax.tree.map(repeat, prior.translate(-rows.center))
    return LaneConstants(rows.center, rows.detail(), covariance, prior)


def _problem_of(
    settings: LaneSettings,
    data: LaneData,
    constants: LaneConstants,
    kernel: Choice,
    fold,
    tolerance,
) -> Problem:
    fold = 0 if data.fold is None else fold  # not batched, so that lanes share what depends on it
    return Problem(
        rows=_rows_of(settings, data, constants.center, fold),
        prior=jax.tree.map(lambda leaf: leaf[fold], constants.prior),
        resolution=constants.resolution,
        tolerance=tolerance,
        max_steps=data.max_steps,
        algorithm=settings.algorithm,
        stopping=settings.stopping,
        kernel=kernel,
    )


def _report(
    settings: LaneSettings,
    data: LaneData,
    constants: LaneConstants,
    kernel: Choice,
    state: FitState,
    fold: jax.Array,
) -> LaneReport:
    def report_lane(state: FitState, fold: Any) -> LaneReport:
        fold = 0 if data.fold is None else fold
        if data.fold is None:
            held_out = jnp.zeros_like(state.objective)
        else:
            rows = _rows_of(settings, data, constants.center, fold, left_out=True)
            held_out = statistics(state.mixture, rows, kernel).log_likelihood
        prior = jax.tree.map(lambda leaf: leaf[fold], constants.prior)
        found = doubts(state.mixture, state.sums, constants.covariance[0], prior, data.steps)
        of_components = lambda doubt: jnp.broadcast_to(doubt, state.sums.mass.shape)
        return LaneReport(
            entropy=entropy_at(
                state.mixture, _rows_of(settings, data, constants.center, fold), state.sums
            ),
            artifact=of_components(found.artifact),
            outlier=of_components(found.outlier),
            held_out=held_out,
            rounding=rounding(state.mixture),
        )

    return jax.vmap(report_lane)(state, fold)


@functools.lru_cache
def lane_of(settings: LaneSettings, d: int, dtype: np.dtype) -> dict[type, Any]:
    """Return the shapes and dtypes of one lane's `FitState` and of the records of the programs.

    Programs take and return these records packed, as `trees.pack` does it.
    """

    def begin() -> FitState:
        family, columns = settings.family, settings.columns
        x = jnp.zeros((2, d if columns is None else columns.width), dtype)
        data = LaneData(x, None, None, x[0], None, tolerance=x[0, 0], max_steps=0, key=None)
        zero = x[0, :d]
        constants = LaneConstants(center=zero, resolution=zero, covariance=None, prior=None)
        problem = _problem_of(settings, data, constants, Choice("whitened"), 0, data.tolerance)
        unit, logits = family.identity(settings.k, d, dtype), jnp.zeros(settings.k, dtype)
        return problem.begin(Mixture(logits, jnp.zeros((settings.k, d), dtype), unit))

    state = jax.eval_shape(begin)
    number = jax.ShapeDtypeStruct((), dtype)
    integer = jax.ShapeDtypeStruct((), np.int32)
    code = jax.ShapeDtypeStruct((len(Code._fields),), dtype) if settings.codes else None
    trace = lambda dtype: jax.ShapeDtypeStruct((MOST_STEPS_IN_A_CALL,), dtype)
    flags = jax.ShapeDtypeStruct((settings.k,), bool)
    report = LaneReport(number, artifact=flags, outlier=flags, held_out=number, rounding=number)
    return {
        FitState: state,
        LaneStart: LaneStart(integer, integer, integer, state.mixture, integer, code),
        LaneMove: LaneMove(state, fold=integer, tolerance=number, limit=integer),
        LaneOutcome: LaneOutcome(state, report, trace(dtype), trace(state.passes.dtype)),
    }


def _on_devices(settings: LaneSettings, function: Callable, n_shared: int, n_lanes: int) -> Any:
    """Return function(*shared, *per lane), where each device runs its own lanes independently."""
    specs = (P(),) * n_shared + (P(DEVICES),) * n_lanes
    return jax.shard_map(
        function, mesh=settings.mesh, in_specs=specs, out_specs=P(DEVICES), check_vma=False
    )


def begin(settings: LaneSettings, data: LaneData, task: dict, splits) -> tuple[LaneConstants, dict]:
    """Begin a group of lanes, each with its `LaneStart` (packed).

    Lanes begin from their restart's key, or from their parents if `splits` is true. Returns the
    constants of the rows, and the packed states (see `Problem.begin_in_loop`) with each lane's
    `rounding`.
    """
    # One pass is not worth compiling two kernels.
    kernel = Choice("whitened" if settings.kernel == "auto" else settings.kernel, settings.lanes)

    def group(data: LaneData, constants: LaneConstants, task: dict) -> dict:
        starts = unpack(task, lane_of(settings, len(constants.center), data.x.dtype)[LaneStart])
        problem = lambda fold: _problem_of(settings, data, constants, kernel, fold, data.tolerance)
        keys = jax.random.split(data.key, settings.restarts)

        def draw(lane: LaneStart) -> Mixture:
            fold = 0 if data.fold is None else lane.fold
            covariance = constants.covariance[fold]
            family: Any = settings.family if lane.code is None else CodedFamily(lane.code)
            return start(
                keys[lane.restart], problem(fold).rows, covariance, settings.k,
                lane.n_components, family, settings.method, settings.lanes, data.filled,
            )  # fmt: skip

        split_parent = lambda lane: split(lane.parent, lane.component)
        if settings.splits:
            mixture = jax.lax.cond(splits, jax.vmap(split_parent), jax.vmap(draw), starts)
        else:
            mixture = jax.vmap(draw)(starts)
        begin_lane = lambda mixture, fold: problem(fold).begin_in_loop(mixture)
        return pack((jax.vmap(begin_lane)(mixture, starts.fold), jax.vmap(rounding)(mixture)))

    constants = _prepare_rows(settings, data)
    return constants, _on_devices(settings, group, 2, 1)(data, constants, task)


def advance(
    settings: LaneSettings, data: LaneData, constants: LaneConstants, position, n_left, move: dict
) -> dict:
    """Advance a group of lanes by their `LaneMove` (packed), and return `LaneOutcome` (packed).

    Each device stops when at most `n_left` of its lanes run. With the kernel "auto",
    `position` chooses the kernel of all lanes (see `kernel_position`).
    """

    def group(data: LaneData, constants: LaneConstants, position, n_left, move: dict) -> dict:
        moves = unpack(move, lane_of(settings, len(constants.center), data.x.dtype)[LaneMove])
        state, fold, tolerance, limit = moves
        shared = position if settings.kernel == "auto" else None
        kernel = Choice(settings.kernel, settings.lanes, shared)
        before, entries = state.steps, jnp.arange(MOST_STEPS_IN_A_CALL)

        def is_active(state: FitState) -> jax.Array:
            return (state.status == RUNNING) & (state.steps < limit)

        def step(state: FitState, fold, tolerance) -> tuple[FitState, jax.Array]:
            return _problem_of(settings, data, constants, kernel, fold, tolerance).step(state)

        def body(carry):
            state, objectives, passes = carry
            active = is_active(state)
            moved, objective = jax.vmap(step)(state, fold, tolerance)
            is_entry = active[:, None] & (entries[None] == (state.steps - before)[:, None])
            objectives = jnp.where(is_entry, objective[:, None], objectives)
            passes = jnp.where(is_entry, moved.passes[:, None], passes)
            return jax.vmap(where)(active, moved, state), objectives, passes

        trace = jnp.zeros((len(limit), MOST_STEPS_IN_A_CALL), state.objective.dtype)
        end, objectives, passes = jax.lax.while_loop(
            lambda carry: jnp.sum(is_active(carry[0])) > n_left,
            body,
            (state, trace, trace.astype(state.passes.dtype)),
        )
        report = _report(settings, data, constants, kernel, end, fold)
        return pack(LaneOutcome(end, report, objectives, passes))

    return _on_devices(settings, group, 4, 1)(data, constants, position, n_left, move)
