"""`Comparison`: what several algorithms did from the same starts."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import checks
from ..internal.tables import Table
from ..mixture.mixture import Mixture
from .optima import Optimum
from .profile import GAP, Profile, profile

AT_BEST = 1e-3  # nats


class Trace(NamedTuple):
    """One fit's way up, entry by entry from its start.

    passes (t,) and seconds (t,) made up to each accepted mixture, and its gap (t,) to the best
    known optimum in nats per unit of row weight (negative by rounding at the most)."""

    passes: np.ndarray
    seconds: np.ndarray
    gap: np.ndarray


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of `compare`. Dicts go by the algorithms' names; arrays are NumPy's, with an entry
    for each of r starts.

    Attributes:
      fits: `Fit`s with a leading axis of starts; histories as long as the longest.
      starts: the `Mixture`s they all began at, with a leading axis.
      objective: (r,) ℓ + log prior of the ends, in float64.
      em_gain: (r,) D of the ends, in float64.
      gradient_norm: (r,) of the ends' gradient per unit of row weight, in coordinates relative to
        the end (see `Relative`): its square is twice what a Newton step would gain if components
        were separated, and the weights' direction that changes nothing is not in it.
      seconds: (r,) of each fit, after compilation.
      compile_seconds: of compiling, and one pass.
      forward_passes: (r,) passes that needed the log-likelihood alone.
      forward_price: what such a pass costs, measured in passes that make all statistics; NaN where
        there were none.
      optimum: (r,) index into `optima`: the one that a fit that converged is polished to, or that
        one that did not converge came within 1e-6 nats per row of; −1 for others.
      optima: `Optimum`s that fits converged to, best first.
      total_weight: Σ w.
    """

    fits: dict[str, Fit]
    starts: Mixture
    objective: dict[str, np.ndarray]
    em_gain: dict[str, np.ndarray]
    gradient_norm: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    compile_seconds: dict[str, float]
    forward_passes: dict[str, np.ndarray]
    forward_price: float
    optimum: dict[str, np.ndarray]
    optima: list[Optimum]
    total_weight: float

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.fits)}; {self.restarts} starts)"

    def __str__(self) -> str:
        common = self.common_starts()
        lines = [
            f"{self.restarts} starts; the best known optimum has objective {self.best_known:.4f}.",
            f"From {len(common)} all algorithms ended at the same optimum; over these, 'passes to "
            "1e-6' is the median",
            "number of passes until the objective is within 1e-6 nats per row of that optimum.",
            "",
            str(self.table()),
        ]
        return "\n".join(lines)

    @property
    def restarts(self) -> int:
        """r."""
        return len(next(iter(self.seconds.values())))

    @property
    def best_known(self) -> float:
        """The highest objective known: of the optima, or of an end that lies even higher."""
        ends = [np.nanmax(values, initial=-np.inf) for values in self.objective.values()]
        return float(max([optimum.objective for optimum in self.optima[:1]] + ends))

    def common_starts(self, *names: str) -> np.ndarray:
        """Indices of the starts from which all algorithms (or those named) ended at the same
        optimum."""
        ends = np.stack([self.optimum[name] for name in names or self.fits])
        return np.flatnonzero((ends == ends[0]).all(axis=0) & (ends[0] >= 0))

    def cost(
        self, name: str, *, to: str = "best", gap: float = GAP, clock: str = "passes"
    ) -> np.ndarray:
        """(r,) what one algorithm paid until its objective came within `gap` of an optimum, in nats
        per unit of row weight; infinite where it did not.

        Args:
          to: "best", the best optimum that any algorithm reached *from the same start*; or "own",
            the one it ended at itself.
          clock: "passes" or "seconds".

        Raises:
          ValueError: for another name, optimum or clock.
        """
        checks.choice(name, "algorithm of this comparison", tuple(self.fits))
        checks.choice(to, "optimum", ("best", "own"))
        checks.choice(clock, "clock", ("passes", "seconds"))
        below = self.shortfall(*([] if to == "best" else [name]))
        costs = np.full(self.restarts, np.inf)
        for start, trace in enumerate(self.traces[name]):
            there = np.flatnonzero(trace.gap <= gap + below[start])
            if len(there):
                costs[start] = getattr(trace, clock)[there[0]]
        return costs

    def shortfall(self, *names: str) -> np.ndarray:
        """(r,) how far the best optimum that any algorithm (or one of those named) reached from
        each start lies below the best known, in nats per unit of row weight; −inf where none was
        reached."""
        ends = np.stack([self.optimum[name] for name in names or self.fits])
        best = np.where(ends >= 0, ends, len(self.optima)).min(axis=0)
        heights = np.array([optimum.objective for optimum in self.optima] + [np.inf])
        return (self.best_known - heights[best]) / self.total_weight

    def table(self) -> Table:
        """A row for each algorithm, as plain dicts; printed, an aligned table.

        objective is that of the best end; gap the median distance to the best known optimum, in
        nats per row; "at best" counts the ends within 1e-3 nats of it; "same end" the starts from
        which it converged to the optimum that the first algorithm did, and "differ by" the largest
        difference of the two objectives there, in nats per row. steps, passes, seconds, D and
        gradient are medians over the starts. "passes to 1e-6" is the median over `common_starts()`.
        "priced" are passes with those for the log-likelihood alone at their measured price.
        """
        first = next(iter(self.fits))
        rows = Table()
        for name, fits in self.fits.items():
            together = (self.optimum[name] == self.optimum[first]) & (self.optimum[name] >= 0)
            together &= fits.status == Status.CONVERGED
            together &= self.fits[first].status == Status.CONVERGED
            apart = np.abs(self.objective[name] - self.objective[first])[together]
            usable = np.isin(fits.status, (Status.CONVERGED, Status.MAX_STEPS))
            short = self.best_known - self.objective[name]
            cheaper = self.forward_passes[name] * (self.forward_price - 1)
            count = lambda *wanted, fits=fits: int(np.isin(fits.status, wanted).sum())
            row = {
                "algorithm": name,
                "objective": float(np.max(self.objective[name], initial=-np.inf)),
                "gap": _median(short / self.total_weight),
                "at best": f"{int(np.sum(usable & (short < AT_BEST)))} of {self.restarts}",
                "same end": int(together.sum()),
                "differ by": float(apart.max() / self.total_weight) if len(apart) else np.nan,
                "steps": _median(fits.steps),
                "passes": _median(fits.passes),
                "priced": _median(fits.passes + cheaper),
                "passes to 1e-6": _median(self.cost(name)[self.common_starts()]),
                "seconds": _median(self.seconds[name]),
                "compile": float(self.compile_seconds[name]),
                "D": _median(self.em_gain[name]),
                "gradient": _median(self.gradient_norm[name]),
                "converged": count(Status.CONVERGED),
                "max steps": count(Status.MAX_STEPS),
                "failed": count(Status.NONFINITE, Status.DEGENERATE),
            }
            if np.isnan(self.forward_price):
                del row["priced"]
            rows.append(row)
        return rows

    @property
    def traces(self) -> dict[str, list[Trace]]:
        """For each algorithm a `Trace` for each start."""
        return {
            name: [self._trace(name, start) for start in range(self.restarts)] for name in self.fits
        }

    def _trace(self, name: str, start: int) -> Trace:
        fits, entries = self.fits[name], int(self.fits[name].steps[start]) + 1
        passes = np.asarray(fits.history_passes[start][:entries], np.float64)
        height = np.asarray(fits.history[start][:entries], np.float64)
        share = passes / max(float(fits.passes[start]), 1.0)
        gap = (self.best_known - height) / self.total_weight
        return Trace(passes, self.seconds[name][start] * share, gap)

    def profile(
        self, *others: Comparison, gap: float = GAP, clock: str = "passes"
    ) -> dict[str, Profile]:
        """Performance profiles over all starts of this comparison and of `others`, on other data
        sets, of the same algorithms.

        Args:
          gap: a start is solved where the objective is within `gap` nats per unit of row weight of
            the best optimum reached from it.
          clock: "passes" or "seconds".

        Raises:
          ValueError: for another clock, or comparisons of other algorithms.
        """
        return profile([self, *others], gap=gap, clock=clock)

    def plot(self, ax=None):
        """Gaps to the best optimum reached from the same start, against passes, a thin line for
        each start and the median one thick; and the performance profile. Returns the two matplotlib
        axes. Raises ImportError without matplotlib."""
        from .. import plot

        return plot.comparison(self, ax)


def _median(values) -> float:
    values = np.asarray(values, np.float64)
    return float(np.median(values)) if len(values) else np.nan
