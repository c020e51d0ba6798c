"""`sweep`: restarts × K × families, every fit returned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ..algorithms.em import EM
from ..algorithms.protocol import Algorithm
from ..data import row_checks, source_checks
from ..data.column_precision import warn_of_coarse_columns
from ..data.open_data import hold_rows
from ..families.registry import family_class, family_name
from ..fitting.fit import MOST_STEPS
from ..fitting.result import Fit
from ..fitting.stopping import STOPPING
from ..internal import checks, derivatives
from ..internal.feature_names import resolve_feature_names
from ..kernels.choice import KERNELS
from ..objective import prior as priors
from ..objective.prior import Prior
from ..starts.methods import METHODS
from .lane_programs import DEVICES, LaneData, LaneSettings
from .lanes import Lanes
from .remarks import RowTable
from .schedules import SPLITS, STRATEGIES, finish, rank_lanes
from .spurious import steps_of
from .sweep_result import Sweep


class Progress(NamedTuple):
    """What a callback of `sweep` is told: the family, how many lanes still climb, out of how many,
    and the passes made so far."""

    family: str
    climbing: int
    lanes: int
    passes: float


def sweep(
    key: jax.Array,
    x,
    n_components: Sequence[int] | int,
    *,
    restarts: int = 16,
    families: Sequence[str] | str = ("full",),
    algorithm: Algorithm = EM(),
    weight=None,
    prior: Prior | str | None = "default",
    strategy: str = "halving",
    folds: int = 0,
    method: str = "k-means++",
    tolerance: float = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    devices: Sequence | None = None,
    features: Sequence[str] | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Fits every number of components from every start, in every family.

    Args:
      key: a JAX random key. Restart r starts at
        initialize(jax.random.split(key, restarts)[r], x, K).
      x: (n, d) rows.
      n_components: the numbers of components, e.g. range(1, 11).
      restarts: starts for each K.
      families: names in `FAMILIES`.
      algorithm, weight, prior, tolerance, max_steps, stopping: as for `fit`.
      strategy: "halving" runs all starts a few steps, the better ones further, the best to the end,
        and also starts each K from the best fit of K − 1 with a component split; "full" runs every
        start to its end.
      folds: 2 or more also fits every K with each fold of the rows left out, and sums the
        log-likelihood of the rows left out (cross-validation); 0 does not.
      method: how starts are made, as for `initialize`.
      kernel: "whitened", "natural", or "auto": lanes climb by the natural kernel, whose features
        they share, wherever a step is much work, and end by the rule of `fit` (without its
        preference for small n).
      devices: which devices share the lanes; all local ones by default.
      features: names of the d features, for messages; default: the columns of x if it is a table
        with names, else numbers.
      callback: called on the host with a `Progress`, ten times a second, or after every step of a
        group of lanes where one takes longer.

    Returns:
      A `Sweep`. A K larger than the number of distinct rows is listed as impossible, and the
      others run.

    Warns:
      UserWarning: where float32 numbers lie too far apart for a column's spread. Whether float32
        holds each component to 1 % is judged by `fit`, not here.

    Raises:
      ValueError: for an argument that is not as said; for an empty or repeated list of K; for
        K beyond the number of distinct rows if there is no other.

    (Halving as in Jamieson & Talwalkar 2016, AISTATS; a split of a component as in Ueda, Nakano,
    Ghahramani & Hinton 2000, Neural Computation 12.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.sweep(jax.random.key(1), x, range(1, 4), restarts=4)
    >>> found
    Sweep(full; K = 1, 2, 3; 4 restarts)
    >>> found.best("bic").mixture
    Mixture(full, K = 2, d = 2, float32)
    >>> [row["K"] for row in found.table()], found.fits["full"].objective.shape
    ([1, 2, 3], (3, 8))
    """
    checks.random_key(key)
    wanted = checks.distinct_wholes(n_components, "n_components", 1)
    restarts = checks.whole(restarts, "restarts", 1)
    if not isinstance(families, Iterable):
        raise ValueError(f"families is {families!r}: give a name, or a list of names.")
    families = [families] if isinstance(families, str) else list(families)
    kinds = [family_class(family) for family in families]
    checks.not_repeated([family_name(kind) for kind in kinds], "families")
    table = x
    x, dtype = row_checks.check_rows(x, judge=warn_of_coarse_columns)
    features = resolve_feature_names(features, table, x.shape[1])
    derivatives.on_host("sweep", key, x, weight, prior, tolerance)
    rows = hold_rows(x, weight, dtype)
    x = np.asarray(rows.x)[: rows.n]
    weight = None if weight is None else np.asarray(rows.weight)[: rows.n]
    row_checks.weights_count_rows(weight)
    row_checks.squares_fit(x)
    default_prior = isinstance(prior, str)
    if default_prior:
        checks.choice(prior, "prior", ("default",))
    prior = priors.check_prior(None if default_prior else prior, x.shape[1], x.dtype)
    checks.choice(strategy, "strategy", STRATEGIES)
    checks.choice(method, "method", METHODS)
    checks.choice(kernel, "kernel", ("auto", *KERNELS))
    checks.choice(stopping, "stopping", STOPPING)
    checks.algorithm(algorithm)
    checks.callback(callback)
    folds = row_checks.folds(folds, len(x))
    tolerance = np.asarray(checks.not_negative(tolerance, "tolerance"), x.dtype)
    max_steps = np.int32(checks.whole(max_steps, "max_steps", 0, MOST_STEPS))
    source_checks.devices(devices)
    mesh = Mesh(np.array(jax.local_devices() if devices is None else devices), (DEVICES,))

    distinct = row_checks.distinct_rows(x, weight, max(wanted))
    possible = tuple(k for k in wanted if k <= distinct)
    if not possible:
        row_checks.enough_distinct_rows(x, weight, min(wanted))
    fold_of_row, left = None, distinct
    if folds:
        shuffle = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation
        dealt = shuffle(1 + np.arange(len(x), dtype=np.int32) % folds)
        fold_of_row = np.pad(dealt, (0, rows.padding))
        counted = np.ones(len(x)) if weight is None else weight
        without = lambda fold: np.where(dealt == fold, 0, counted)
        left = min(
            row_checks.distinct_rows(x, without(fold), max(wanted)) for fold in range(1, folds + 1)
        )
    steps = steps_of(x)
    data = LaneData(rows.x, rows.weight, fold_of_row, steps, prior, tolerance, max_steps, key)

    results = {}
    for kind in kinds:
        plan = LaneSettings(
            algorithm, kind, max(possible), restarts, method,
            kernel, stopping, default_prior, folds,
            strategy == "halving" and any(k - 1 in possible for k in possible), mesh,
        )  # fmt: skip
        found = results[family_name(kind)] = _run(plan, data, possible, strategy, callback)
        if folds:  # no fit of so many components without one of the folds
            found["held_out"][np.array(possible) > left] = np.nan
    total = np.float64(len(x)) if weight is None else np.sum(weight, dtype=np.float64)
    columns = {
        name: {family: found[name] for family, found in results.items()}
        for name in (
            "fits",
            "entropy",
            "artifact",
            "outlier",
            "held_out",
            "seconds",
            "compile_seconds",
        )
    }
    return Sweep(
        **columns, rows=RowTable(x, features), total_weight=total, n_components=possible,
        restarts=restarts,
        impossible=tuple(k for k in wanted if k not in possible),
    )  # fmt: skip


