"""`Sweep`: every fit of a sweep, and its table. `choice_of_k.py` chooses the best fit."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import jax
import numpy as np

from ..families.registry import family_class, family_name
from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import checks
from ..internal.pytrees import pytree
from ..internal.text_table import Table
from ..objective.objective_value import rounding_error
from .best_of_restarts import Flaw
from .choice_of_k import Cell, best_lane_of, choose, flaw_of, scores_of
from .component_remarks import RowTable
from .sweep_remarks import remarks_on


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Sweep:
    """The result of `sweep`: every fit.

    Dicts have a key for each family. Arrays are NumPy's, and their leading axes are (K, lanes): K
    in the order of `n_components`; and the lanes of a K, which are first its restarts, in the order
    of `jax.random.split(key, restarts)`, and then the fits that began by splitting the best fit of
    K − 1.

    Attributes:
      fits: a batched `Fit` for each family. Components beyond K are absent. `DROPPED` lanes were
        stopped early. A lane that was never begun has objective −inf.
      entropy: (K, lanes) −Σ w r log r of each fit.
      artifact: (K, lanes, k) which components are artifacts: they have hardly any rows, or are
        nearly singular
        (see `jaxgmm.fitting.spurious.Doubts`).
      outlier: (K, lanes, k) which components describe a few rows far from all other components.
      held_out: (K,) log-likelihood of the rows that were left out, summed over the folds. It is NaN
        where the other folds have too few rows for K, and empty without folds.
      seconds: (K, lanes) time of each fit. Fits of one batch share its time by their passes.
      compile_seconds: () compilation time; about a millisecond where JAX had the programs already.
        Families that share a program share its time equally.
      total_weight: () Σ w.
      n_components: numbers of components, in ascending order.
      restarts: number of starts for each K.
      impossible: numbers of components for which the data have too few distinct rows.
      rows: the rows and the names of their columns, for the messages of `best`.
    """

    fits: dict[str, Fit]
    entropy: dict[str, np.ndarray]
    artifact: dict[str, np.ndarray]
    outlier: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    compile_seconds: dict[str, np.ndarray]
    total_weight: np.floating
    n_components: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    restarts: int = dataclasses.field(metadata=dict(static=True))
    impossible: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    rows: RowTable = dataclasses.field(metadata=dict(static=True))

    def __repr__(self) -> str:
        ks = ", ".join(map(str, self.n_components))
        return f"Sweep({', '.join(self.fits)}; K = {ks}; {self.restarts} restarts)"

    @property
    def spurious(self) -> dict[str, np.ndarray]:
        """Which fits have an artifact among their components, as (K, lanes) for each family.

        `best` returns such a fit only where there is no other.
        """
        return {
            family: np.any(np.asarray(artifact), axis=-1)
            for family, artifact in self.artifact.items()
        }

    def table(self) -> Table:
        """Return a row for each family and K, as a list of dicts that prints as an aligned table.

        "log-likelihood" is that of the best lane, and "median" the median over the lanes that
        ended. AIC, BIC and ICL (lower is better) are those of the best lane, and NaN where every
        lane failed. "at best" counts the lanes whose objective is within 1e-3 nats (or its
        rounding) of the best. "passes" and "seconds" are sums over all lanes.
        """
        rows = Table()
        for family, fits in self.fits.items():
            for k in (*self.n_components, *self.impossible):
                row = _blank_row() if k in self.impossible else self._row(family, fits, k)
                rows.append({"family": family, "K": k} | row)
        if not any(len(values) for values in self.held_out.values()):
            for row in rows:
                del row["held-out"]
        return Table(sorted(rows, key=lambda row: (list(self.fits).index(row["family"]), row["K"])))

    def _row(self, family: str, fits: Fit, k: int) -> dict[str, Any]:
        at = self.n_components.index(k)
        status, objective = np.asarray(fits.status[at]), np.asarray(fits.objective[at], np.float64)
        index, usable = best_lane_of(self, (family, k))
        likelihood = np.asarray(fits.log_likelihood[at], np.float64)
        ended = usable & (status != Status.DROPPED)
        finite = objective[np.isfinite(objective)]
        top = objective[index] if len(finite) else 0.0
        close = max(1e-3, rounding_error(top, fits.objective.dtype))
        reached = int(np.sum(usable & (objective >= top - close) & (objective <= top + close)))
        scores = scores_of(self, (family, k))
        begun = np.asarray(fits.passes[at]) > 0
        count = lambda *wanted: int(np.sum(begun & np.isin(status, wanted)))
        return {
            "log-likelihood": float(likelihood[index]) if usable.any() else float("nan"),
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

    def scores(self, family: str, k: int, lane: int | None = None) -> dict[str, float]:
        """Return the criteria of a lane, by default of the best one; NaN if every lane failed.

        Raises ValueError for a family or K that the sweep does not have.
        """
        return scores_of(self, (self._family(family), self._k(k)), lane)

    def best(
        self, criterion: str = "bic", *, family: str | None = None, n_components: int | None = None
    ) -> Fit:
        """Return the best fit over all families and K, without absent components.

        For each family and K, the fit with the highest objective is compared, among those that
        neither failed nor are spurious. A family and K without such a fit are chosen only if there
        is no other, so that a spurious or failed fit is returned only if all are.

        Args:
          criterion: "bic", "aic" or "icl" (the lowest value is best), or "held-out" (the highest
            value is best), which needs a sweep with folds.
          family: the family to choose from; None for all.
          n_components: the K to choose from; None for all.

        Returns:
          One `Fit`, in JAX arrays.

        Warns:
          UserWarning: once. If the returned fit is spurious or failed, the warning says so. If it
            is sound, the warning names its outliers; the spurious fit whose criterion is clearly
            better (by 10 or more, which is decisive: Kass & Raftery 1995, JASA 90, sec. 3.2); and
            the numbers of components for which every fit failed, with the columns that depend on
            one another.

        Raises:
          ValueError: for an unknown criterion, or a family or K that the sweep does not have.
        """
        cells = self._cells(family, n_components)
        flaw, chosen = choose(self, criterion, cells)
        remarks = remarks_on(self, criterion, flaw, chosen, cells)
        if remarks:
            warnings.warn(" ".join(remarks), stacklevel=2)
        return self.fit(*chosen)

    def _cells(self, family: str | None, n_components: int | None) -> list[Cell]:
        families = list(self.fits) if family is None else [self._family(family)]
        ks = self.n_components if n_components is None else [self._k(n_components)]
        return [(family, k) for family in families for k in ks]

    def chosen(
        self, criterion: str = "bic", family: str | None = None, n_components: int | None = None
    ) -> tuple[Flaw, str, int]:
        """Return the flaw, the family and the K of the fit that `best` returns.

        Arguments and errors are those of `best`.
        """
        flaw, (best_family, k) = choose(self, criterion, self._cells(family, n_components))
        return flaw, best_family, k

    def flaw(self, family: str, k: int) -> Flaw:
        """Return what is wrong with the best fit of a family and K."""
        return flaw_of(self, (family, k))

    def fit(self, family: str, n_components: int, lane: int | None = None) -> Fit:
        """Return one fit, without absent components.

        Args:
          family: a family of this sweep.
          n_components: a K of this sweep.
          lane: the index of a lane; None for the best lane.

        Returns:
          One `Fit`, in JAX arrays.

        Raises:
          ValueError: for a family, K or lane that the sweep does not have.
        """
        family, n_components = self._family(family), self._k(n_components)
        at = self.n_components.index(n_components)
        if lane is not None:
            lane = checks.whole(lane, "lane", 0, self.fits[family].status.shape[1] - 1)
        index = best_lane_of(self, (family, n_components))[0] if lane is None else lane
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
        n_components = checks.whole(n_components, "n_components", 1)
        if n_components not in self.n_components:
            raise ValueError(
                f"this sweep has no K = {n_components!r}: choose one of {list(self.n_components)}."
            )
        return n_components

    def plot(self, ax: Any = None) -> Any:
        """Plot BIC and ICL against K, in a color for each family, and the BIC of each ended lane.

        Returns the matplotlib axes. Raises ImportError without matplotlib.
        """
        from .. import plot

        return plot.bic_curve(self, ax)


def _blank_row() -> dict[str, Any]:
    names = ("log-likelihood", "median", "AIC", "BIC", "ICL", "held-out")
    counts = ("converged", "max steps", "dropped", "failed", "spurious", "passes")
    return (
        dict.fromkeys(names, float("nan")) | {"at best": "too few distinct rows"}
        | dict.fromkeys(counts, 0) | {"seconds": 0.0}
    )  # fmt: skip
