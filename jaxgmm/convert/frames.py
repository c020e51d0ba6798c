"""Conversion to and from data frames of pandas, with a row for each component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..internal.feature_names import resolve_feature_names
from ..mixture.mixture import Mixture
from .components import components_of, require

WEIGHT = ("weight", "", "")


def to_frame(mixture: Mixture, features: Sequence[str] | None = None) -> Any:
    """Return the parameters of a mixture as a data frame of pandas.

    Args:
      mixture: a single mixture with finite parameters. Absent components are left out.
      features: names of the features, or None for "feature 1" etc.

    Returns:
      A data frame with a row for each component, in float64. Its columns have three levels:
      ("weight", "", ""), ("mean", a, "") for each feature, and ("covariance", a, b) for each pair.

    Raises:
      ValueError: if `mixture` is not such a mixture, or the names are not one for each feature.
      ImportError: if pandas is not installed.
    """
    pandas = require("pandas", "pandas")
    found = components_of(mixture)
    d = found.means.shape[1]
    names = resolve_feature_names(features, None, d)
    if len(set(names)) < d:
        raise ValueError(f"features are {names}: pass a different name for each feature.")
    columns = [WEIGHT, *(("mean", a, "") for a in names)]
    columns += [("covariance", a, b) for a in names for b in names]
    means, covariances = np.asarray(found.means, np.float64), found.covariances
    values = np.column_stack([found.weights, means, covariances.reshape(len(means), -1)])
    levels = ["parameter", "feature", "with"]
    return pandas.DataFrame(
        values,
        index=pandas.RangeIndex(1, len(means) + 1, name="component"),
        columns=pandas.MultiIndex.from_tuples(columns, names=levels),
    )


def from_frame(frame: Any, family: str = "full") -> Mixture:
    """Return the mixture of a data frame that `to_frame` made.

    Args:
      frame: the data frame. You may select or sort its rows, as long as their weights sum to 1.
      family: a name in `FAMILIES`, whose covariances they must have.

    Returns:
      The mixture, in JAX's default dtype. Its features are in the order of the frame's means.

    Raises:
      ValueError: if the frame lacks a column, or the parameters are not of the family.
    """
    try:
        names = list(frame["mean"].columns.get_level_values(0))
        weights = frame[WEIGHT].to_numpy(np.float64)
        means = frame["mean"].to_numpy(np.float64)
        pairs = [("covariance", a, b) for a in names for b in names]
        covariances = frame[pairs].to_numpy(np.float64).reshape(-1, len(names), len(names))
    except (KeyError, AttributeError, TypeError):
        raise ValueError(
            "frame does not have the columns that to_frame makes: weight, mean of each feature, "
            "and covariance of each pair."
        ) from None
    return Mixture.from_parameters(weights, means, covariances, family)
