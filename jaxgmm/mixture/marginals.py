"""The distribution of some of a mixture's features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..internal import checks
from .mixture import Mixture


class Marginal(NamedTuple):
    """A mixture over some of its features, without absent components, in float64."""

    components: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def component_densities(self, x: np.ndarray) -> np.ndarray:
        """π_k N(x_n; μ_k, Σ_k) as (k, n)."""
        root = np.linalg.cholesky(self.covariances)
        residual = np.swapaxes(x[None] - self.means[:, None], 1, 2)
        y = np.linalg.solve(root, residual)
        scale = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        power = -(y**2).sum(axis=1) / 2 - scale[:, None]
        return self.weights[:, None] * np.exp(power) * (2 * np.pi) ** (-self.means.shape[1] / 2)

    def extent(self, i: int, widths: float = 3.5) -> tuple[float, float]:
        """Where feature i of the components lies, to so many standard deviations."""
        reach = widths * np.sqrt(self.covariances[:, i, i])
        return float((self.means[:, i] - reach).min()), float((self.means[:, i] + reach).max())


def choose_features(mixture: Mixture, features) -> list[int]:
    """The features to draw. Raises ValueError for one that the mixture does not have, or twice."""
    checks.one_mixture(mixture)
    most = mixture.n_features - 1
    found = [checks.whole(i, "a feature to draw", 0, most) for i in np.asarray(features).tolist()]
    if len(set(found)) < len(found):
        raise ValueError(f"features is {tuple(found)}: give different ones.")
    return found


def marginal(mixture: Mixture, features) -> Marginal:
    """The mixture's marginal over features, in their order. Raises ValueError as `chosen`."""
    features = choose_features(mixture, features)
    present = np.flatnonzero(np.asarray(mixture.present))
    covariances = np.asarray(mixture.covariances, np.float64)[present]
    return Marginal(
        present,
        np.asarray(mixture.weights, np.float64)[present],
        np.asarray(mixture.means, np.float64)[present][:, features],
        covariances[:, features][:, :, features],
    )
