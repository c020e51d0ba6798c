"""Rows that are not fully observed, in figures: imputed values and error bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.observed import Observed, pack
from ..inference.imputation import impute
from ..mixture.mixture import Mixture

# Error bars are drawn for up to this many rows.
MOST_BARS = 1000


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Rows as they are drawn, with some features.

    Attributes:
      rows: (n, d) rows with imputed values; values with noise are drawn as they were measured.
      missing: (n, d) which values are imputed.
      deviation: (n, d) the standard deviations of the noise, or None.
    """

    rows: np.ndarray
    missing: np.ndarray
    deviation: np.ndarray | None

    @classmethod
    def of(cls, mixture: Mixture, x: Observed, features: Sequence[int]) -> Evidence:
        """Return what is drawn of these features."""
        packed = pack(x)
        d, columns = packed.columns.features, packed.columns.of_each_row
        table = np.asarray(packed.x, np.float64)
        values, chosen = table[:, :d], list(features)
        filled = np.where(np.isnan(values), np.asarray(impute(mixture, x), np.float64), values)
        deviation = None
        if columns.noise:
            place = [i if columns.noise == d else i * (i + 3) // 2 for i in chosen]
            noise = table[:, [d + i for i in place]]
            deviation = np.sqrt(np.where(np.isnan(values[:, chosen]), 0, noise))
        return cls(filled[:, chosen], np.isnan(values)[:, chosen], deviation)

    def draw(self, panel: Any, horizontal: int, vertical: int) -> None:
        """Mark imputed values by crosses, and draw error bars, for two of the features."""
        x, y = self.rows[:, horizontal], self.rows[:, vertical]
        imputed = self.missing[:, horizontal] | self.missing[:, vertical]
        if imputed.any():
            panel.scatter(
                x[imputed], y[imputed], marker="x", s=12, linewidths=0.8, color="0.35", zorder=3,
                label="imputed",
            )  # fmt: skip
        if self.deviation is not None and len(x) <= MOST_BARS:
            panel.errorbar(
                x, y, xerr=self.deviation[:, horizontal], yerr=self.deviation[:, vertical],
                fmt="none", ecolor="0.7", elinewidth=0.5, zorder=0,
            )  # fmt: skip
