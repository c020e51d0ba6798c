"""How many rows are distinct: k components need k of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from ..internal import checks
from .sources import RowsAndWeights

ROWS_AT_A_TIME = 1 << 16


def distinct_rows(x: np.ndarray | jax.Array, weight: Any, most: int) -> int:
    """Return the number of distinct rows of positive weight, but at most `most`."""
    return distinct_in([(x, weight)], most)


def enough_distinct_rows(x: np.ndarray | jax.Array, weight: Any, k: int) -> None:
    """Check that there are at least k distinct rows of positive weight."""
    if not checks.traced(x, weight):
        enough_distinct_in([(x, weight)], k)


def distinct_in(pieces: Iterable[RowsAndWeights], most: int) -> int:
    """Return the number of distinct rows of positive weight in all pieces, but at most `most`.

    No more rows than necessary are read. A row without any value does not count.
    """
    seen = None
    for x, weight in pieces:
        rows = np.asarray(x)
        counts = None if weight is None else np.asarray(weight) > 0
        seen, start, size = rows[:0] if seen is None else seen, 0, 4 * most
        while start < len(rows) and len(seen) < most:
            part = rows[start : start + size]
            part = part if counts is None else part[counts[start : start + size]]
            missing = np.isnan(part)
            if missing.any():  # NaN is not equal to itself
                part = np.where(missing, np.inf, part)[~missing.all(axis=1)]
            seen = np.unique(np.concatenate([seen, part]), axis=0)
            start, size = start + size, min(4 * size, ROWS_AT_A_TIME)
        if len(seen) >= most:
            return most
    assert seen is not None  # there is at least one piece
    return len(seen)


def enough_distinct_in(pieces: Iterable[RowsAndWeights], k: int) -> None:
    """Check that there are at least k distinct rows of positive weight in all pieces."""
    count = distinct_in(pieces, k)
    if count < k:
        raise ValueError(
            f"{k} components need {k} distinct rows, and x has {count} (of positive weight): use "
            "fewer components."
        )
