"""`begin` and `advance`: the programs that run the fits of a sweep in batches.

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
from ..families.family import Family
from ..families.universal import CodedFamily, Universal
from ..families.universal_rotations import Code
from ..fitting.status import RUNNING
from ..fitting.step import FitState, Problem
from ..internal.compiling import jit_with_options
from ..internal.trees import pack, unpack, where
from ..kernels.choice import Choice
from ..kernels.divide_into_cells import divide
from ..mixture.mixture import Mixture
from ..starts.from_assignments import Assigned
from ..starts.initialization import assign, finish, split
from .lane_records import LaneConstants, LaneData, LaneMove, LaneOutcome, LaneReport, LaneStart
from .lane_reports import report_of, rounding_of
from .lane_rows import Preparation, prepare, rows_of

DEVICES = "devices"
MOST_STEPS_IN_A_CALL = 64  # between two calls Python can handle an interrupt


@dataclasses.dataclass(frozen=True)
class LaneSettings:
    """What the programs are compiled for.

    `k` is the largest number of components, and `lanes` the number of lanes on each device.
    `quickly` saves compilation time at the cost of slower code. `products` says that matrix
    products are most of the work (see `jit_with_options`). `divides` says that the rows are divided
    into cells for the only lane of a device (see `kernels/divide_into_cells.py`).
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
    divides: bool = False

    @property
    def codes(self) -> bool:
        """Whether lanes differ in their family, which is a code of each lane."""
        return self.family is Universal

    @property
    def starts_in_loop(self) -> bool:
        """Whether the loop makes the M-steps of starts, which then need no program of their own.

        It makes them with the prior of the fits, which is that of starts by default.
        """
        return self.codes and self.default_prior

    @property
    def prepare(self) -> Any:
        """The function `prepare` under jit, and its static argument."""
        compiled = jit_with_options(prepare, self.quickly, runs_once=True)
        return functools.partial(
            compiled, Preparation(self.folds, self.default_prior, self.columns)
        )

    @property
    def begin(self) -> Any:
        """The function `begin` under jit, with the compiler options for these settings.

        M-steps of families with axes are too much work for code that is not optimized.
        """
        return jit_with_options(
            begin, self.quickly, runs_once=self.starts_in_loop or not self.codes
        )

    @property
    def advance(self) -> Any:
        """The function `advance` under jit, with the compiler options for these settings."""
        return jit_with_options(advance, self.quickly, products=self.products)

    @property
    def size(self) -> int:
        """The number of lanes in a group, over all devices."""
        return self.lanes * self.mesh.size


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
        rows=rows_of(settings.columns, data, constants.center, fold),
        prior=jax.tree.map(lambda leaf: leaf[fold], constants.prior),
        resolution=constants.resolution,
        tolerance=tolerance,
        max_steps=data.max_steps,
        algorithm=settings.algorithm,
        stopping=settings.stopping,
        kernel=kernel,
    )


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
        return problem.begin_in_loop(Mixture(logits, jnp.zeros((settings.k, d), dtype), unit))

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


def begin(
    settings: LaneSettings, data: LaneData, constants: LaneConstants, splits, task: dict
) -> dict:
    """Begin a group of lanes, each with its `LaneStart` (packed).

    Lanes begin from their restart's key, or from their parents if `splits` is true. Returns the
    packed states (see `Problem.begin_in_loop`) with each lane's `rounding`.
    """
    # One pass is not worth compiling two kernels.
    kernel = Choice("whitened" if settings.kernel == "auto" else settings.kernel, settings.lanes)

    def group(data: LaneData, constants: LaneConstants, splits, task: dict) -> dict:
        starts = unpack(task, lane_of(settings, len(constants.center), data.x.dtype)[LaneStart])
        problem = lambda fold: _problem_of(settings, data, constants, kernel, fold, data.tolerance)
        keys = jax.random.split(data.key, settings.restarts)

        def begin_at(mixture: Mixture, fold: Any) -> tuple[FitState, jax.Array]:
            return problem(fold).begin_in_loop(mixture), rounding_of(settings.kernel, mixture)

        def draw(lane: LaneStart) -> tuple[FitState, jax.Array]:
            fold = 0 if data.fold is None else lane.fold
            covariance = constants.covariance[fold]
            family: Any = settings.family if lane.code is None else CodedFamily(lane.code)
            found = assign(
                keys[lane.restart], problem(fold).rows, covariance, settings.k,
                lane.n_components, family, settings.method, settings.lanes, data.filled,
            )  # fmt: skip
            if settings.starts_in_loop and isinstance(found, Assigned):
                # Of the start, which the loop makes, nothing is known yet.
                unknown = jnp.full((), jnp.inf, found.base.dtype)
                return problem(fold).begin_with_statistics(*found), unknown
            return begin_at(finish(found, family, covariance), lane.fold)

        def split_parent(lane: LaneStart) -> tuple[FitState, jax.Array]:
            return begin_at(split(lane.parent, lane.component), lane.fold)

        if settings.splits:
            return pack(jax.lax.cond(splits, jax.vmap(split_parent), jax.vmap(draw), starts))
        return pack(jax.vmap(draw)(starts))

    return _on_devices(settings, group, 3, 1)(data, constants, splits, task)


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
        rows = None
        if settings.divides:
            rows = rows_of(settings.columns, data, constants.center, fold[0])
            rows = divide(rows, jax.tree.map(lambda leaf: leaf[0], state.mixture))

        def is_active(state: FitState) -> jax.Array:
            return (state.status == RUNNING) & (state.steps < limit)

        def step(state: FitState, fold, tolerance) -> tuple[FitState, jax.Array]:
            problem = _problem_of(settings, data, constants, kernel, fold, tolerance)
            problem = problem if rows is None else dataclasses.replace(problem, rows=rows)
            return problem.step(state, starts=settings.starts_in_loop)

        def body(carry):
            state, objectives, passes = carry
            active = is_active(state)
            over_lanes = _over_one_lane if settings.divides else jax.vmap
            moved, objective = over_lanes(step)(state, fold, tolerance)
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
        report = report_of(settings.columns, data, constants, kernel, end, fold)
        return pack(LaneOutcome(end, report, objectives, passes))

    return _on_devices(settings, group, 4, 1)(data, constants, position, n_left, move)


def _over_one_lane(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `jax.vmap` of a function for a single lane, which computes no branch in vain."""
    first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)
    return lambda *lanes: jax.tree.map(lambda leaf: leaf[None], function(*map(first, lanes)))
