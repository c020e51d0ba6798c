"""Features by number or by name, and values of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..internal import checks
from ..mixture.mixture import Mixture

Features = int | str | Sequence[int] | Sequence[str] | np.ndarray


def resolve_features(
    mixture: Mixture,
    features: Features,
    names: Sequence[str] | None = None,
    what: str = "a feature",
) -> tuple[int, ...]:
    """Return the numbers of some features of a mixture, as plain ints in the order given.

    Args:
      mixture: the mixture.
      features: numbers from 0, or names; or a single one.
      names: the names of the mixture's d features, which it does not store itself.
      what: what an error calls one of the features.

    Raises:
      ValueError: if there are none, one is repeated, unknown or out of range, or `mixture` is not a
        single mixture.
    """
    checks.one_mixture(mixture)
    single = isinstance(features, str) or np.ndim(features) == 0
    listed: list[Any] = [features] if single else np.asarray(features).tolist()
    if not listed:
        raise ValueError("features is empty: pass the number or the name of at least one feature.")
    if any(isinstance(feature, str) for feature in listed):
        listed = [_number_of(feature, names, mixture.n_features) for feature in listed]
    chosen = tuple(checks.whole(i, what, 0, mixture.n_features - 1) for i in listed)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"features is {chosen}: pass each feature only once.")
    return chosen


def _number_of(feature: str, names: Sequence[str] | None, d: int) -> int:
    """Return the number of a feature by its name."""
    if names is None:
        raise ValueError(
            f"feature {feature!r} is a name, and a mixture stores no names: pass those of its {d} "
            "features as names=[…], or the feature's number."
        )
    known = [str(name) for name in names]
    if len(known) != d:
        raise ValueError(f"there are {len(known)} names for {d} features: pass one for each.")
    if known.count(feature) != 1:
        problem = "no feature" if feature not in known else "several features"
        raise ValueError(f"{problem} of the mixture has the name {feature!r} among {known}.")
    return known.index(feature)


def other_features(mixture: Mixture, given: tuple[int, ...]) -> tuple[int, ...]:
    """Return the features that are not given, in ascending order.

    Raises:
      ValueError: if all features are given.
    """
    rest = tuple(i for i in range(mixture.n_features) if i not in given)
    if not rest:
        raise ValueError(
            f"features lists all {mixture.n_features} features: leave out at least one, because "
            "the result describes the features that are left out."
        )
    return rest


def given_values(values: Any, given: tuple[int, ...], ndim: int, mixture: Mixture) -> jax.Array:
    """Return values of the given features in the mixture's dtype, as (j,) or (n, j).

    A number is accepted as the value of a single feature.

    Raises:
      ValueError: if the shape is another one, or a number is not finite.
    """
    array = checks.array(values, "values")
    j = len(given)
    if ndim == j == 1 and array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != ndim or array.shape[-1] != j:
        shape, where = (f"(n, {j})", " of each row") if ndim == 2 else (f"({j},)", "")
        names = f"feature {given[0]}" if j == 1 else f"each of the features {given}"
        raise ValueError(
            f"values has shape {array.shape}: pass {shape}, the value of {names}{where}."
        )
    if not checks.traced(array):
        finite = np.isfinite(np.asarray(array)).reshape(-1, j).all(axis=1)
        if not finite.all():
            where = f" in row {int(np.argmin(finite))}" if ndim == 2 else ""
            raise ValueError(
                f"values contains NaN or infinity{where}: condition on the features that are "
                "known alone."
            )
    return checks.cast(array, "values", mixture.dtype)
