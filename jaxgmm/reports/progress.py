"""`progress`: how far a fit or a sweep has come, told on the terminal while it runs."""

from __future__ import annotations

import functools
import importlib.util
import sys
import time

import jax

from ..internal import checks

REDRAWN, LINE = 0.1, 2.0  # seconds between two reports of a sweep: of a bar, and of lines


def progress(every: int = 50) -> ProgressReport:
    """A callback for `fit` and `sweep` that shows how far they have come, on stderr: a tqdm bar
    where tqdm is installed, and plain lines where it is not.

        fit(x, start, callback=progress())
        with progress() as report:                      # ends the bar's line
            sweep(key, x, range(1, 11), callback=report)

    Args:
      every: steps of a fit between two reports. Asking the host costs more than a step on few rows;
        so a fit asks only then (under vmap at every step). A sweep tells ten times a second at the
        most, or every two seconds in lines.

    Returns:
      The same object for the same `every`, so that using it again does not compile again.

    Raises:
      ValueError: if `every` is not a whole number of at least 1.
    """
    return _report(checks.whole(every, "every", 1))


class ProgressReport:
    """What `progress` returns."""

    def __init__(self, every: int):
        self.every = every
        self._bar, self._told = None, -float("inf")
        self._name = None

    def __enter__(self) -> ProgressReport:
        self.close()
        return self

    def __exit__(self, *_) -> None:
        jax.effects_barrier()  # reports may still be on their way
        self.close()

    def close(self) -> None:
        """Ends the line of the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._name, self._told = None, None, -float("inf")

    def __call__(self, *told) -> None:
        if len(told) == 1:
            self._sweep(told[0])
        elif int(told[0]) % self.every == 0:
            self._fit(*told)

    def _fit(self, step, objective, gain) -> None:
        self._on("fit", None, restart=int(step) <= self._told)
        self._told = int(step)
        text = f"objective {float(objective):.6g}, D {float(gain):.1e}"
        if self._bar is None:
            _line(f"step {int(step)}: {text}")
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(int(step) - self._bar.n)

    def _sweep(self, told) -> None:
        done, now = told.lanes - told.climbing, time.monotonic()
        self._on(told.family, told.lanes)
        if now < self._told + (LINE if self._bar is None else REDRAWN) and told.climbing:
            return
        self._told = now
        text = f"{told.passes:.0f} passes"
        if self._bar is None:
            _line(f"{told.family}: {done} of {told.lanes} fits have ended or wait, {text}")
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(max(0, done - self._bar.n))  # halving begins some again

    def _on(self, name: str, total: int | None, restart: bool = False) -> None:
        """A new bar where something else is told of than before."""
        if name == self._name and not restart:
            return
        self.close()
        self._name = name
        if importlib.util.find_spec("tqdm"):
            from tqdm import tqdm

            unit = "step" if total is None else "fit"
            self._bar = tqdm(total=total, desc=name, unit=unit, file=sys.stderr)


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@functools.cache
def _report(every: int) -> ProgressReport:
    return ProgressReport(every)
