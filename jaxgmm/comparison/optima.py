"""Which optimum a fit ended at, whatever the order of its components."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.squarem import SQUAREM
from ..data.sources import Data
from ..fitting.fit import capacity, run
from ..fitting.loop import LoopSettings
from ..fitting.result import Fit
from ..fitting.status import Status
from ..mixture.mixture import Mixture

# Two mixtures this near, by `distance`, with objectives this alike, per row, count as the same.
# Optima can lie near each other, at other heights.
NEAR = 0.1
ALIKE = 1e-6
# D at which an optimum counts as known; the gap left is some 100 times this, per row.
POLISHED = 1e-13
MOST_STEPS = 20_000


class Optimum(NamedTuple):
    """A place that fits converged to, polished in float64: its objective, and the mixture."""

    objective: float
    mixture: Mixture


class _Parameters(NamedTuple):
    """A mixture's readable parameters, as NumPy arrays."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    precisions: np.ndarray


@jax.jit
def _parameters(mixture):
    return _Parameters(mixture.weights, mixture.means, mixture.covariances, mixture.precisions)


def _lane(tree, i: int):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], tree)


def distance(a: _Parameters, b: _Parameters) -> float:
    """How far apart two mixtures are, each component of a paired with the nearest of b: infinite
    where that is no pairing. In standard deviations that the parameters of a would have if they
    were estimated from one row of complete data,

    √( Σ_k π_k [|W_k (μ_k − μ'_k)|² + ½ ‖W_k Σ'_k W_kᵀ − I‖²] + Σ_k (π_k − π'_k)² / π_k )."""
    own, others = np.flatnonzero(a.weights > 0), np.flatnonzero(b.weights > 0)
    if len(own) != len(others):
        return np.inf
    squares = np.array([[_square(a, b, i, j) for j in others] for i in own])
    partner = squares.argmin(axis=1)
    if len(set(partner)) < len(partner):
        return np.inf
    return float(np.sqrt(squares[np.arange(len(own)), partner].sum()))


def _square(a: _Parameters, b: _Parameters, i: int, j: int) -> float:
    """A pair's share of the squared distance."""
    moved = a.means[i] - b.means[j]
    changed = a.precisions[i] @ b.covariances[j] - np.eye(len(moved))
    inside = moved @ a.precisions[i] @ moved + np.sum(changed * changed.T) / 2
    return a.weights[i] * inside + (a.weights[i] - b.weights[j]) ** 2 / a.weights[i]


def identify_optima(
    data: Data, total: float, prior, fits: dict[str, Fit], objective: dict[str, np.ndarray]
) -> tuple[list[Optimum], dict[str, np.ndarray]]:
    """The optima that fits converged to, best first, and for every fit which of them it ended at
    (−1: none). Call it in 64-bit mode, with everything in float64. `total` is the rows' weight.

    A fit that converged belongs to the optimum that it is polished to. That is known without
    polishing for one that is the same as an optimum already found; so must be one that did not
    converge. If none converged, the highest end stands for an optimum."""
    ends = [(name, i) for name, found in fits.items() for i in range(len(found.status))]
    ends.sort(key=lambda end: -objective[end[0]][end[1]])
    converged = [(name, i) for name, i in ends if fits[name].status[i] == Status.CONVERGED]
    found: list[tuple[Optimum, _Parameters]] = []

    def which(height, parameters) -> int:
        for i, (optimum, known) in enumerate(found):
            alike = abs(optimum.objective - height) < ALIKE * total
            if alike and distance(known, parameters) < NEAR:
                return i
        return -1

    def end_at(name, i) -> int:
        mixture = _lane(fits[name].mixture, i)
        near = which(objective[name][i], jax.device_get(_parameters(mixture)))
        if near < 0 and (name, i) in (converged or ends[:1]):
            polished = _polish(data, prior, mixture)
            height = float(polished.objective)
            parameters = jax.device_get(_parameters(polished.mixture))
            near = which(height, parameters)
            if near < 0:
                found.append((Optimum(height, polished.mixture), parameters))
                near = len(found) - 1
        return near

    label = {end: end_at(*end) for end in ends}
    order = sorted(range(len(found)), key=lambda i: -found[i][0].objective)
    rank = {i: place for place, i in enumerate(order)} | {-1: -1}
    near = {
        name: np.array([rank[label[name, i]] for i in range(len(one.status))])
        for name, one in fits.items()
    }
    return [found[i][0] for i in order], near


def _polish(data: Data, prior, mixture: Mixture) -> Fit:
    plan = LoopSettings(SQUAREM(), "em-gain", "whitened", capacity(MOST_STEPS), None)
    polished = data.compute(run, mixture, prior, jnp.asarray(POLISHED), MOST_STEPS, plan=plan)
    return jax.device_get(polished)
