"""The part of a summary that shows the factors of low-rank families."""

from __future__ import annotations

import numpy as np

from ..internal.text_table import align_columns
from ..mixture.loadings import communalities, correlations_with_factors, has_factors
from ..mixture.mixture import Mixture

MOST_COMPONENTS = 6


def loading_lines(mixture: Mixture, names: list[str], most_features: int) -> list[str]:
    """Return tables of loadings and communalities, or nothing for a family without factors.

    There is a table for each of the first present components. The loadings are correlations of
    features and factors, whose squares add up to the communality.

    Args:
      mixture: the mixture.
      names: names of its features.
      most_features: how many features are shown.
    """
    if not has_factors(mixture):
        return []
    loadings, explained = correlations_with_factors(mixture), np.asarray(communalities(mixture))
    present = np.flatnonzero(np.asarray(mixture.present))
    lines = ["", "Correlations of features and factors, and the variance that factors explain:"]
    for k in present[:MOST_COMPONENTS]:
        q = loadings.shape[2]
        header = [f"component {k + 1}", *(f"factor {i + 1}" for i in range(q)), "communality"]
        cells = [
            [name, *(f"{value:.2f}" for value in loadings[k, j]), f"{explained[k, j]:.2f}"]
            for j, name in enumerate(names[:most_features])
        ]
        lines += ["", *align_columns([header, *cells], [i == 0 for i in range(q + 2)])]
    if len(present) > MOST_COMPONENTS:
        lines.append(f"… and {len(present) - MOST_COMPONENTS} more components")
    return lines
