"""`Contest`: a comparison on one data set."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..algorithms.protocol import Algorithm
from ..data.linear_dependence import explain_dependence
from ..data.sources import Data
from ..fitting.checkpoint import describe_algorithm
from ..fitting.division import with_division
from ..fitting.result import Fit
from ..fitting.settings import Settings
from ..fitting.status import Status
from ..internal.warn import warn
from ..kernels.choice import residual_numbers
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from .budget import Budget, make_runner
from .checkpoint import Finished, FinishedFits
from .evaluation import evaluate_fits, forward_price
from .result import Comparison
from .runs import run_batch, run_one_by_one, stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """A comparison on one data set, whose arguments are checked.

    The name is "" where there is one data set alone.
    """

    name: str
    data: Data
    weight: np.ndarray | jax.Array | None
    prior: Prior | None
    new_start: Callable[[jax.Array], Mixture]
    restarts: int
    by_name: dict[str, Algorithm]
    settings: Settings
    budget: Budget | None
    side_by_side: bool
    features: list[str]

    def run(self, key: jax.Array, finished: FinishedFits) -> Comparison:
        """Run all algorithms from all starts, except for fits that are finished."""
        starts = [self.new_start(each) for each in jax.random.split(key, self.restarts)]
        of_starts = stack([jax.device_get(start) for start in starts])
        finished.open_section(self.name, self._label(), of_starts, self.prior)
        entries = {name: self._run_algorithm(name, starts, finished) for name in self.by_name}
        fits = {
            name: stack([jax.device_get(each.fit) for each in own]) for name, own in entries.items()
        }
        _warn_if_all_failed(fits, self.data, self.features)
        total = float(
            self.data.n if self.weight is None
            else np.sum(np.asarray(self.weight), dtype=np.float64)
        )  # fmt: skip
        ends = evaluate_fits(self.data, total, self.prior, fits)
        forward = {name: _forward_passes(self.by_name[name], fits[name]) for name in fits}
        has_forward = any(passes.any() for passes in forward.values())
        return Comparison(
            fits=fits,
            starts=of_starts,
            **ends._asdict(),
            seconds={name: np.array([each.seconds for each in entries[name]]) for name in fits},
            compile_seconds={name: finished.compile_seconds[self.name, name] for name in fits},
            forward_passes=forward,
            forward_price=forward_price(self.data, starts[0]) if has_forward else np.nan,
            total_weight=total,
        )

    def _run_algorithm(
        self, name: str, starts: list[Mixture], finished: FinishedFits
    ) -> list[Finished]:
        settings, callback = self.settings, self.settings.callback
        loop_settings = settings.for_loop(
            self.by_name[name], self.data.n, residual_numbers(starts[0])
        )
        # Neither a batch of fits, nor slices of a few steps, gain from a division.
        if not self.side_by_side and (self.budget is None or self.budget.unit == "passes"):
            loop_settings = with_division(loop_settings, self.data, starts)
        run_from = make_runner(
            self.data, self.prior, settings.tolerance, self.budget, loop_settings
        )
        shown = f"{self.name}: {name}" if self.name else name
        report = (lambda *_: None) if callback is None else functools.partial(callback, shown)
        run_starts = run_batch if self.side_by_side else run_one_by_one
        return run_starts(run_from, starts, settings.max_steps, finished, (self.name, name), report)

    def _label(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        settings = self.settings
        described = {
            f"algorithm {name!r}": describe_algorithm(each) for name, each in self.by_name.items()
        }
        return described | {
            "starts": self.restarts,
            "rows": self.data.n,
            "dtype": str(np.dtype(self.data.dtype)),
            "tolerance": float(np.asarray(settings.tolerance)),
            "max_steps": settings.max_steps,
            "kernel": settings.kernel,
            "stopping rule": settings.stopping,
            "budget": None if self.budget is None else list(self.budget),
            "side_by_side": self.side_by_side,
        }


def _warn_if_all_failed(fits: dict[str, Fit], data: Data, names: list[str]) -> None:
    """Warn if every fit failed."""
    if not all((each.status >= Status.NONFINITE).all() for each in fits.values()):
        return
    first, _ = next(iter(data.pieces()))
    message = explain_dependence("Every fit failed", np.asarray(first), names)
    warn(message)


def _forward_passes(algorithm: Algorithm, fits: Fit) -> np.ndarray:
    """Return the number of passes for the log-likelihood alone, which only some algorithms make."""
    count = getattr(algorithm, "forward_passes", None)
    return np.zeros(len(fits.status)) if count is None else count(fits.steps, fits.passes)
