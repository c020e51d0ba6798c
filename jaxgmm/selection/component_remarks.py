"""Descriptions of single components in words: which rows an outlier or an artifact describes.

They are made by NumPy, for a few mixtures after a sweep. Rows and components count from 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..data.linear_dependence import column_names, dependence, explain_dependence
from ..mixture.mixture import Mixture

FEW = 3  # up to this many rows are listed one by one
ROWS_AT_A_TIME = 1 << 14
REMEDY = (
    "Fit fewer components, leave out the column or the rows that cause it, or use a family whose "
    "components share their widths (tied)."
)


@dataclasses.dataclass(frozen=True, eq=False)
class RowTable:
    """The rows x (n, d) of a sweep and the names of their columns, for messages.

    A table equals only itself, so that it can be a static field of a pytree.
    """

    x: np.ndarray
    names: Sequence[str] | None = None

    def explain(self, what: str) -> str:
        """Return why `what` failed, as `explain_dependence` does."""
        return explain_dependence(what, self.x, self.names)

    def describe(self, mixture: Mixture, marked: np.ndarray) -> list[str]:
        """Return a clause for each component that is `marked` (k,), on the rows that it describes.

        For example "component 3 describes 1 row (row 1001: 10000000)", or "component 2 describes
        83 rows with question 1 = 1".
        """
        likeliest = _likeliest(mixture, self.x)
        return [
            f"component {k + 1} {self._place(mixture, k, np.flatnonzero(likeliest == k))}"
            for k in np.flatnonzero(marked).tolist()
        ]

    def _place(self, mixture: Mixture, k: int, rows: np.ndarray) -> str:
        x, names = self.x[rows], column_names(self.names, self.x.shape[1])
        if len(rows) <= FEW:
            if not len(rows):
                return "is the most likely component of no row"
            count = f"{len(rows)} row" + "s" * (len(rows) > 1)
            shown = "; ".join(f"row {row + 1}: {_values(self.x[row])}" for row in rows)
            return f"describes {count} ({shown})"
        # The narrowest feature comes first, relative to the feature's own spread.
        widths = np.sqrt(np.diagonal(np.asarray(mixture.covariances[k], np.float64)))
        for i in np.argsort(widths / np.maximum(self.x.std(axis=0), 1e-300)):
            values, counts = np.unique(x[:, i], return_counts=True)
            if 2 * counts.max() > len(rows):
                value = values[np.argmax(counts)]
                return f"describes {counts.max()} rows with {names[i]} = {value:.7g}"
        relation = dependence(x, names)
        if relation is not None:
            return f"describes {len(rows)} rows that lie in a plane ({relation})"
        return (
            f"is flat in some direction, or narrower than the data can resolve ({len(rows)} rows)"
        )


def _values(row: np.ndarray) -> str:
    return ", ".join(f"{value:.8g}" for value in row[:4]) + (", …" if len(row) > 4 else "")


def _likeliest(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """Return the most likely component (n,) of each row, by NumPy, so that nothing is compiled."""
    weights, means, precisions = (
        np.asarray(values, np.float64)
        for values in (mixture.weights, mixture.means, mixture.precisions)
    )
    with np.errstate(divide="ignore"):
        constants = np.log(weights) + np.linalg.slogdet(precisions)[1] / 2
    components = []
    for start in range(0, len(x), ROWS_AT_A_TIME):
        part = x[start : start + ROWS_AT_A_TIME].astype(np.float64)
        joint = [
            constant - np.sum((part - mean) @ precision * (part - mean), axis=1) / 2
            for constant, mean, precision in zip(constants, means, precisions, strict=True)
        ]
        components.append(np.argmax(joint, axis=0))
    return np.concatenate(components)
