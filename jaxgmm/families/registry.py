"""The table of families by name.

A new family is a subclass of `Family` and an entry in `FAMILIES`.
"""

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
    """Return the class of a family by its name or an alias of it.

    Raises:
      ValueError: if there is no such family.
    """
    kind = FAMILIES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(repr(known) for known in FAMILIES)
        raise ValueError(f"unknown family {name!r}: choose one of {known}.")
    return kind


def family_name(kind: type[Family]) -> str:
    """Return the name of a family's class.

    Raises:
      ValueError: if the class is not in `FAMILIES`.
    """
    for name, known in FAMILIES.items():
        if known is kind:
            return name
    raise ValueError(f"{kind.__name__} is not in jaxgmm.FAMILIES: add it there under a name.")
