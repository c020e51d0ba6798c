"""What features are called."""

from __future__ import annotations

from collections.abc import Sequence


def resolve_feature_names(names: Sequence[str] | str | None, x, d: int) -> list[str]:
    """The d names of features: those given, else the columns of x if it is a table with names, else
    "feature 1" and so on. Raises ValueError for a wrong number of names."""
    if names is None:
        columns = getattr(x, "columns", None)
        has_names = columns is not None and len(columns) == d
        return [str(name) for name in columns] if has_names else default_feature_names(d)
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(names) != d:
        raise ValueError(f"there are {len(names)} names for {d} features: give one for each.")
    return names


def default_feature_names(d: int) -> list[str]:
    """The names of features that have none."""
    return [f"feature {i + 1}" for i in range(d)]
