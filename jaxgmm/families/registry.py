"""The table of families by name.

A new family is a subclass of `Family` and an entry in `FAMILIES`. Users add theirs by the decorator
`family`.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..internal.pytrees import pytree
from .axis_aligned import EVI, VEI
from .diagonal import EEI, EII, Diagonal, Spherical
from .factors import is_low_rank, low_rank_family
from .family import Family
from .finite_frame import finite_at_identity
from .full import Full, Tied
from .low_rank import LowRank
from .rotated import EEV, EVE, VEV, VVE
from .vee_and_evv import EVV, VEE

Kind = TypeVar("Kind", bound=type[Family])

FAMILIES: dict[str, type[Family]] = {
    "full": Full,
    "tied": Tied,
    "diagonal": Diagonal,
    "spherical": Spherical,
    "EII": EII,
    "EEI": EEI,
    "VEI": VEI,
    "EVI": EVI,
    "VEE": VEE,
    "EVE": EVE,
    "VVE": VVE,
    "EEV": EEV,
    "VEV": VEV,
    "EVV": EVV,
}
BUILT_IN = frozenset(FAMILIES.values())

ALIASES = {"diag": "diagonal", "VVV": "full", "EEE": "tied", "VVI": "diagonal", "VII": "spherical"}
# Names of mclust for a single feature, or for a single component.
ALL_OF_ONE_FEATURE = {"E": "tied", "V": "full"}
OF_ONE_FEATURE = {**ALL_OF_ONE_FEATURE, "X": "full"}
OF_ONE_COMPONENT = {"X": "full", "XII": "spherical", "XXI": "diagonal", "XXX": "full"}

# mclust's fourteen, in its order.
FOURTEEN = ("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV",
            "EVV", "VVV")  # fmt: skip


def family_class(
    name: str | type[Family], k: int | None = None, d: int | None = None
) -> type[Family]:
    """Return the class of a family by its name or an alias of it.

    Args:
      name: the name, or the class itself.
      k: the largest number of components, if it is known.
      d: the number of features, if it is known.

    Raises:
      ValueError: if there is no such family, if it is one for a single feature or component and
        there are more, if it has as many factors as there are features, or if it is a family of
        your own whose frame is not finite at its identity.
    """
    if isinstance(name, type) and issubclass(name, Family):
        name = family_name(name)
    if not isinstance(name, str):
        raise ValueError(f"unknown family {name!r}: {_known()}.")
    if name in OF_ONE_FEATURE and d is not None and d > 1:
        raise ValueError(
            f"family {name!r} is mclust's for one feature, and there are {d}: use e.g. 'EII' or "
            "'EEE' for equal covariances, and 'VII' or 'VVV' for varying ones."
        )
    if name in OF_ONE_COMPONENT and k is not None and k > 1:
        raise ValueError(
            f"family {name!r} is mclust's for one component, and there are {k}: use e.g. "
            f"{OF_ONE_COMPONENT[name]!r}."
        )
    alias = {**ALIASES, **OF_ONE_FEATURE, **OF_ONE_COMPONENT}.get(name, name)
    kind = FAMILIES.get(alias)
    if kind is None:
        kind = low_rank_family(name, d)
    if kind is None:
        raise ValueError(f"unknown family {name!r}: {_meant(name)}{_known()}.")
    if k is not None and d is not None and not is_built_in(kind):
        finite_at_identity(kind, k, d)
    return kind


def is_built_in(kind: type[Family]) -> bool:
    """Return whether a family is one of the library, and not one of your own."""
    return kind in BUILT_IN or issubclass(kind, LowRank)


def family_classes(
    names: Iterable[str | type[Family]] | str | type[Family],
    k: int | None = None,
    d: int | None = None,
) -> list[type[Family]]:
    """Return the classes of several families.

    "all" stands for mclust's fourteen. For one feature it stands for mclust's E and V, to which the
    fourteen are equal there.
    """
    listed = [names] if isinstance(names, str | type) else list(names)
    every = tuple(ALL_OF_ONE_FEATURE) if d == 1 else FOURTEEN
    expanded = (every if name == "all" else (name,) for name in listed)
    return [family_class(name, k, d) for name in itertools.chain.from_iterable(expanded)]


def _known() -> str:
    known = ", ".join(repr(known) for known in FAMILIES)
    return f"choose one of {known}, or a number of factors such as 'factors-2' or 'ppca-2'"


def _meant(name: str) -> str:
    """Return a question about the name that was meant, or nothing."""
    names = {known.lower(): known for known in (*FAMILIES, *ALIASES)}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    if not close:
        return ""
    known = names[close[0]]
    same = f" (which is {ALIASES[known]!r})" if known in ALIASES else ""
    return f"did you mean {known!r}{same}? Or "


def family_name(kind: type[Family]) -> str:
    """Return the name of a family's class.

    Raises:
      ValueError: if the class is not in `FAMILIES`.
    """
    if issubclass(kind, LowRank) and hasattr(kind, "rank"):
        return f"{kind.stem}-{kind.rank}"
    for name, known in FAMILIES.items():
        if known is kind:
            return name
    raise ValueError(f"{kind.__name__} is not in jaxgmm.FAMILIES: add it there under a name.")


def is_family(name: Any) -> bool:
    """Return whether this is the name of a family, and not an alias of one."""
    try:
        return family_name(family_class(name)) == name
    except ValueError:
        return False


def family(name: str) -> Callable[[Kind], Kind]:
    """Return a decorator that registers a covariance family of your own.

    The class is made a frozen dataclass and a JAX pytree, and `name` is accepted wherever a
    family's name is.

    Args:
      name: the family's name in `FAMILIES`.

    Returns:
      A decorator of a subclass of `Family` that defines `frame` and `identity`. Its fields are
      arrays with a leading axis of k, or of 1 if the components share them, and all their values
      must be valid. Everything else has a default: the M-step is a step of Fisher scoring on the
      moments, which never lowers the objective and needs no pass; any method of `Family` can be
      replaced by a closed form. In float32, EM's gain D is accurate to about 1e-7 with these
      defaults, so fit with a tolerance above that, or in float64.

    Raises:
      ValueError: if another family has the name, or the class is no subclass of `Family`.

    (Fisher scoring in place of an M-step is as in Lange 1995, J. Royal Stat. Soc. B 57.)

    >>> @jaxgmm.family("isotropic")
    ... class Isotropic(jaxgmm.Family):
    ...     log_sd: jax.Array  # (k,)
    ...
    ...     def frame(self, d):
    ...         return jaxgmm.Dense.of(jnp.exp(-self.log_sd)[:, None, None] * jnp.eye(d)[None])
    ...
    ...     @classmethod
    ...     def identity(cls, k, d, dtype):
    ...         return cls(jnp.zeros(k, dtype))
    >>> jaxgmm.check_family(Isotropic)
    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2, family="isotropic")
    >>> found = jaxgmm.fit(x, start, tolerance=1e-6)
    >>> bool(found.converged), jaxgmm.n_parameters(found.mixture)
    (True, 7)
    >>> del jaxgmm.FAMILIES["isotropic"]
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"family needs a name, and got {name!r}: write @jaxgmm.family('name').")

    def register(kind: Kind) -> Kind:
        if not (isinstance(kind, type) and issubclass(kind, Family)):
            raise ValueError(f"{kind!r} is no subclass of jaxgmm.Family, which a family must be.")
        known = FAMILIES.get(name)
        defined_again = known is not None and _origin(known) == _origin(kind)
        aliases = {"all", *ALIASES, *OF_ONE_FEATURE, *OF_ONE_COMPONENT}
        taken = name in aliases or is_low_rank(name)
        if (known is not None and not defined_again) or taken:
            raise ValueError(f"there is a family {name!r} already: choose another name.")
        if "__dataclass_fields__" not in vars(kind):
            kind = dataclasses.dataclass(frozen=True)(kind)  # type: ignore[assignment]
        pytree(kind)
        FAMILIES[name] = kind
        return kind

    return register


def _origin(kind: type[Family]) -> tuple[str, str]:
    """Return where a class is defined, so that a cell of a notebook can run twice."""
    return kind.__module__, kind.__qualname__
