"""Identification of the optimum at which a fit ended, in any order of its components."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.squarem import SQUAREM
from ..data.sources import Data
from ..fitting.fit import run
from ..fitting.loop import LoopSettings
from ..fitting.result import Fit
from ..fitting.settings import capacity
from ..fitting.status import Status
from ..internal.compiling import is_little_for_one_fit
from ..mixture.mixture import Mixture
from ..objective.prior import Prior

# Two mixtures are the same optimum where their `distance` is below NEAR and their objectives, per
# unit of row weight, differ by less than ALIKE. Different optima can be near each other.
NEAR = 0.1
SAME_OPTIMUM = 1e-6
# EM's gain to which an optimum is polished. The objective is then about 100 times this below the
# optimum, per row.
POLISHED = 1e-13
MOST_STEPS = 20_000


class Optimum(NamedTuple):
    """An optimum of the objective to which fits converged, polished in float64.

    Attributes:
      objective: ℓ + log prior, in nats.
      mixture: the optimum.
    """

    objective: float
    mixture: Mixture


class _Parameters(NamedTuple):
    """The weights, means, covariances and precisions of a mixture."""

    weights: jax.Array | np.ndarray
    means: jax.Array | np.ndarray
    covariances: jax.Array | np.ndarray
    precisions: jax.Array | np.ndarray


@jax.jit
def _parameters(mixture: Mixture) -> _Parameters:
    return _Parameters(mixture.weights, mixture.means, mixture.covariances, mixture.precisions)


def _lane(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], tree)


def distance(a: _Parameters, b: _Parameters, in_order: bool = False) -> float:
    """Return the distance of two mixtures, up to the order of their components.

    With `in_order`, components are paired by number, as labels of rows demand.

    Each component of a is paired with the nearest component of b. The distance is infinite where
    two components of a have the same partner, and otherwise

    √( Σ_k π_k [|W_k (μ_k − μ'_k)|² + ½ ‖W_k Σ'_k W_kᵀ − I‖²] + Σ_k (π_k − π'_k)² / π_k ).

    Its unit is the standard deviation that the parameters of a would have if they were estimated
    from one row of complete data.
    """
    own, others = np.flatnonzero(a.weights > 0), np.flatnonzero(b.weights > 0)
    if len(own) != len(others):
        return np.inf
    squares = np.array([[_square(a, b, i, j) for j in others.tolist()] for i in own.tolist()])
    partner = np.arange(len(own)) if in_order else squares.argmin(axis=1)
    if len(set(partner)) < len(partner):
        return np.inf
    return float(np.sqrt(squares[np.arange(len(own)), partner].sum()))


def _square(a: _Parameters, b: _Parameters, i: int, j: int) -> float:
    """Return the contribution of one pair of components to the squared distance."""
    shift = a.means[i] - b.means[j]
    change = a.precisions[i] @ b.covariances[j] - np.eye(len(shift))
    square = shift @ a.precisions[i] @ shift + np.sum(change * change.T) / 2
    return a.weights[i] * square + (a.weights[i] - b.weights[j]) ** 2 / a.weights[i]


def identify_optima(
    data: Data,
    total: float,
    prior: Prior | None,
    fits: dict[str, Fit],
    objective: dict[str, np.ndarray],
) -> tuple[list[Optimum], dict[str, np.ndarray]]:
    """Return the optima to which fits converged, best first, and the optimum of every fit.

    The optimum of a fit is an index, or −1 where the fit ended at none of them. Call this in 64-bit
    mode, with everything in float64. `total` is the weight of the rows.

    A fit that converged belongs to the optimum to which it is polished. An end that is already the
    same as a known optimum is not polished, and neither is a fit that did not converge. If no fit
    converged, the end with the highest objective is polished instead.
    """
    ends = [(name, i) for name, each in fits.items() for i in range(len(each.status))]
    ends.sort(key=lambda end: -objective[end[0]][end[1]])
    converged = [(name, i) for name, i in ends if fits[name].status[i] == Status.CONVERGED]
    known: list[tuple[Optimum, _Parameters]] = []
    in_order = data.columns is not None and data.columns.odds

    def index_of(height: float, parameters: _Parameters) -> int:
        for i, (optimum, of_optimum) in enumerate(known):
            alike = abs(optimum.objective - height) < SAME_OPTIMUM * total
            if alike and distance(of_optimum, parameters, in_order) < NEAR:
                return i
        return -1

    def identify(name: str, i: int) -> int:
        mixture = _lane(fits[name].mixture, i)
        index = index_of(objective[name][i], jax.device_get(_parameters(mixture)))
        if index < 0 and (name, i) in (converged or ends[:1]):
            polished = _polish(data, prior, mixture)
            height = float(polished.objective)
            parameters = jax.device_get(_parameters(polished.mixture))
            index = index_of(height, parameters)
            if index < 0:
                known.append((Optimum(height, polished.mixture), parameters))
                index = len(known) - 1
        return index

    index = {end: identify(*end) for end in ends}
    order = sorted(range(len(known)), key=lambda i: -known[i][0].objective)
    rank = {i: place for place, i in enumerate(order)} | {-1: -1}
    optimum = {
        name: np.array([rank[index[name, i]] for i in range(len(each.status))])
        for name, each in fits.items()
    }
    return [known[i][0] for i in order], optimum


def _polish(data: Data, prior: Prior | None, mixture: Mixture) -> Fit:
    settings = LoopSettings(
        algorithm=SQUAREM(),
        stopping="em-gain",
        kernel="whitened",
        capacity=capacity(MOST_STEPS),
        callback=None,
    )
    tolerance = jnp.asarray(POLISHED)
    quickly = is_little_for_one_fit(data.n, mixture.means)
    operands = mixture, prior, tolerance, MOST_STEPS
    polished = data.compute(run, *operands, quickly=quickly, settings=settings)
    return jax.device_get(polished)
