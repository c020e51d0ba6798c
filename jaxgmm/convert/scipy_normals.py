"""Conversion to and from SciPy's frozen normal distributions. SciPy has no mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..mixture.mixture import Mixture
from .components import components_of, require


def to_scipy(mixture: Mixture) -> tuple[np.ndarray, list[Any]]:
    """Return the weights and the components of a mixture as SciPy's frozen normals, in float64.

    Args:
      mixture: a single mixture with finite parameters. Absent components are left out.

    Returns:
      The weights (k,), and a list of k frozen `scipy.stats.multivariate_normal`.

    Raises:
      ValueError: if `mixture` is not such a mixture.

    >>> m = jaxgmm.Mixture.from_parameters([0.3, 0.7], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> weights, normals = jaxgmm.convert.to_scipy(m)
    >>> weights.round(3), [float(normal.mean[0]) for normal in normals]
    (array([0.3, 0.7]), [0.0, 4.0])
    """
    stats = require("scipy.stats", "scipy")
    found = components_of(mixture)
    means = np.asarray(found.means, np.float64)
    pairs = zip(means, found.covariances, strict=True)
    return found.weights, [stats.multivariate_normal(mean, cov) for mean, cov in pairs]


def from_scipy(weights: npt.ArrayLike, normals: Sequence[Any], family: str = "full") -> Mixture:
    """Return the mixture of SciPy's frozen normals.

    Args:
      weights: (k,) weights of 0 or more, which sum to 1.
      normals: k frozen `scipy.stats.multivariate_normal`, or `scipy.stats.norm` for one feature.
      family: a name in `FAMILIES`, whose covariances they must have.

    Returns:
      The mixture, in JAX's default dtype.

    Raises:
      ValueError: if the normals are not frozen normals, or not of the family.
    """
    try:
        pairs = [_mean_and_covariance(normal) for normal in normals]
    except (AttributeError, TypeError):
        raise ValueError(
            "normals are not frozen normal distributions: pass a list of "
            "scipy.stats.multivariate_normal(mean, cov) or scipy.stats.norm(mean, sd)."
        ) from None
    means, covariances = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return Mixture.from_parameters(weights, means, covariances, family)


def _mean_and_covariance(normal: Any) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(normal, "cov"):
        return np.atleast_1d(normal.mean), np.atleast_2d(normal.cov)
    if normal.dist.name != "norm":
        raise TypeError
    return np.atleast_1d(normal.mean()), np.atleast_2d(normal.var())
