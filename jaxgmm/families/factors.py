"""Low-rank families by their number of factors: `factors`, `ppca`, and their names."""

from __future__ import annotations

from typing import Any

from ..internal import checks
from .family import Family
from .low_rank import KINDS, of_rank

# The names of McNicholas & Murphy 2008, Statistics and Computing 18, for the same models.
LETTERS = {"UUU": "factors", "UUC": "ppca", "UCU": "tied-factors", "UCC": "tied-ppca"}


def factors(q: int, *, tied_noise: bool = False) -> type[Family]:
    """Return the family of covariances with q common factors and noise of each feature.

    A mixture of it is a mixture of factor analyzers: Σ_k = Λ_k Λ_kᵀ + Ψ_k with loadings Λ_k (d, q)
    and diagonal Ψ_k. A component has about d (q + 1) parameters instead of d (d + 1)/2, and a pass
    over the rows takes about d (q + 1) operations for a row and a component instead of d².

    EM converges slowly where the noise of a feature goes to zero (a Heywood case). Where EM takes
    hundreds of passes, use `Gradient(optax.lbfgs)` instead.

    Args:
      q: the number of factors, at least 1 and less than the number of features.
      tied_noise: whether the components share Ψ.

    Returns:
      A family, which is accepted wherever a family's name is. Its name is "factors-2" for q = 2, or
      "tied-factors-2" with `tied_noise`, and the name is accepted too.

    Raises:
      ValueError: if q is not a whole number of at least 1.

    (Ghahramani & Hinton 1996, Univ. Toronto CRG-TR-96-1; McLachlan & Peel 2000, ch. 8.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 6, 2, separation=3.0).x
    >>> jaxgmm.initialize(jax.random.key(1), x, 2, family=jaxgmm.factors(2))
    Mixture(factors-2, K = 2, d = 6, float32)
    """
    return of_rank("tied-factors" if tied_noise else "factors", checks.whole(q, "q", 1))


def ppca(q: int, *, tied_noise: bool = False) -> type[Family]:
    """Return the family of covariances with q common factors and the same noise in all features.

    A mixture of it is a mixture of probabilistic principal component analyzers: Σ_k = Λ_k Λ_kᵀ +
    σ_k² I. Its fits depend on the units of the features.

    Args:
      q: the number of factors, at least 1 and less than the number of features.
      tied_noise: whether the components share σ².

    Returns:
      A family, which is accepted wherever a family's name is. Its name is "ppca-2" for q = 2, or
      "tied-ppca-2" with `tied_noise`, and the name is accepted too.

    Raises:
      ValueError: if q is not a whole number of at least 1.

    (Tipping & Bishop 1999, Neural Computation 11.)

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [1.0], [[0.0, 0.0]], [[[2.0, 0.5], [0.5, 2.0]]], family=jaxgmm.ppca(1)
    ... )
    >>> m.family, np.asarray(m.covariances[0]).round(2)[0]
    ('ppca-1', array([2. , 0.5], dtype=float32))
    """
    return of_rank("tied-ppca" if tied_noise else "ppca", checks.whole(q, "q", 1))


def is_low_rank(name: Any) -> bool:
    """Return whether a name stands for a low-rank family, whatever its number of factors."""
    if not isinstance(name, str):
        return False
    return any(part in (*KINDS, *LETTERS) for part in (name, name.rpartition("-")[0]))


def low_rank_family(name: str, d: int | None = None) -> type[Family] | None:
    """Return the family of a name such as "factors-2", or None if it is none of a low-rank family.

    Args:
      name: the name.
      d: the number of features, if it is known.

    Raises:
      ValueError: if the number of factors is missing, not a whole number, or not less than d.
    """
    if not is_low_rank(name):
        return None
    if name in KINDS or name in LETTERS:
        raise ValueError(
            f"family {name!r} needs its number of factors: write e.g. {name + '-2'!r} for two."
        )
    stem, _, number = name.rpartition("-")
    if not (number.isascii() and number.isdigit() and int(number) >= 1):
        raise ValueError(
            f"family {name!r} needs a whole number of factors, 1 or more: write e.g. "
            f"{stem + '-2'!r} for two."
        )
    rank = int(number)
    if d is not None and rank >= d:
        features = f"{d} feature" + ("s" if d != 1 else "")
        raise ValueError(
            f"family {name!r} has {rank} factors for {features}: use fewer factors than features."
        )
    return of_rank(LETTERS.get(stem, stem), rank)
