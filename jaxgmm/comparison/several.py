"""`Comparisons`: the comparisons of the same algorithms on several data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..internal.text_table import Table
from .profile import GAP, Profile, profile
from .result import Comparison


class Comparisons(Mapping[str, Comparison]):
    """The result of `compare` for several data sets: a mapping from their names to `Comparison`s.

    Args:
      by_name: comparisons of the same algorithms, by the name of the data set.

    Raises:
      ValueError: if there is no comparison, or if their algorithms differ.
    """

    def __init__(self, by_name: Mapping[str, Comparison]):
        self._by_name = dict(by_name)
        algorithms = [tuple(each.fits) for each in self._by_name.values()]
        if len(set(algorithms)) != 1:
            raise ValueError("Comparisons need at least one data set, and the same algorithms.")
        self.algorithms = algorithms[0]

    def __getitem__(self, name: str) -> Comparison:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"Comparisons({', '.join(self)}; {', '.join(self.algorithms)})"

    def __str__(self) -> str:
        return str(self.table())

    def table(self) -> Table:
        """Return a row for each data set and algorithm: its columns are those of `Comparison`."""
        return Table(
            {"data": name} | row
            for name, comparison in self.items()
            for row in _same_columns(comparison.table())
        )

    def profile(self, *, gap: float = GAP, clock: str = "passes") -> dict[str, Profile]:
        """Compute performance profiles over all starts of all data sets.

        Args:
          gap: as for `Comparison.profile`.
          clock: the cost: "passes" or "seconds".

        Returns:
          A `Profile` for each algorithm, by name.

        Raises:
          ValueError: for an unknown clock.
        """
        return profile(list(self.values()), gap=gap, clock=clock)

    def plot(self, ax: Any = None) -> Any:
        """Plot the performance profiles over all data sets. Raises ImportError without matplotlib.

        Args:
          ax: matplotlib axes, or None for a new figure.

        Returns:
          The axes.
        """
        from .. import plot

        return plot.profiles(self, ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all comparisons to one .npz file, which `jaxgmm.load` reads."""
        from ..reports.storage import save

        save(path, self)


def _same_columns(table: Table) -> list[dict[str, Any]]:
    """Return the rows without "priced", which only some comparisons have."""
    return [{name: value for name, value in row.items() if name != "priced"} for row in table]
