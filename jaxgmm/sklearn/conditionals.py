"""Predictions of the regressor for rows, some of whose inputs may be missing."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..algebra.affine import moments
from ..algebra.condition import condition
from ..algebra.marginal import marginal
from ..algebra.regress import regress
from ..mixture.mixture import Mixture
from ..mixture.sampling import sample
from .starts import pad_rows


def standards(rows: np.ndarray, weight: np.ndarray, common: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation (d,) of each column, or one deviation for all."""
    wide = rows.astype(np.float64)
    total = max(float(weight.sum(dtype=np.float64)), np.finfo(np.float64).tiny)
    center = weight @ wide / total
    variance = weight @ (wide - center) ** 2 / total
    variance = np.where(variance > 0, variance, 1)
    if common:
        variance = np.full_like(variance, variance.mean())
    return center.astype(rows.dtype), np.sqrt(variance).astype(rows.dtype)


def patterns_of_known(x: np.ndarray) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Return the sets of rows that have the same inputs, as booleans (n,), and these inputs."""
    known = ~np.isnan(x)
    if known.all():
        return [(np.ones(len(x), bool), tuple(range(x.shape[1])))]
    patterns = np.unique(known, axis=0)
    return [
        ((known == pattern).all(axis=1), tuple(int(i) for i in np.flatnonzero(pattern)))
        for pattern in patterns
    ]


def _of_known(mixture: Mixture, d: int, known: tuple[int, ...]) -> Mixture:
    """Return the marginal of the known ones of d inputs, and of the targets."""
    if len(known) == d:
        return mixture
    return marginal(mixture, (*known, *range(d, mixture.n_features)))


def describe(
    mixture: Mixture, x: np.ndarray, known: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return means (n, t) and covariances (n, t, t) of the targets given the known inputs."""
    part = _of_known(mixture, x.shape[1], known)
    if not known:
        mean, covariance = moments(part)
        return np.asarray(mean)[None], np.asarray(covariance)[None]
    found = regress(part, range(len(known)), pad_rows(x)[:, known])
    return np.asarray(found.mean)[: len(x)], np.asarray(found.covariance)[: len(x)]


def draw(mixture: Mixture, x: np.ndarray, keys: jax.Array, known: tuple[int, ...], n: int) -> Any:
    """Return draws (rows, n, t) of the targets given the known inputs."""
    part = _of_known(mixture, x.shape[1], known)
    if not known:
        return jax.vmap(lambda key: sample(key, part, n)[0])(keys)
    features = tuple(range(len(known)))
    of_row = lambda key, row: sample(key, condition(part, features, row), n)[0]
    return jax.vmap(of_row)(keys, x[:, known])
