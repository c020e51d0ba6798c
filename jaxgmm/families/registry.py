"""The table of families by name. A new family is a subclass of `Family` and one line here."""

from __future__ import annotations

from .diagonal import Diagonal, Spherical
from .family import Family
from .full import Full, Tied

FAMILIES: dict[str, type[Family]] = {
    "full": Full,
    "tied": Tied,
    "diagonal": Diagonal,
    "spherical": Spherical,
}

ALIASES = {"diag": "diagonal"}


def family_class(name: str) -> type[Family]:
    """Return the class of a family by name.

    Raises ValueError, with the known names, for another one.
    """
    found = FAMILIES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        known = ", ".join(repr(known) for known in FAMILIES)
        raise ValueError(f"unknown family {name!r}: choose one of {known}.")
    return found


def family_name(kind: type[Family]) -> str:
    """Return the name of a family's class.

    Raises ValueError for a class that is not in the table.
    """
    for name, known in FAMILIES.items():
        if known is kind:
            return name
    raise ValueError(f"{kind.__name__} is not in jaxgmm.FAMILIES: add it there under a name.")
