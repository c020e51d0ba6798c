"""`progress`: a callback that shows the progress of a computation on the terminal."""

from __future__ import annotations

import functools
import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..internal import checks

if TYPE_CHECKING:
    from ..fitting.result import Fit
    from ..selection.run_families import Progress

# The shortest time in seconds between two reports of a sweep, by a bar and by lines.
BAR_INTERVAL, LINE_INTERVAL = 0.1, 2.0


def progress(every: int = 50) -> ProgressReport:
    """Return a callback for `fit`, `sweep` and `compare` that shows their progress on stderr.

    The progress is a tqdm bar if tqdm is installed, and plain lines otherwise:

        fit(x, start, callback=progress())
        with progress() as report:                      # ends the bar's line
            sweep(key, x, range(1, 11), callback=report)

    Args:
      every: the number of steps of a fit between two reports. A call to the host costs more than a
        step on few rows, so a fit calls it only at these steps (under vmap at every step). A sweep
        or a comparison is reported at most ten times a second, or every two seconds in lines.

    Returns:
      The same object for the same `every`, so that a second use does not compile again.

    Raises:
      ValueError: if `every` is not a whole number of at least 1.
    """
    return _cached_report(checks.whole(every, "every", 1))


class ProgressReport:
    """Callback and context manager that `progress` returns."""

    def __init__(self, every: int):
        self.every = every
        self._bar: Any = None  # a tqdm bar
        self._name: str | None = None
        # The last reported step of a fit, or the time of the last report of a sweep or comparison.
        self._last = -float("inf")
        self._expected, self._ended = 0, 0  # fits of a comparison

    def __enter__(self) -> ProgressReport:
        self.close()
        return self

    def __exit__(self, *_: object) -> None:
        jax.effects_barrier()  # waits for callbacks that are still running
        self.close()

    def close(self) -> None:
        """End the line of the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._name, self._last = None, None, -float("inf")

    def __call__(self, *values: Any) -> None:
        """Report (step, objective, gain) of a fit, or a `Progress` of a sweep.

        A comparison passes (name, start, fit) for each fit.
        """
        if len(values) == 1:
            self._report_sweep(values[0])
        elif isinstance(values[0], str):
            self._report_comparison(*values)
        elif int(values[0]) % self.every == 0:
            self._report_fit(*values)

    def expect(self, fits: int) -> None:
        """Start the report of a comparison with this number of fits."""
        self.close()
        self._expected, self._ended = fits, 0

    def _report_comparison(self, name: str, start: int, fit: Fit) -> None:
        self._ended += 1
        self._start_if_new("compare", self._expected)
        now, is_last = time.monotonic(), self._ended == self._expected
        if (
            now < self._last + (LINE_INTERVAL if self._bar is None else BAR_INTERVAL)
            and not is_last
        ):
            return
        self._last = now
        text = f"{name}, start {start + 1}: {float(fit.passes):.0f} passes"
        if self._bar is None:
            _print_line(f"{self._ended} of {self._expected} fits, {text}")
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(self._ended - self._bar.n)

    def _report_fit(
        self, step: int, objective: float | np.ndarray, gain: float | np.ndarray
    ) -> None:
        self._start_if_new("fit", None, restart=int(step) <= self._last)
        self._last = int(step)
        text = f"objective {float(objective):.6g}, D {float(gain):.1e}"
        if self._bar is None:
            _print_line(f"step {int(step)}: {text}")
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(int(step) - self._bar.n)

    def _report_sweep(self, state: Progress) -> None:
        done, now = state.lanes - state.running, time.monotonic()
        self._start_if_new(state.family, state.lanes)
        interval = LINE_INTERVAL if self._bar is None else BAR_INTERVAL
        if now < self._last + interval and state.running:
            return
        self._last = now
        text = f"{state.passes:.0f} passes"
        if self._bar is None:
            _print_line(
                f"{state.family}: {done} of {state.lanes} fits have ended or are waiting, {text}"
            )
        else:
            self._bar.set_postfix_str(text, refresh=False)
            # Halving resumes some fits, and a bar cannot go back.
            self._bar.update(max(0, done - self._bar.n))

    def _start_if_new(self, name: str, total: int | None, restart: bool = False) -> None:
        """Start a new bar if the report is about another fit or family than the last one."""
        if name == self._name and not restart:
            return
        self.close()
        self._name = name
        if importlib.util.find_spec("tqdm"):
            from tqdm import tqdm

            unit = "step" if total is None else "fit"
            self._bar = tqdm(total=total, desc=name, unit=unit, file=sys.stderr)


def _print_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@functools.cache
def _cached_report(every: int) -> ProgressReport:
    return ProgressReport(every)
