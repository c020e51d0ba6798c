"""`Comparison`: the fits of several algorithms from the same starts."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import checks
from ..internal.text_table import Table
from ..mixture.mixture import Mixture
from .medians import Median, judge, median_of
from .optima import Optimum
from .profile import GAP, Profile, profile

AT_BEST = 1e-3  # nats


class Trace(NamedTuple):
    """The history of one fit, with an entry for its start and for each accepted mixture.

    Attributes:
      passes: (t,) passes made up to each entry.
      seconds: (t,) time up to each entry.
      gap: (t,) how far the objective is below the best known optimum, in nats per unit of row
        weight. It is negative only by rounding.
    """

    passes: np.ndarray
    seconds: np.ndarray
    gap: np.ndarray


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    The keys of dicts are the names of the algorithms. Arrays are NumPy's, with an entry for each of
    r starts. The *end* of a fit is its last mixture.

    Attributes:
      fits: a `Fit` for each algorithm, with a leading axis of starts. All histories are as long as
        the longest.
      starts: the `Mixture`s at which all algorithms start, with a leading axis.
      objective: (r,) ℓ + log prior of the ends, in float64.
      em_gain: (r,) D of the ends, in float64.
      gradient_norm: (r,) norm of the gradient at the ends, per unit of row weight, in coordinates
        relative to the end (see `Relative`). Its square is twice the gain of a Newton step if
        components were separated. The direction of the weights that changes nothing is left out.
      seconds: (r,) time of each fit, after compilation.
      compile_seconds: time of compilation and one pass.
      forward_passes: (r,) number of passes that needed only the log-likelihood.
      forward_price: measured cost of such a pass, in passes that compute all statistics; NaN where
        there were none.
      optimum: (r,) index into `optima`: the optimum to which a converged fit is polished, or the
        one that a fit that did not converge reached to 1e-6 nats per row; −1 for others.
      optima: the `Optimum`s to which fits converged, best first.
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
            f"From {len(common)} of them, all algorithms ended at the same optimum. Over these "
            "starts, 'passes to 1e-6' is",
            "the median number of passes until the objective is within 1e-6 nats per row of that "
            "optimum,",
            "and 'interval' is its 95% bootstrap interval. The smallest median is marked 'wins'; "
            "'tied' means",
            "not clearly larger.",
            "",
            str(self.table()),
        ]
        return "\n".join(lines)

    @property
    def restarts(self) -> int:
        """The number r of starts."""
        return len(next(iter(self.seconds.values())))

    @property
    def best_known(self) -> float:
        """The highest objective of all optima and of all ends."""
        ends = [np.nanmax(values, initial=-np.inf) for values in self.objective.values()]
        return float(max([optimum.objective for optimum in self.optima[:1]] + ends))

    def common_starts(self, *names: str) -> np.ndarray:
        """Return the indices of the starts from which all algorithms ended at the same optimum.

        With `names`, only these algorithms count.
        """
        ends = np.stack([self.optimum[name] for name in names or self.fits])
        return np.flatnonzero((ends == ends[0]).all(axis=0) & (ends[0] >= 0))

    def cost(
        self, name: str, *, to: str = "best", gap: float = GAP, clock: str = "passes"
    ) -> np.ndarray:
        """Return the cost (r,) of reaching an optimum from each start.

        Args:
          name: an algorithm of this comparison.
          to: "best", the best optimum that any algorithm reached *from the same start*; or "own",
            the optimum at which the algorithm itself ended.
          gap: the optimum is reached where the objective is within `gap` nats per unit of row
            weight of it.
          clock: the cost: "passes" or "seconds".

        Returns:
          An array (r,), infinite where the optimum was not reached.

        Raises:
          ValueError: for an unknown name, optimum or clock.
        """
        checks.choice(name, "algorithm of this comparison", tuple(self.fits))
        checks.choice(to, "optimum", ("best", "own"))
        checks.choice(clock, "clock", ("passes", "seconds"))
        shortfall = self.shortfall(*([] if to == "best" else [name]))
        costs = np.full(self.restarts, np.inf)
        for start, trace in enumerate(self.traces[name]):
            reached = np.flatnonzero(trace.gap <= gap + shortfall[start])
            if len(reached):
                costs[start] = getattr(trace, clock)[reached[0]]
        return costs

    def median_cost(
        self, name: str, *, level: float = 0.95, gap: float = GAP, clock: str = "passes"
    ) -> Median:
        """Return the median cost over `common_starts()`, with a bootstrap interval.

        Args:
          name: an algorithm of this comparison.
          level: confidence level of the interval.
          gap: as for `cost`.
          clock: the cost: "passes" or "seconds".

        Returns:
          The `Median`, NaN where there are no common starts.

        Raises:
          ValueError: for an unknown name or clock, or a level outside [0, 1].
        """
        checks.between(level, "level", 0, 1)
        return median_of(self.cost(name, gap=gap, clock=clock)[self.common_starts()], level)

    @property
    def winner(self) -> str | None:
        """The algorithm with the fewest passes to 1e-6 (see `table`), or None."""
        return next((row["algorithm"] for row in self.table() if row["winner"] == "wins"), None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the comparison to one .npz file, which `jaxgmm.load` reads.

        Raises:
          OSError: if the file cannot be written.
        """
        from ..reports.storage import save

        save(path, self)

    def shortfall(self, *names: str) -> np.ndarray:
        """Return how far the best optimum reached from each start is below the best known one.

        The result (r,) is in nats per unit of row weight, and −inf where no optimum was reached.
        With `names`, only these algorithms count.
        """
        ends = np.stack([self.optimum[name] for name in names or self.fits])
        best = np.where(ends >= 0, ends, len(self.optima)).min(axis=0)
        heights = np.array([optimum.objective for optimum in self.optima] + [np.inf])
        return (self.best_known - heights[best]) / self.total_weight

    def table(self) -> Table:
        """Return a row for each algorithm, as a list of dicts that prints as an aligned table.

        "objective" is that of the best end. "gap" is the median distance to the best known optimum,
        in nats per row, and "at best" counts the ends within 1e-3 nats of it. "same end" counts the
        starts from which the algorithm converged to the same optimum as the first algorithm, and
        "differ by" is the largest difference of the two objectives there, in nats per row. "steps",
        "passes", "seconds", "D" and "gradient" are medians over the starts. "passes to 1e-6" is the
        median over `common_starts()`, and "interval" its 95% bootstrap interval. "winner" is "wins"
        for the smallest such median and "tied" for those that are not clearly larger: the bootstrap
        interval of the difference, over the same resampled starts, contains 0. "priced" is the
        number of passes, with those for the log-likelihood alone at their measured price.
        """
        first = next(iter(self.fits))
        common = self.common_starts()
        cost = {name: self.cost(name)[common] for name in self.fits}
        verdict = judge(cost)
        rows = Table()
        for name, fits in self.fits.items():
            same_end = (self.optimum[name] == self.optimum[first]) & (self.optimum[name] >= 0)
            same_end &= np.asarray(fits.status == Status.CONVERGED)
            same_end &= np.asarray(self.fits[first].status == Status.CONVERGED)
            difference = np.abs(self.objective[name] - self.objective[first])[same_end]
            usable = np.isin(fits.status, (Status.CONVERGED, Status.MAX_STEPS))
            shortfall = self.best_known - self.objective[name]
            discount = self.forward_passes[name] * (self.forward_price - 1)
            count = lambda *statuses, fits=fits: int(np.isin(fits.status, statuses).sum())
            row = {
                "algorithm": name,
                "objective": float(np.max(self.objective[name], initial=-np.inf)),
                "gap": _median(shortfall / self.total_weight),
                "at best": f"{int(np.sum(usable & (shortfall < AT_BEST)))} of {self.restarts}",
                "same end": int(same_end.sum()),
                "differ by": (
                    float(difference.max() / self.total_weight) if len(difference) else np.nan
                ),
                "steps": _median(fits.steps),
                "passes": _median(fits.passes),
                "priced": _median(fits.passes + discount),
                "passes to 1e-6": median_of(cost[name]).value,
                "interval": median_of(cost[name]).interval(),
                "winner": verdict[name],
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
        """The `Trace` of every start, for each algorithm."""
        return {
            name: [self._trace(name, start) for start in range(self.restarts)] for name in self.fits
        }

    def _trace(self, name: str, start: int) -> Trace:
        fits, entries = self.fits[name], int(self.fits[name].steps[start]) + 1
        passes = np.asarray(fits.history_passes[start][:entries], np.float64)
        height = np.asarray(fits.history[start][:entries], np.float64)
        elapsed = passes / max(float(fits.passes[start]), 1.0)
        gap = (self.best_known - height) / self.total_weight
        return Trace(passes, seconds=self.seconds[name][start] * elapsed, gap=gap)

    def profile(
        self, *others: Comparison, gap: float = GAP, clock: str = "passes"
    ) -> dict[str, Profile]:
        """Compute performance profiles over all starts of this comparison and of `others`.

        Args:
          *others: further comparisons of the same algorithms, for example on other data sets.
          gap: a start is solved where the objective is within `gap` nats per unit of row weight of
            the best optimum that any algorithm reached from it.
          clock: the cost: "passes" or "seconds".

        Returns:
          A `Profile` for each algorithm, by name.

        Raises:
          ValueError: for an unknown clock, or comparisons of different algorithms.
        """
        return profile([self, *others], gap=gap, clock=clock)

    def plot(self, ax: Any = None) -> Any:
        """Plot the gaps to the best optimum against passes, and the performance profile.

        The best optimum is that reached from the same start. Each start has a thin line, and the
        start of median cost a thick one. Returns the two matplotlib axes. Raises ImportError
        without matplotlib.
        """
        from .. import plot

        return plot.comparison(self, ax)


def _median(values: ArrayLike) -> float:
    values = np.asarray(values, np.float64)
    return float(np.median(values)) if len(values) else np.nan
