"""The table of families. A new one is a class that keeps `Covariance`, and a line here."""

from __future__ import annotations

from .base import Covariance
from .diagonal import Diagonal, Spherical
from .full import Full, Tied

FAMILIES: dict[str, type[Covariance]] = {
    "full": Full,
    "tied": Tied,
    "diagonal": Diagonal,
    "spherical": Spherical,
}

ALIASES = {"diag": "diagonal"}


def family_class(name: str) -> type[Covariance]:
    """The class of a family by name. Raises ValueError, with the names there are."""
    found = FAMILIES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        known = ", ".join(repr(known) for known in FAMILIES)
        raise ValueError(f"unknown family {name!r}: choose one of {known}.")
    return found


def family_name(kind: type[Covariance]) -> str:
    """The name under which a class stands in the table."""
    return next(name for name, cls in FAMILIES.items() if cls is kind)
