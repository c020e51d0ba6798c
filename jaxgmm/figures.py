"""What all figures share: colours, fresh axes, and a mixture's marginals as plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import checks
from .mixture import Mixture

# Okabe & Ito's colours, which most colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", ":", "-.")
INK = "#333333"


def colour(component: int) -> str:
    """The colour of a component: the same in every figure."""
    return PALETTE[component % len(PALETTE)]


def dashes(component: int) -> str:
    """The dashes of a component's lines: they differ where colours come round again."""
    return DASHES[component // len(PALETTE) % len(DASHES)]


def percent(share: float) -> str:
    """0.9 as "90 %"."""
    return f"{100 * share:.3g} %"


def fresh(width: float = 5, height: float = 4, **layout):
    """New axes on a figure of their own. Without pyplot: no window, and no setting left behind."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots(**layout)


def tidy(ax):
    """The axes without their box."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


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


def chosen(mixture: Mixture, features) -> list[int]:
    """The features to draw. Raises ValueError for one that the mixture does not have, or twice."""
    checks.one_mixture(mixture)
    most = mixture.n_features - 1
    found = [checks.whole(i, "a feature to draw", 0, most) for i in np.asarray(features).tolist()]
    if len(set(found)) < len(found):
        raise ValueError(f"features is {tuple(found)}: give different ones.")
    return found


def marginal(mixture: Mixture, features) -> Marginal:
    """The mixture's marginal over features, in their order. Raises ValueError as `chosen`."""
    features = chosen(mixture, features)
    present = np.flatnonzero(np.asarray(mixture.present))
    covariances = np.asarray(mixture.covariances, np.float64)[present]
    return Marginal(
        present,
        np.asarray(mixture.weights, np.float64)[present],
        np.asarray(mixture.means, np.float64)[present][:, features],
        covariances[:, features][:, :, features],
    )
