"""The same judgment, in float64, of where every algorithm ended; and the price of a pass."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.rows import Rows
from ..data.sources import Data
from ..fitting.result import Fit
from ..mixture.coordinates import Relative
from ..mixture.mixture import Mixture
from ..objective.curvature import slope_of
from ..objective.log_likelihood import value_of_rows
from ..objective.m_step import m_step_from
from ..objective.prior import log_prior
from ..objective.statistics import statistics, statistics_at
from .optima import Optimum, identify_optima

TIMED = 5


class Evaluation(NamedTuple):
    """By algorithm, with an entry for each start; see `Comparison`."""

    objective: dict[str, np.ndarray]
    em_gain: dict[str, np.ndarray]
    gradient_norm: dict[str, np.ndarray]
    optimum: dict[str, np.ndarray]
    optima: list[Optimum]


def _evaluate(rows: Rows, prior, mixtures):
    """Objective, D, and the norm of the gradient in relative coordinates per unit of weight."""
    rows = rows.about_mean()
    prior = None if prior is None else prior.translate(-rows.center)
    coordinates = Relative()

    def judge(mixture):
        mixture = mixture.translate(-rows.center)
        sums = statistics(mixture, rows, "whitened")

        at = lambda offsets: coordinates.place(mixture, coordinates.local(mixture, offsets))
        slope = slope_of(at, jax.tree.map(jnp.zeros_like, mixture), sums, prior)
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope))
        objective = sums.log_likelihood + log_prior(mixture, prior)
        gain = m_step_from(mixture, sums, prior).em_gain
        return objective, gain, jnp.sqrt(square) / jnp.sum(sums.mass)

    return jax.lax.map(judge, mixtures)


def evaluate_fits(data: Data, total: float, prior, fits: dict[str, Fit]) -> Evaluation:
    """Judges fits (a leading axis of starts, NumPy leaves) by the objective in float64, whatever
    they were computed in. `total` is the weight of the rows."""
    with jax.enable_x64(True):
        data = data.astype(np.float64)
        prior, doubled = jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64)
            if jnp.issubdtype(leaf.dtype, jnp.floating) else np.asarray(leaf),
            (prior, fits),
        )  # fmt: skip
        judged = {
            name: jax.device_get(data.compute(_evaluate, prior, found.mixture))
            for name, found in doubled.items()
        }
        objective, em_gain, gradient_norm = (
            {name: values[i] for name, values in judged.items()} for i in range(3)
        )
        optima, near = identify_optima(data, total, prior, doubled, objective)
    return Evaluation(objective, em_gain, gradient_norm, near, optima)


def forward_price(data: Data, mixture: Mixture) -> float:
    """What a pass for the log-likelihood alone costs, in passes for all statistics; measured."""
    alone, whole = [], []
    for _ in range(TIMED + 1):  # the first compiles
        for take_pass, times in ((value_of_rows, alone), (statistics_at, whole)):
            began = time.perf_counter()
            jax.block_until_ready(data.compute(take_pass, mixture))
            times.append(time.perf_counter() - began)
    return float(np.median(alone[1:]) / np.median(whole[1:]))