def _run(plan: LaneSettings, data: LaneData, ks: tuple[int, ...], strategy: str, callback) -> dict:
    """All lanes of one family."""
    name = family_name(plan.family)
    width = plan.restarts + (SPLITS if strategy == "halving" else 0)
    shape = plan.folds + 1, len(ks), width
    fold, at, lane = (index.ravel().astype(np.int32) for index in np.indices(shape))
    index = np.arange(fold.size).reshape(shape)
    is_split = lane >= plan.restarts

    def report(lanes):
        if callback is not None:
            callback(
                Progress(name, int(lanes.running.sum()), fold.size, float(lanes.climb.passes.sum()))
            )

    lanes = Lanes(
        plan, data, np.asarray(ks, np.int32)[at], np.where(is_split, 0, lane), fold,
        report if callback is not None else None,
    )  # fmt: skip
    cells = [index[f, i, : plan.restarts] for f in range(shape[0]) for i in range(len(ks))]
    splits = [
        (index[f, i, plan.restarts :][: ks[i] - 1], index[f, ks.index(ks[i] - 1), : plan.restarts])
        for f in range(shape[0]) for i in range(len(ks)) if ks[i] - 1 in ks
    ]  # fmt: skip
    STRATEGIES[strategy](lanes, cells, splits)
    finish(lanes, [index[f, i] for f in range(shape[0]) for i in range(len(ks))])

    climb, report_ = lanes.climb, lanes.report
    steps = np.maximum(climb.steps, 0)  # −1 where the first pass led to what is not finite
    longest = int(steps.max()) + 1
    means = climb.mixture.means + np.asarray(lanes.frame.center)
    beyond = np.arange(longest)[None] > steps[:, None]
    fits = Fit(
        dataclasses.replace(climb.mixture, means=means),
        climb.sums.log_likelihood, climb.objective, steps, climb.passes, climb.status,
        climb.em_step.em_gain,
        np.where(beyond, climb.objective[:, None], lanes.objectives[:, :longest]),
        np.where(beyond, climb.passes[:, None], lanes.passes[:, :longest]),
    )  # fmt: skip
    grid = lambda leaf: leaf.reshape(*shape, *leaf.shape[1:])
    of_all = lambda leaf: grid(leaf)[0]
    held_out = np.zeros(0)
    if plan.folds:
        held_out = np.zeros(len(ks))
        for f in range(1, plan.folds + 1):
            for i in range(len(ks)):
                held_out[i] += report_.held_out[rank_lanes(lanes, index[f, i])[0]]
    return dict(
        fits=jax.tree.map(of_all, fits), entropy=of_all(report_.entropy),
        artifact=of_all(report_.artifact), outlier=of_all(report_.outlier), held_out=held_out,
        seconds=grid(lanes.seconds)[0], compile_seconds=np.asarray(lanes.compile_seconds),
    )  # fmt: skip
