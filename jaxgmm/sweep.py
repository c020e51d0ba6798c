"""`sweep`: restarts × K × families, every fit returned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from . import checks
from . import prior as priors
from .climb import STOPPING, Algorithm
from .em import EM
from .families import family_class, family_name
from .fit import MOST_STEPS, Fit
from .initialize import METHODS
from .kernels import KERNELS
from .lanes import DEVICES, Data, Lanes, Plan
from .prior import Prior
from .select import best_lane, free_parameters, warn_that_all_failed
from .status import Status
from .tables import Table

SPLITS = 4  # starts of K + 1 components from the best fit of K


class Progress(NamedTuple):
    """What a callback of `sweep` is told: the family, how many lanes still climb, out of how many,
    and the passes made so far."""

    family: str
    climbing: int
    lanes: int
    passes: float


# ---- strategies: which lanes move, and how far -------------------------------------------------


def _full(lanes: Lanes, cells: list[np.ndarray], splits: list) -> None:
    """Every start to its end."""
    started = np.concatenate(cells)
    lanes.begin(started)
    lanes.run(started)


# After so many more steps, this share of the restarts of a K goes on. (Of a dozen schedules under a
# third of the passes, one that lost fewest of the best optima on ten data sets.)
HALVING = ((4, 0.45), (12, 0.2), (32, 0.125))


def _halving(lanes: Lanes, cells: list[np.ndarray], splits: list) -> None:
    """All starts a few steps, the better ones some more, the best to their end (Biernacki, Celeux &
    Govaert 2003, Comput. Statist. Data Anal. 41: short runs of EM; Jamieson & Talwalkar 2016)."""
    started = np.concatenate(cells)
    lanes.begin(started)
    for steps, share in HALVING:
        lanes.run(started, steps)
        for cell in cells:
            keep = max(1, int(np.ceil(share * len(cell))))
            lanes.drop(_ranked(lanes, cell)[keep:])
    lanes.run(started)

    # K + 1 also starts from the best of K, with one of its heaviest components split.
    halves = [(cell, source) for cell, source in splits if len(cell)]
    if not halves:
        return
    chosen, parents, components = [], [], []
    for cell, source in halves:
        parent = _ranked(lanes, source)[0]
        heaviest = np.argsort(-lanes.climb.sums.mass[parent])[: len(cell)]
        chosen.append(cell)
        parents.append(np.full(len(cell), parent))
        components.append(heaviest)
    begun = np.concatenate(chosen)
    lanes.begin(begun, np.concatenate(parents), np.concatenate(components))
    lanes.run(begun, 10)
    for cell in chosen:
        lanes.drop(_ranked(lanes, cell)[1:])
    lanes.run(begun)


STRATEGIES = {"halving": _halving, "full": _full}


def _ranked(lanes: Lanes, cell: np.ndarray) -> np.ndarray:
    """The lanes of a cell, the most promising first: failed and spurious ones last."""
    status, objective = lanes.climb.status[cell], lanes.climb.objective[cell]
    failed = (status == Status.NONFINITE) | (status == Status.DEGENERATE)
    doubt = 2 * failed + lanes.report.spurious[cell]
    return cell[np.lexsort((-np.nan_to_num(objective, nan=-np.inf), doubt))]


# ---- the result --------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Sweep:
    """Every fit of a `sweep`. Dicts have a key for each family. NumPy arrays lead with (K, lanes):
    K as `n_components` lists them; the lanes of a K are its restarts, in the order of
    `jax.random.split(key, restarts)`, then those that began by splitting the best fit of K − 1.

    Attributes:
      fits: a batched `Fit` for each family; components beyond K are absent. `DROPPED` lanes were
        stopped early. A lane that was never begun has objective −inf.
      entropy: −Σ w r log r of each fit.
      spurious: which fits have a component on hardly any rows, or nearly singular (see
        `jaxgmm.status.spurious`); `best` leaves them out while others exist.
      held_out: (K,) log-likelihood of rows left out, summed over the folds; empty without folds.
      seconds: time of each fit, that of lanes side by side shared by passes.
      compile_seconds: () for each family; 0 where the programs were compiled before.
      total_weight: () Σ w.
      n_components, restarts: what was asked for.
      impossible: numbers of components for which the data have too few distinct rows.
    """

    fits: dict[str, Fit]
    entropy: dict[str, jax.Array]
    spurious: dict[str, jax.Array]
    held_out: dict[str, jax.Array]
    seconds: dict[str, jax.Array]
    compile_seconds: dict[str, jax.Array]
    total_weight: jax.Array
    n_components: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    restarts: int = dataclasses.field(metadata=dict(static=True))
    impossible: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))

    def __repr__(self) -> str:
        ks = ", ".join(map(str, self.n_components))
        return f"Sweep({', '.join(self.fits)}; K = {ks}; {self.restarts} restarts)"

    def table(self) -> Table:
        """A row for each family and K, as plain dicts; printed, an aligned table.

        log-likelihood and median are of the best lane and over the lanes that ended; AIC, BIC and
        ICL (lower is better) are of the best lane; "at best" counts the lanes whose objective is
        within 1e-3 nats (or its rounding) of the best; passes and seconds are those of all lanes.
        """
        rows = Table()
        for family, fits in self.fits.items():
            for k in (*self.n_components, *self.impossible):
                row = {"family": family, "K": k}
                rows.append(
                    row | (_blank() if k in self.impossible else self._row(family, fits, k))
                )
        if not any(len(values) for values in self.held_out.values()):
            for row in rows:
                del row["held-out"]
        return Table(sorted(rows, key=lambda row: (list(self.fits).index(row["family"]), row["K"])))

    def _row(self, family: str, fits: Fit, k: int) -> dict:
        at = self.n_components.index(k)
        status, objective = np.asarray(fits.status[at]), np.asarray(fits.objective[at], np.float64)
        index, usable = self._best_lane(family, k)
        likelihood = np.asarray(fits.log_likelihood[at], np.float64)
        ended = usable & (status != Status.DROPPED)
        finite = objective[np.isfinite(objective)]
        close = max(1e-3, 8 * np.finfo(fits.objective.dtype).eps * abs(objective[index]))
        reached = int(np.sum(usable & (objective >= objective[index] - close)))
        scores = self._scores(family, k)
        begun = np.asarray(fits.passes[at]) > 0
        count = lambda *wanted: int(np.sum(begun & np.isin(status, wanted)))
        return {
            "log-likelihood": float(likelihood[index]),
            "median": float(np.median(likelihood[ended])) if ended.any() else float("nan"),
            **scores,
            "at best": f"{reached} of {int(np.sum(begun))}" if len(finite) else "0",
            "converged": count(Status.CONVERGED),
            "max steps": count(Status.MAX_STEPS),
            "dropped": count(Status.DROPPED),
            "failed": count(Status.NONFINITE, Status.DEGENERATE),
            "spurious": int(np.sum(begun & np.asarray(self.spurious[family][at]))),
            "passes": int(np.sum(np.asarray(fits.passes[at]))),
            "seconds": float(np.sum(np.asarray(self.seconds[family][at]))),
        }

    def _best_lane(self, family: str, k: int) -> tuple[int, np.ndarray]:
        at, fits = self.n_components.index(k), self.fits[family]
        return best_lane(
            np.asarray(fits.status[at]), np.asarray(fits.objective[at]),
            np.asarray(self.spurious[family][at]),
        )  # fmt: skip

    def _scores(self, family: str, k: int) -> dict[str, float]:
        at, fits = self.n_components.index(k), self.fits[family]
        index, _ = self._best_lane(family, k)
        likelihood = float(fits.log_likelihood[at, index])
        uncertainty = float(self.entropy[family][at, index])
        p = free_parameters(family_class(family), k, fits.mixture.means.shape[-1])
        bic = p * float(np.log(self.total_weight)) - 2 * likelihood
        held_out = self.held_out[family]
        return {
            "AIC": 2 * p - 2 * likelihood,
            "BIC": bic,
            "ICL": bic + 2 * uncertainty,
            "held-out": float(held_out[at]) if len(held_out) else float("nan"),
        }

    def best(
        self, criterion: str = "bic", *, family: str | None = None, n_components: int | None = None
    ) -> Fit:
        """The best fit over all families and K (or of those named) by "bic", "aic", "icl" (lowest),
        or "held-out" (highest; for a sweep with folds), without absent components.

        For each family and K that is the fit of highest objective among those that did not fail and
        are not spurious, if there are any.

        Raises:
          ValueError: for an unknown criterion, or a family or K that the sweep does not have.
        """
        checks.choice(criterion, "criterion", ("bic", "aic", "icl", "held-out"))
        families = list(self.fits) if family is None else [self._family(family)]
        ks = self.n_components if n_components is None else [self._k(n_components)]
        if criterion == "held-out" and not all(len(values) for values in self.held_out.values()):
            raise ValueError("this sweep left no rows out: call sweep(..., folds=5).")
        held_out = criterion == "held-out"

        def score(family, k):
            value = self._scores(family, k)[criterion if held_out else criterion.upper()]
            return np.inf if np.isnan(value) else -value if held_out else value

        _, found, k = min((score(family, k), family, k) for family in families for k in ks)
        if not self._best_lane(found, k)[1].any():
            warn_that_all_failed()
        return self.fit(found, k)

    def fit(self, family: str, n_components: int, lane: int | None = None) -> Fit:
        """One fit, without absent components: of the lane given, or of the best. Raises ValueError
        for a family, K or lane that the sweep does not have."""
        family, at = self._family(family), self.n_components.index(self._k(n_components))
        if lane is not None:
            checks.whole(lane, "lane", 0, self.fits[family].status.shape[1] - 1)
        index = self._best_lane(family, n_components)[0] if lane is None else lane
        one = jax.tree.map(lambda leaf: np.asarray(leaf)[at, index], self.fits[family])
        steps = int(one.steps) + 1
        one = dataclasses.replace(
            one,
            mixture=jax.tree.map(lambda leaf: leaf[:n_components], one.mixture),
            history=one.history[:steps],
            history_passes=one.history_passes[:steps],
        )
        return jax.device_put(one)

    def _family(self, name: str) -> str:
        name = family_name(family_class(name))
        checks.choice(name, "family of this sweep", tuple(self.fits))
        return name

    def _k(self, n_components: int) -> int:
        if n_components not in self.n_components:
            raise ValueError(
                f"this sweep has no K = {n_components!r}: choose one of {list(self.n_components)}."
            )
        return n_components

    def plot(self, ax=None):
        """BIC and ICL against K, a colour for each family, with every restart's BIC behind; returns
        the matplotlib axes. Raises ImportError without matplotlib."""
        from . import plot

        return plot.bic_curve(self, ax)


def _blank() -> dict:
    names = ("log-likelihood", "median", "AIC", "BIC", "ICL", "held-out")
    counts = ("converged", "max steps", "dropped", "failed", "spurious", "passes")
    return (
        dict.fromkeys(names, float("nan")) | {"at best": "too few distinct rows"}
        | dict.fromkeys(counts, 0) | {"seconds": 0.0}
    )  # fmt: skip


# ---- the front door ----------------------------------------------------------------------------


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
    stopping: str = "kl",
    devices: Sequence | None = None,
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
        they share, and end by the rule of `fit` (without its preference for small n).
      devices: which devices share the lanes; all local ones by default.
      callback: called on the host with a `Progress`, after every step of every group of lanes.

    Returns:
      A `Sweep`. A K larger than the number of distinct rows is listed as impossible, and the
      others run.

    Raises:
      ValueError: for an argument that is not as said; for an empty or repeated list of K; for
        K beyond the number of distinct rows if there is no other.
    """
    checks.random_key(key)
    wanted = checks.distinct_wholes(n_components, "n_components", 1)
    restarts = checks.whole(restarts, "restarts", 1)
    families = [families] if isinstance(families, str) else list(families)
    kinds = [family_class(family) for family in families]
    checks.not_repeated([family_name(kind) for kind in kinds], "families")
    x = checks.data(x)
    if checks.traced(x, weight):
        raise ValueError("sweep runs a loop on the host: call it outside jit and vmap.")
    weight = checks.weights_of_rows(weight, len(x), x.dtype)
    checks.squares_fit(x)
    default_prior = isinstance(prior, str)
    if default_prior:
        checks.choice(prior, "prior", ("default",))
    prior = priors.checked(None if default_prior else prior, x.shape[1], x.dtype)
    checks.choice(strategy, "strategy", STRATEGIES)
    checks.choice(method, "method", METHODS)
    checks.choice(kernel, "kernel", ("auto", *KERNELS))
    checks.choice(stopping, "stopping", STOPPING)
    checks.algorithm(algorithm)
    checks.callback(callback)
    folds = checks.folds(folds, len(x))
    tolerance = np.asarray(checks.not_negative(tolerance, "tolerance"), x.dtype)
    max_steps = np.int32(checks.whole(max_steps, "max_steps", 0, MOST_STEPS))
    if devices is not None and not len(devices):
        raise ValueError("devices is empty: give at least one, or None for all local ones.")
    mesh = Mesh(np.array(devices if devices is not None else jax.local_devices()), (DEVICES,))

    distinct = checks.distinct_rows(x, weight, max(wanted))
    possible = tuple(k for k in wanted if k <= distinct)
    if not possible:
        checks.enough_distinct_rows(x, weight, min(wanted))
    fold_of_row = None if folds == 0 else 1 + np.arange(len(x), dtype=np.int32) % folds
    if folds:
        shuffle = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation
        fold_of_row = shuffle(fold_of_row)
    data = Data(x, weight, fold_of_row, prior, tolerance, max_steps, key)

    results = {}
    for kind in kinds:
        plan = Plan(
            algorithm, kind, max(possible), restarts, method,
            kernel, stopping, default_prior, folds,
            strategy == "halving" and any(k - 1 in possible for k in possible), mesh,
        )  # fmt: skip
        results[family_name(kind)] = _run(plan, data, possible, strategy, callback)
    total = np.float64(len(x)) if weight is None else np.sum(np.asarray(weight, np.float64))
    columns = {
        name: {family: found[name] for family, found in results.items()}
        for name in ("fits", "entropy", "spurious", "held_out", "seconds", "compile_seconds")
    }
    return Sweep(
        **columns, total_weight=total, n_components=possible, restarts=restarts,
        impossible=tuple(k for k in wanted if k not in possible),
    )  # fmt: skip


def _run(plan: Plan, data: Data, ks: tuple[int, ...], strategy: str, callback) -> dict:
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

    climb, report_, longest = lanes.climb, lanes.report, int(lanes.climb.steps.max()) + 1
    means = climb.mixture.means + np.asarray(lanes.frame.centre)
    beyond = np.arange(longest)[None] > climb.steps[:, None]
    fits = Fit(
        dataclasses.replace(climb.mixture, means=means),
        climb.sums.log_likelihood, climb.objective, climb.steps, climb.passes, climb.status,
        climb.em_step.gain,
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
                held_out[i] += report_.held_out[_ranked(lanes, index[f, i])[0]]
    return dict(
        fits=jax.tree.map(of_all, fits), entropy=of_all(report_.entropy),
        spurious=of_all(report_.spurious), held_out=held_out, seconds=grid(lanes.seconds)[0],
        compile_seconds=np.asarray(lanes.compile_seconds),
    )  # fmt: skip
