"""The marginal of a mixture over the features that a figure shows, in NumPy.

`jaxgmm.marginal` would compile a program for every choice of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..algebra.features import resolve_features
from ..mixture.mixture import Mixture


class Marginal(NamedTuple):
    """A mixture over some of its features, without absent components, in float64.

    `components` (k,) are the components' numbers in the original mixture.
    """

    components: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def component_densities(self, x: np.ndarray) -> np.ndarray:
        """Return π_k N(x_n; μ_k, Σ_k) as (k, n), for rows x (n, d)."""
        root = np.linalg.cholesky(self.covariances)
        difference = np.swapaxes(x[None] - self.means[:, None], 1, 2)
        y = np.linalg.solve(root, difference)
        scale = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        exponent = -(y**2).sum(axis=1) / 2 - scale[:, None]
        return self.weights[:, None] * np.exp(exponent) * (2 * np.pi) ** (-self.means.shape[1] / 2)

    def extent(self, i: int, widths: float = 3.5) -> tuple[float, float]:
        """Return the interval of feature i that all components cover.

        Each covers its mean plus and minus `widths` standard deviations.
        """
        reach = widths * np.sqrt(self.covariances[:, i, i])
        return float((self.means[:, i] - reach).min()), float((self.means[:, i] + reach).max())


def choose_features(mixture: Mixture, features: Sequence[int] | np.ndarray) -> list[int]:
    """Return the indices of the features to draw, as plain ints.

    Raises:
      ValueError: if the mixture lacks one of them, or one is repeated.
    """
    return list(resolve_features(mixture, features, what="a feature to draw"))


def marginal(mixture: Mixture, features: Sequence[int] | np.ndarray) -> Marginal:
    """Return the mixture's marginal distribution over `features`, in their order.

    Raises:
      ValueError: see `choose_features`.
    """
    features = choose_features(mixture, features)
    present = np.flatnonzero(np.asarray(mixture.present))
    covariances = np.asarray(mixture.covariances, np.float64)[present]
    return Marginal(
        components=present,
        weights=np.asarray(mixture.weights, np.float64)[present],
        means=np.asarray(mixture.means, np.float64)[present][:, features],
        covariances=covariances[:, features][:, :, features],
    )
