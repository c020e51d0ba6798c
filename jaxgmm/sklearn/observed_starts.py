"""Rows of `GaussianMixture` that are not fully observed, and the starts for them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from ..data.observed import Observed, pack
from ..internal.array_like import to_array
from ..mixture.mixture import Mixture
from ..starts.initialization import initialize
from .convert import fitted_attributes
from .starts import initial_parameters

if TYPE_CHECKING:
    from .estimator import GaussianMixture

METHODS = {
    "kmeans": "k-means++",
    "k-means++": "k-means++",
    "random": "random-responsibilities",
    "random_from_data": "random-rows",
}


def observed_rows(
    x: np.ndarray, noise: ArrayLike | None, labels: ArrayLike | None, kept: np.ndarray
) -> Observed | None:
    """Return the rows that are `kept`, (n,) booleans, or None if they are fully observed."""
    if noise is None and labels is None and not np.isnan(x).any():
        return None
    noise = None if noise is None else np.asarray(to_array(noise, "noise"))
    labels = None if labels is None else np.asarray(to_array(labels, "labels"))
    whole = Observed(x, noise=noise, labels=labels)
    pack(whole)  # which checks the shapes
    if noise is not None and noise.ndim in (2, 3) and len(noise) == len(x):
        noise = noise[kept]
    labels = None if labels is None else labels[kept]
    return dataclasses.replace(whole, x=x[kept], noise=noise, labels=labels)


def make_observed_starts(
    estimator: GaussianMixture, observed: Observed, weight: np.ndarray
) -> list[Mixture]:
    """Return the `n_init` starts of `jaxgmm.initialize`, with the parameters that the user set."""
    seeds = check_random_state(estimator.random_state).randint(
        np.iinfo(np.int32).max, size=estimator.n_init
    )
    fixed = initial_parameters(estimator, observed.x.shape[1])
    starts = []
    for seed in seeds.tolist():
        start = initialize(
            jax.random.key(seed), observed, estimator.n_components,
            family=estimator.covariance_type, method=METHODS[estimator.init_params], weight=weight,
        )  # fmt: skip
        if fixed:
            parts = fitted_attributes(start) | fixed
            start = Mixture.from_parameters(
                parts["weights_"], parts["means_"], parts["covariances_"], estimator.covariance_type
            )
        starts.append(jax.device_get(start))
    return starts
