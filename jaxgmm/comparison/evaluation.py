"""Evaluation of all ends in float64, and the cost of passes for the log-likelihood only."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.rows import Rows
from ..data.sources import Data
from ..fitting.result import Fit
from ..mixture.mixture import Mixture
from ..mixture.relative_coordinates import Relative
from ..objective.curvature import slope_of
from ..objective.log_likelihood import value_of_rows
from ..objective.m_step import m_step_from
from ..objective.objective_value import objective_value
from ..objective.prior import Prior
from ..objective.statistics import statistics, statistics_at
from .optima import Optimum, identify_optima

TIMED_PASSES = 5


class Evaluation(NamedTuple):
    """The fields of a `Comparison` of the same names."""

    objective: dict[str, np.ndarray]
    em_gain: dict[str, np.ndarray]
    gradient_norm: dict[str, np.ndarray]
    optimum: dict[str, np.ndarray]
    optima: list[Optimum]


def _evaluate(
    rows: Rows, prior: Prior | None, mixtures: Mixture
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the objective, EM's gain, and the gradient's norm per unit of weight.

    The gradient is in relative coordinates. The mixtures have a leading axis.
    """
    rows = rows.about_mean()
    prior = None if prior is None else prior.translate(-rows.center)
    coordinates = Relative()

    def evaluate_one(mixture: Mixture) -> tuple[jax.Array, jax.Array, jax.Array]:
        mixture = mixture.translate(-rows.center)
        sums = statistics(mixture, rows, "whitened")

        at = lambda offsets: coordinates.place(mixture, coordinates.local(mixture, offsets))
        slope = slope_of(at, coordinates.zero(mixture), sums, prior)
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope))
        objective = objective_value(mixture, sums, prior)
        gain = m_step_from(mixture, sums, prior).em_gain
        return objective, gain, jnp.sqrt(square) / jnp.sum(sums.mass)

    return jax.lax.map(evaluate_one, mixtures)


def evaluate_fits(
    data: Data, total: float, prior: Prior | None, fits: dict[str, Fit]
) -> Evaluation:
    """Evaluate the objective at all ends in float64, whatever dtype they were computed in.

    The fits have NumPy leaves with a leading axis of starts. `total` is the weight of the rows.
    """
    with jax.enable_x64(True):
        data = data.astype(np.float64)
        prior, fits = jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64)
            if jnp.issubdtype(leaf.dtype, jnp.floating) else np.asarray(leaf),
            (prior, fits),
        )  # fmt: skip
        evaluated = {
            name: jax.device_get(
                data.compute_once(
                    _evaluate,
                    *(prior, each.mixture),
                    numbers=data.n * each.mixture.means.size * data.n_features,
                )
            )
            for name, each in fits.items()
        }
        objective, em_gain, gradient_norm = (
            {name: values[i] for name, values in evaluated.items()} for i in range(3)
        )
        optima, optimum = identify_optima(data, total, prior, fits, objective)
    return Evaluation(
        objective=objective,
        em_gain=em_gain,
        gradient_norm=gradient_norm,
        optimum=optimum,
        optima=optima,
    )


def forward_price(data: Data, mixture: Mixture) -> float:
    """Measure the time of a pass for the log-likelihood alone, in passes for all statistics."""
    value_times: list[float] = []
    statistics_times: list[float] = []
    for _ in range(TIMED_PASSES + 1):  # the first one compiles
        for take_pass, times in (
            (value_of_rows, value_times), (statistics_at, statistics_times),
        ):  # fmt: skip
            began = time.perf_counter()
            jax.block_until_ready(data.compute(take_pass, mixture))
            times.append(time.perf_counter() - began)
    return float(np.median(value_times[1:]) / np.median(statistics_times[1:]))
