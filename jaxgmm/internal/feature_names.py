"""Names of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .data_frames import column_names


def resolve_feature_names(names: Sequence[str] | str | None, x: Any, d: int) -> list[str]:
    """Return the names of d features.

    Args:
      names: the names; None for the column names of x if it is a table, or else "feature 1" etc.
      x: the data, possibly a table with column names.
      d: the number of features.

    Raises:
      ValueError: if the number of names is not d.
    """
    if names is None:
        columns = column_names(x)
        if columns is None or len(columns) != d:
            return default_feature_names(d)
        return [str(name) for name in columns]
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(names) != d:
        raise ValueError(
            f"there are {len(names)} names for {d} features: pass one name for each feature."
        )
    return names


def default_feature_names(d: int) -> list[str]:
    """Return names for d features that have no names of their own."""
    return [f"feature {i + 1}" for i in range(d)]
